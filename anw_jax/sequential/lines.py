"""The lines of a record (a chain of hashes), and the group formed by one owner's records.

If a case has several tests, the records of an owner are a *record group*. The header of each
contains the level at which this record stops, its suspect and all suspects of the owner; each
of its leaf lines contains a digest of the heads of all the owner's records at the time the leaf
was requested. So no suspect, row or bet can be added after the opening of a leaf from which it
would profit.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

from anw_jax import _check, _json
from anw_jax.errors import RecordError
from anw_jax.keys import LeafOpening

_TAG_LINE = b"anw_jax/v1/audit-line\0"
_TAG_ROW = b"anw_jax/v1/audit-row\0"
_TAG_HEADS = b"anw_jax/v1/audit-heads\0"


def chained(previous: str, body: dict[str, Any]) -> str:
    """Write one line of a record: the body, the hash of the line before, and its own hash."""
    body = {**body, "previous": previous}
    digest = hashlib.sha256(_TAG_LINE + _json.canonical(body)).hexdigest()
    return _json.canonical({**body, "hash": digest}).decode()


def whole_line(line: str) -> dict[str, Any]:
    """Read one line and check its hash; return the body with both hashes.

    Raises:
      ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError: not a line
        of a record.
    """
    body = _json.loads(line)
    rest = {name: value for name, value in body.items() if name not in ("hash", "previous")}
    if chained(body["previous"], rest) != line:
        raise ValueError("the line's hash does not match its content")
    return body


def leaf_body(opening: LeafOpening, slot: int, heads: str | None) -> dict[str, Any]:
    """Build the body of a leaf's line."""
    body = {"kind": "leaf", "opening": opening.to_dict(), "slot": slot}
    return body if heads is None else {**body, "heads": heads}


def row_digest(losses: list) -> str:
    """Compute the SHA-256 of a finished row as it is written: 64 hex digits.

    Example:
      >>> row_digest([0.5, None])[:12]
      'c3244f1b0670'
    """
    return hashlib.sha256(_TAG_ROW + _json.canonical(losses)).hexdigest()


def heads_digest(heads: Mapping[str, str]) -> str:
    """Compute the SHA-256 of the heads of an owner's records, by suspect: 64 hex digits.

    Example:
      >>> heads_digest({"net": "00", "other": "11"})[:12]
      '9702c6149c11'
    """
    return hashlib.sha256(_TAG_HEADS + _json.canonical(dict(heads))).hexdigest()


@dataclasses.dataclass(frozen=True)
class RecordGroup:
    """The group to which one record belongs.

    Attributes:
      level: this record stops when its running p is at most this, in (0, 1).
      suspect: the suspect of this record.
      suspects: all suspects with a record of this owner, sorted by name.

    Raises:
      TypeError, ValueError: an invalid field, or a suspect that is not among `suspects`.

    Example:
      >>> RecordGroup(0.005, "net", ("net", "other")).as_json()["suspects"]
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
        """Return plain JSON values for `from_json`."""
        return {**dataclasses.asdict(self), "suspects": list(self.suspects)}

    @classmethod
    def from_json(cls, body: Any) -> "RecordGroup":
        """Read what `as_json` wrote.

        Raises:
          RecordError: not a record group.
        """
        try:
            return cls(**body)
        except (TypeError, ValueError) as error:
            raise RecordError(f"the header names no record group: {error}") from None
