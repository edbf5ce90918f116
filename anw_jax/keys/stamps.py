"""Time stamps: proofs that a commitment existed before its beacon's value appeared.

* `rfc3161`: signed by a time-stamping authority (https://www.rfc-editor.org/rfc/rfc3161).
* `opentimestamps`: a hash path into a Bitcoin block (https://opentimestamps.org). A miner
  may set a block's time wrong by hours, so this kind needs a longer distance.

Nothing is verified here: `audit.stamps` reads the files. A stamp proves time, not number: the
same owner may have any number of stamped commitments.
"""

import dataclasses
import datetime

from anw_jax import _check

# Kind: (name in texts, least hours from stamp to value, hours ahead of a new commitment).
_KINDS = {"rfc3161": ("RFC 3161", 1, 2), "opentimestamps": ("OpenTimestamps", 24, 48)}
KINDS = tuple(_KINDS)


@dataclasses.dataclass(frozen=True)
class Stamp:
    """A verified time stamp of one commitment.

    Attributes:
      kind: one of `KINDS`.
      time: the latest time at which the commitment can have come into being, with a time zone.
      by: who or what vouches for the time, such as the subject of a certificate.

    Raises:
      TypeError, ValueError: an unknown kind, a time without a time zone, control characters.
    """

    kind: str
    time: datetime.datetime
    by: str

    def __post_init__(self):
        _check.one_of(KINDS, kind=self.kind)
        _check.is_instance(datetime.datetime, time=self.time)
        _check.plain_text(by=self.by)
        if self.time.tzinfo is None:
            raise ValueError(f"time must have a time zone, got {self.time.isoformat()}")

    @property
    def least_hours(self) -> int:
        """The least distance to the beacon's value, in hours."""
        return _KINDS[self.kind][1]

    def precedes(self, value_time: datetime.datetime) -> bool:
        """Return whether the stamp is early enough for a value that appears at `value_time`.

        Example:
          >>> noon = datetime.datetime(2026, 11, 3, 12, tzinfo=datetime.UTC)
          >>> stamp = Stamp("rfc3161", noon, "CN=An authority")
          >>> hour, second = datetime.timedelta(hours=1), datetime.timedelta(seconds=1)
          >>> stamp.precedes(noon + hour), stamp.precedes(noon + hour - second)
          (True, False)
        """
        return value_time - self.time >= datetime.timedelta(hours=self.least_hours)

    def as_json(self) -> dict[str, str]:
        """Return plain values, as `verdict.json` has them."""
        return {"kind": self.kind, "time_utc": self.time.isoformat(), "by": self.by}

    def __str__(self) -> str:
        return f"{_KINDS[self.kind][0]} time stamp of {self.time.isoformat()} by {self.by}"


def hours_ahead(kind: str) -> int:
    """Return how far ahead a new commitment's beacon lies, to leave time to get a stamp.

    Raises:
      ValueError: an unknown kind.

    Example:
      >>> hours_ahead("rfc3161"), hours_ahead("opentimestamps")
      (2, 48)
    """
    return _KINDS[_check.one_of(KINDS, stamp=kind)][2]
