"""Requests to open one unit's leaf, and the owner's answers to them.

The arbitrator never holds the key, and the owner never sees the model. A request carries the
header and the last line of every record of the owner: a row with its bet, or the close of a
record that has ended. One leaf settles the bets of all records, so all bets must be written
first. The owner opens the leaf only if every line follows the leaf opened before; then nothing
can be added, changed or resumed later.

**One unit per request.** A request for several units would need the bets on all of them before
the first leaf is opened, but the bet on a unit depends on the slots of the units before it
(`stats.MixtureBettor`). Bets that do not adapt would need more units. A request is a small file
and costs no query; on one machine an opener command answers it at once.
"""

import dataclasses
import pathlib
from typing import Any

from anw_jax import _files, _json
from anw_jax.audit.files import digest_of, only_one, read_bytes, read_json
from anw_jax.audit.published import Published, commitment_of, read_published
from anw_jax.errors import CaseError, CommitmentError, RecordError
from anw_jax.keys import LeafChecker, LeafOpening, MarkKey, UnitTree, audit_order
from anw_jax.sequential import Lockstep, RecordGroup
from anw_jax.sequential.lines import chained, heads_digest, leaf_body, row_digest, whole_line
from anw_jax.sequential.lockstep import shared_header
from anw_jax.stats.betting import check_bet

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
    if len({_json.dumps(shared_header(header)) for header, _ in parts.values()}) > 1:
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


REQUEST = "anw_jax request to open a leaf, version 1"
JOINT_REQUEST = "anw_jax request to open a leaf for several records, version 1"
OPENING = "anw_jax opened leaf, version 1"
LOG = "openings.jsonl"


@dataclasses.dataclass(frozen=True)
class Opened:
    """What `answer_request` did.

    Attributes:
      unit: the unit whose leaf is open.
      step: how many were opened before it.
      again: whether it had been opened for this very line already.
    """

    unit: int
    step: int
    again: bool


def write_request(
    path: pathlib.Path, owner: str, commitment: str, declared: str, together: Lockstep
) -> str:
    """Asks for the leaf that all of an owner's rows wait for; returns the request's SHA-256.

    Args:
      path: the file to write.
      owner: the owner's name in the case.
      commitment: the root.
      declared: SHA-256 of `declared.json`: which models are asked, and how.
      together: the owner's records; the last line of each holds a row and its bet, or closes
        it.
    """
    heads = together.heads()
    body = {
        "format": JOINT_REQUEST if together.is_group else REQUEST,
        "owner": owner,
        "commitment": commitment,
        "declared": declared,
        "step": together.step,
        "unit": together.next_unit,
    }
    records = together.records
    if together.is_group:
        body["heads"] = heads_digest(heads)
        body["records"] = {
            name: {"header": r.lines[0], "line": r.lines[-1]} for name, r in records.items()
        }
    else:
        (record,) = records.values()
        body |= {"header": record.lines[0], "row": record.lines[-1]}
    _json.write(path, body)
    return digest_of(path)


def read_opening(path: pathlib.Path, request_digest: str) -> LeafOpening | None:
    """The owner's answer to a request; None while there is none to this request.

    Raises:
      CaseError: a damaged file.
    """
    if not path.exists():
        return None
    body = read_json(path, OPENING)
    if body.get("request") != request_digest:
        return None
    try:
        return LeafOpening.from_dict(body["opening"])
    except (KeyError, TypeError, ValueError) as error:
        raise CaseError(
            f"{path} holds no opening of a leaf ({error!s:.80}): move it away and ask the "
            "owner again"
        ) from None


def answer_request(
    request: pathlib.Path, mark_key: MarkKey, folder: pathlib.Path, out: pathlib.Path
) -> Opened:
    """The owner's side: opens one leaf, if its bet stands, and writes the opening.

    Every opening is logged in `openings.jsonl` beside the manifest before it is written. A
    leaf is opened once: the same request again gets the same answer, any other line for a unit
    that is open is refused, and so is a unit out of turn. With several suspects the rows of all
    who are still asked must be there, and a record that was frozen stays as it was.

    Args:
      request: the arbitrator's file.
      mark_key: the secret; it does not leave this process.
      folder: the owner's folder with manifest and commitment.
      out: the opening to write.

    Raises:
      CaseError: files that are missing or damaged.
      CommitmentError: another commitment, or a key that is not the one committed to.
      RecordError: the line does not follow the leaf opened before, its hash or bet is wrong,
        another unit's turn, or a second row for a unit that is open.
    """
    published = read_published(folder)
    with only_one(folder):  # else two requests at once could open one leaf for two rows
        body = read_json(request, REQUEST, JOINT_REQUEST)
        return _answer(body, published, request, mark_key, folder, out)


def _answer(body, published, request, mark_key, folder, out) -> Opened:
    if commitment_of(mark_key, published.manifest, published.plan) != published.commitment:
        raise CommitmentError(f"the key is not the one behind {folder}/commitment.json")
    if body.get("commitment") != published.commitment:
        raise CommitmentError(f"{request} asks about another commitment than {folder}'s")
    log = _read_log(folder / LOG)
    if log and body.get("declared") != log[0]["declared"]:
        raise RecordError(
            f"{request} comes from another declaration than the first request: leaves are "
            "opened for one audit only"
        )
    asked = asked_in(body, published)
    again = _is_again(log, asked)
    if not again:
        order = audit_order(published.commitment, published.plan, published.manifest)
        _check_turn(asked, log, order)
        check_bets(asked, published.manifest.space.num_valid)
        check_follows(asked, log[-1] if log else None, published)
        if not log:
            check_about(asked, body.get("declared"))
    opening = UnitTree(mark_key, published.manifest, published.plan).open(asked.unit)
    if not again:
        leaves = leaves_after(asked, opening, published)
        entry = log_entry(asked, leaves, body.get("declared"))
        lines = [_json.dumps(line) for line in [*log, entry]]
        _files.write_whole(folder / LOG, ("\n".join(lines) + "\n").encode())
    digest = digest_of(request)
    _json.write(out, {"format": OPENING, "request": digest, "opening": opening.to_dict()})
    return Opened(asked.unit, asked.step, again)


def _read_log(path: pathlib.Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        log = [_json.loads(line) for line in read_bytes(path).splitlines()]
        for entry in log:
            _ = [entry[name] for name in ("step", "unit", "declared")]
            _ = [*heads_of(entry).items(), *leaves_of(entry).items()]
        return log
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise CaseError(
            f"{path} is damaged: restore it, no leaf is opened without it"
        ) from None


def _is_again(log: list[dict[str, Any]], asked: Asked) -> bool:
    for entry in log:
        if heads_of(entry) == asked.heads:
            return True
        if entry["unit"] == asked.unit:
            raise RecordError(
                f"unit {asked.unit} was opened for another row: a leaf is opened once"
            )
    return False


def _check_turn(asked: Asked, log: list, order: tuple[int, ...]) -> None:
    if asked.step != len(log) or len(log) >= len(order) or asked.unit != order[len(log)]:
        due = f"unit {order[len(log)]} as step {len(log)}" if len(log) < len(order) else "none"
        raise RecordError(
            f"the request asks for unit {asked.unit} as step {asked.step}; expected: {due}"
        )
