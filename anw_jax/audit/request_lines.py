"""The lines of records that stand in a request, and what an owner checks of them.

An owner sees, of every record of the case about the own photos, the header and the last line:
a row with its bet, or the close of a record that is frozen. All must follow what stood behind
the leaf opened before, so nothing is added, changed or taken up again later.
"""

import dataclasses
import json
from typing import Any

from anw_jax import _json
from anw_jax.audit.published import Published
from anw_jax.errors import RecordError
from anw_jax.keys import LeafChecker, LeafOpening
from anw_jax.sequential import RecordGroup
from anw_jax.sequential.lines import chained, heads_digest, leaf_body, row_digest, whole_line
from anw_jax.sequential.lockstep import shared_header
from anw_jax.stats.e_process import check_bet

# The name of the one record of a case that is a single test.
ONLY = ""


@dataclasses.dataclass(frozen=True)
class Line:
    """The last line of one record.

    Attributes:
      header: the record's first line.
      body: of the last line.
    """

    header: str
    body: dict[str, Any]

    @property
    def is_row(self) -> bool:
        """Whether a bet waits for the leaf; else the record is frozen."""
        return self.body["kind"] == "row"


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a request asks for.

    Attributes:
      lines: by suspect, `ONLY` where the case is one test.
      step: how many leaves are open.
      unit: the unit whose leaf is asked for.
      heads: the hash of each record's last line.
    """

    lines: dict[str, Line]
    step: int
    unit: int

    @property
    def heads(self) -> dict[str, str]:
        """The hash of each record's last line, by suspect."""
        return {name: line.body["hash"] for name, line in self.lines.items()}

    @property
    def heads_digest(self) -> str | None:
        """What the leaves of a record group name; None for a single test."""
        return None if ONLY in self.lines else heads_digest(self.heads)

    @property
    def rows(self) -> dict[str, Line]:
        """Of the records that wait for the leaf."""
        return {name: line for name, line in self.lines.items() if line.is_row}


def asked_in(body: dict[str, Any], published: Published) -> Asked:
    """Reads a request's lines.

    Raises:
      RecordError: a line that is not whole, records of several cases or under other names,
        rows of different units, or none.
    """
    if "records" not in body:
        lines = {ONLY: Line(body.get("header"), _whole(body.get("row"), ("row",)))}
    else:
        lines = _joint_lines(body, published)
    rows = [line.body for line in lines.values() if line.is_row]
    turns = {(row["step"], row["unit"]) for row in rows}
    if len(turns) != 1:
        raise RecordError("the request must hold rows of one unit, and at least one")
    ((step, unit),) = turns
    return Asked(lines, step, unit)


def _joint_lines(body: dict[str, Any], published: Published) -> dict[str, Line]:
    try:
        parts = {str(n): (p["header"], p["line"]) for n, p in sorted(body["records"].items())}
    except (AttributeError, KeyError, TypeError):
        raise RecordError("the request holds no records") from None
    lines = {}
    for name, (header, line) in parts.items():
        group = RecordGroup.from_json(_header(header, published).get("joint"))
        if group.suspect != name or group.suspects != tuple(parts):
            raise RecordError(
                f"the record of {name!r} has the header of {group.suspect!r}, one of "
                f"{', '.join(group.suspects)}; the request holds {', '.join(parts)}"
            )
        lines[name] = Line(header, _whole(line, ("row", "close")))
    if len({json.dumps(shared_header(header)) for header, _ in parts.values()}) > 1:
        raise RecordError("the request's records have headers of different cases")
    named = heads_digest({name: line.body["hash"] for name, line in lines.items()})
    if body.get("heads") != named:
        raise RecordError("the request names other heads than its records have")
    return lines


def _whole(line: Any, kinds: tuple[str, ...]) -> dict[str, Any]:
    """The body of a line, if its hash is its own."""
    try:
        body = whole_line(line)
        if body["kind"] not in kinds:
            raise ValueError
        if body["kind"] == "row":
            if body["row"] != row_digest(body["losses"]):
                raise ValueError
            int(body["step"]), int(body["unit"]), list(body["bet"])
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        raise RecordError("the request holds no whole line of a row and its bet") from None
    return body


def _header(line: Any, published: Published) -> dict[str, Any]:
    try:
        body = whole_line(line)
        if body["previous"] != "" or body["commitment"] != published.commitment:
            raise ValueError
        bytes.fromhex(body["beacon"])
        return body
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        raise RecordError(
            "the request holds no header of an audit of this commitment"
        ) from None


def check_bets(asked: Asked, num_valid: int) -> None:
    """Refuses a row whose bet is none.

    Raises:
      RecordError: a bet below 0 or not of sum 1.
    """
    for line in asked.rows.values():
        try:
            check_bet(num_valid, bet=line.body["bet"])
        except (TypeError, ValueError) as error:
            raise RecordError(f"the request's bet is not valid: {error}") from None


def check_about(asked: Asked, declared: Any) -> None:
    """The first line, and so every hash that is answered to, names the declaration.

    Raises:
      RecordError: it names another one.
    """
    for line in asked.lines.values():
        if _json.loads(line.header).get("about") != declared:
            raise RecordError(
                "the request names another declaration than the record's first line"
            )


def check_follows(asked: Asked, before: dict[str, Any] | None, published: Published) -> None:
    """Refuses lines that do not follow what was answered before.

    Args:
      asked: the request's lines.
      before: the last entry of the owner's log; None before the first leaf.
      published: the owner's.

    Raises:
      RecordError: a line follows another leaf or header, or a frozen record was changed.
    """
    for name, line in asked.lines.items():
        if before is None:
            follows = line.body["previous"] == _header(line.header, published)["hash"]
        elif name in (leaves := leaves_of(before)):
            follows = line.body["previous"] == leaves[name]
        else:
            follows = not line.is_row and line.body["hash"] == heads_of(before).get(name)
        if not follows:
            raise RecordError(
                "the request's line does not follow the leaf that was opened before"
            )


def leaves_after(asked: Asked, opening: LeafOpening, published: Published) -> dict[str, str]:
    """The hash that the next line of each record will have, once the leaf is open."""
    leaves = {}
    for name, line in asked.rows.items():
        beacon = bytes.fromhex(_header(line.header, published)["beacon"])
        checker = LeafChecker(published.commitment, published.manifest, published.plan, beacon)
        body = leaf_body(opening, checker.check(opening, unit=asked.unit), asked.heads_digest)
        leaves[name] = _json.loads(chained(line.body["hash"], body))["hash"]
    return leaves


def log_entry(asked: Asked, leaves: dict[str, str], declared: Any) -> dict[str, Any]:
    """What the owner keeps of a leaf: the heads that it was opened for, and what follows."""
    entry = {"step": asked.step, "unit": asked.unit}
    if ONLY in asked.lines:
        entry |= {"row": asked.heads[ONLY], "leaf": leaves[ONLY]}
    else:
        entry |= {"heads": asked.heads, "leaves": leaves}
    return {**entry, "declared": declared}


def heads_of(entry: dict[str, Any]) -> dict[str, str]:
    """The heads that a leaf of the log was opened for."""
    return entry["heads"] if "heads" in entry else {ONLY: entry["row"]}


def leaves_of(entry: dict[str, Any]) -> dict[str, str]:
    """What the records that waited for a leaf of the log go on from."""
    return entry["leaves"] if "leaves" in entry else {ONLY: entry["leaf"]}
