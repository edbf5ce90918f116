"""The lines of a record: a chain of hashes, and the group that the records of one owner form.

Where a case has several tests, the records of an owner are a *record group*. The header of
each names the level at which this record stops, its own suspect and all suspects of the owner;
and each of its leaves names the heads of all the owner's records as they stood when the leaf
was asked for. So nobody can add a suspect, a row or a bet after the leaf that it would profit
from was opened.
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
      ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError: it is no
        such line.
    """
    body = _json.loads(line)
    rest = {name: value for name, value in body.items() if name not in ("hash", "previous")}
    if chained(body["previous"], rest) != line:
        raise ValueError("the line's hash is not its own")
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
    """The group that one record is in.

    Attributes:
      level: this record alone stops where its running p is at most this, in (0, 1).
      suspect: whose answers this record holds.
      suspects: all who have a record of this owner, in the order of their names.

    Raises:
      TypeError, ValueError: a field of another form, or a suspect that is not among them.

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
        """Return plain values, which `from_json` reads back."""
        return {**dataclasses.asdict(self), "suspects": list(self.suspects)}

    @classmethod
    def from_json(cls, body: Any) -> "RecordGroup":
        """Read what `as_json` wrote.

        Raises:
          RecordError: it is something else.
        """
        try:
            return cls(**body)
        except (TypeError, ValueError) as error:
            raise RecordError(f"the header names no record group: {error}") from None
