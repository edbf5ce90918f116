"""What binds the sequential records of one case to one another.

Where a case has several tests, each record's header names the level at which this record stops,
its own suspect and all suspects of the owner; and each of its leaves
names the heads of all of the owner's records as they stood when the leaf was asked for. So
nobody can put in a suspect, a row or a bet after the leaf that it would profit from was open.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

from anw_jax import _check
from anw_jax.errors import RecordError
from anw_jax.keys.encoding import canonical

_TAG_HEADS = b"anw_jax/v1/audit-heads\0"


@dataclasses.dataclass(frozen=True)
class Joint:
    """Of one record among several.

    Attributes:
      level: this record alone stops where its running p is at most this, in (0, 1).
      suspect: whose answers the record holds.
      suspects: all who have a record of this owner, in the order of their names.

    Raises:
      TypeError, ValueError: a field of another form, or a suspect that is not among them.

    Example:
      >>> Joint(0.005, "net", ("net", "other")).as_json()["suspects"]
      ['net', 'other']
    """

    level: float
    suspect: str
    suspects: tuple[str, ...]

    def __post_init__(self):
        _check.in_open_interval(0.0, 1.0, level=self.level)
        names = tuple(_check.is_instance(str, suspects=name) for name in self.suspects)
        if "" in names or names != tuple(sorted(set(names))):
            raise ValueError(f"suspects must be distinct names, sorted, got {names!r:.80}")
        _check.one_of(names, suspect=self.suspect)
        object.__setattr__(self, "suspects", names)

    def as_json(self) -> dict[str, Any]:
        """Plain values, which `from_json` reads back."""
        return {**dataclasses.asdict(self), "suspects": list(self.suspects)}

    @classmethod
    def from_json(cls, body: Any) -> "Joint":
        """Reads what `as_json` wrote.

        Raises:
          RecordError: it is something else.
        """
        try:
            return cls(**body)
        except (TypeError, ValueError) as error:
            raise RecordError(f"the header binds the record to no case: {error}") from None


def heads_digest(heads: Mapping[str, str]) -> str:
    """SHA-256 over the heads of an owner's records, by suspect: 64 hex digits.

    Example:
      >>> heads_digest({"net": "00", "other": "11"})[:12]
      '9702c6149c11'
    """
    return hashlib.sha256(_TAG_HEADS + canonical(dict(heads))).hexdigest()
