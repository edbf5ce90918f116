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
from anw_jax.audit.signatures import check_if_signed, remove_signature
from anw_jax.errors import CaseError, CommitmentError, RecordError
from anw_jax.keys import LeafChecker, LeafOpening, MarkKey, UnitTree, audit_order
from anw_jax.sequential import Lockstep, RecordGroup
from anw_jax.sequential.lines import chained, heads_digest, leaf_body, row_digest, whole_line
from anw_jax.sequential.lockstep import shared_header
from anw_jax.stats.betting import check_bet

REQUEST = "anw_jax request to open a leaf, version 1"
GROUP_REQUEST = "anw_jax request to open a leaf for several records, version 1"
OPENING = "anw_jax opened leaf, version 1"
LOG = "openings.jsonl"

# The name of the record of a case that is a single test.
ONLY = ""

# What reading a line of an unknown author may raise.
_DAMAGE = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)


@dataclasses.dataclass(frozen=True)
class RecordEnd:
    """The header and the last line of one record.

    Attributes:
      header: the record's first line.
      body: of the last line.
    """

    header: str
    body: dict[str, Any]

    @property
    def is_row(self) -> bool:
        """True if this line is a bet that awaits its leaf; False if it closes the record."""
        return self.body["kind"] == "row"


@dataclasses.dataclass(frozen=True)
class Request:
    """A request to open one leaf.

    Attributes:
      records: the end of each record by suspect; `ONLY` where the case is one test.
      step: how many leaves are open.
      unit: the unit whose leaf is to be opened.
    """

    records: dict[str, RecordEnd]
    step: int
    unit: int

    @property
    def heads(self) -> dict[str, str]:
        """The hash of each record's last line, by suspect."""
        return {name: record.body["hash"] for name, record in self.records.items()}

    @property
    def rows(self) -> dict[str, RecordEnd]:
        """The records that wait for the leaf."""
        return {name: record for name, record in self.records.items() if record.is_row}


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
    """Write a request for the leaf that all of an owner's rows wait for; return its SHA-256.

    Args:
      path: the file to write.
      owner: the owner's name in the case.
      commitment: the root.
      declared: SHA-256 of `declared.json`: which models are queried, and how.
      together: the owner's records; the last line of each holds a row and its bet, or closes
        it.
    """
    body = {
        "format": GROUP_REQUEST if together.is_group else REQUEST,
        "owner": owner,
        "commitment": commitment,
        "declared": declared,
        "step": together.step,
        "unit": together.next_unit,
    }
    records = together.records
    if together.is_group:
        body["heads"] = heads_digest(together.heads())
        body["records"] = {
            name: {"header": r.lines[0], "line": r.lines[-1]} for name, r in records.items()
        }
    else:
        (record,) = records.values()
        body |= {"header": record.lines[0], "row": record.lines[-1]}
    _json.write(path, body)
    return digest_of(path)


def read_opening(
    path: pathlib.Path, request_digest: str, signer: str | None = None
) -> LeafOpening | None:
    """Read the owner's answer to a request; None while there is none to this request.

    Args:
      path: the answer.
      request_digest: of the request.
      signer: who signed the commitment; None for nobody. An answer need not be signed.

    Raises:
      CaseError: a damaged file.
      ChangedFileError: it is signed, and the signature is not valid, or another's.
    """
    if not path.exists():
        return None
    body = read_json(path, OPENING)
    if body.get("request") != request_digest:
        return None
    check_if_signed(path, signer)
    try:
        return LeafOpening.from_dict(body["opening"])
    except (KeyError, TypeError, ValueError) as error:
        raise CaseError(
            f"{path} is not an opening of a leaf ({error!s:.80}): move it away and ask the "
            "owner again"
        ) from None


def answer_request(
    request: pathlib.Path, mark_key: MarkKey, folder: pathlib.Path, out: pathlib.Path
) -> Opened:
    """Open one leaf for an arbitrator, if the bet on it is recorded, and write the opening.

    Every opening is logged in `openings.jsonl` beside the manifest before it is written. A
    leaf is opened once: the same request gets the same answer again; a different line for an
    opened unit, or a unit out of order, raises RecordError. With several suspects the rows of
    all open records must be there, and a closed record must be as it was.

    Args:
      request: the arbitrator's file.
      mark_key: the secret; it does not leave this process.
      folder: the owner's folder with manifest and commitment.
      out: the opening to write, in place of an earlier one.

    Raises:
      CaseError: files that are missing or damaged; something else is at `out`.
      CommitmentError: another commitment, or a key that is not the one committed to.
      RecordError: the line does not follow the leaf opened before, its hash or bet is wrong,
        another unit's turn, or a second row for a unit that is open.
    """
    published = read_published(folder)
    if out.exists():
        try:
            read_json(out, OPENING)
        except CaseError as error:
            raise CaseError(f"out may only replace an earlier opening: {error}") from None
    with only_one(folder):  # otherwise two requests at once could open one leaf for two rows
        return _answer(request, mark_key, published, folder, out)


def _answer(
    path: pathlib.Path,
    mark_key: MarkKey,
    published: Published,
    folder: pathlib.Path,
    out: pathlib.Path,
) -> Opened:
    body = read_json(path, REQUEST, GROUP_REQUEST)
    if commitment_of(mark_key, published.manifest, published.plan) != published.commitment:
        raise CommitmentError(f"the key is not the one behind {folder}/commitment.json")
    if body.get("commitment") != published.commitment:
        raise CommitmentError(f"{path} is for a different commitment than that in {folder}")
    log, declared = _read_log(folder / LOG), body.get("declared")
    if log and declared != log[0]["declared"]:
        raise RecordError(
            f"{path} comes from another declaration than the first request: leaves are "
            "opened for one audit only"
        )
    request = read_request(body, published)
    again = _is_again(log, request)
    if not again:
        order = audit_order(published.commitment, published.plan, published.manifest)
        _check_turn(request, len(log), order)
        _check_bets(request, published.manifest.space.num_valid)
        _check_follows(request, log[-1] if log else None, published)
        if not log:
            _check_declared(request, declared)
    opening = UnitTree(mark_key, published.manifest, published.plan).open(request.unit)
    if not again:
        entry = _log_entry(request, _leaves_after(request, opening, published))
        lines = [_json.dumps(line) for line in [*log, {**entry, "declared": declared}]]
        _files.write_whole(folder / LOG, ("\n".join(lines) + "\n").encode())
    answer = {"format": OPENING, "request": digest_of(path), "opening": opening.to_dict()}
    remove_signature(out)  # of another answer
    _json.write(out, answer)
    return Opened(request.unit, request.step, again)


def read_request(body: dict[str, Any], published: Published) -> Request:
    """Read the lines of a request.

    Raises:
      RecordError: a damaged line, records of several cases or under other names, rows of
        different units, or none.
    """
    if "records" not in body:
        records = {ONLY: RecordEnd(body.get("header"), _last_line(body.get("row"), ("row",)))}
    else:
        records = _group_records(body, published)
    rows = [record.body for record in records.values() if record.is_row]
    turns = {(row["step"], row["unit"]) for row in rows}
    if len(turns) != 1:
        raise RecordError("the request must hold rows of one unit, and at least one")
    ((step, unit),) = turns
    return Request(records, step, unit)


def _group_records(body: dict[str, Any], published: Published) -> dict[str, RecordEnd]:
    try:
        parts = {str(n): (p["header"], p["line"]) for n, p in sorted(body["records"].items())}
    except (AttributeError, KeyError, TypeError):
        raise RecordError("the request holds no records") from None
    records = {}
    for name, (header, line) in parts.items():
        group = RecordGroup.from_json(_header(header, published).get("joint"))
        if group.suspect != name or group.suspects != tuple(parts):
            raise RecordError(
                f"the record of {name!r} has the header of {group.suspect!r}, one of "
                f"{', '.join(group.suspects)}; the request holds {', '.join(parts)}"
            )
        records[name] = RecordEnd(header, _last_line(line, ("row", "close")))
    if len({_json.dumps(shared_header(header)) for header, _ in parts.values()}) > 1:
        raise RecordError("the request's records have headers of different cases")
    named = heads_digest({name: record.body["hash"] for name, record in records.items()})
    if body.get("heads") != named:
        raise RecordError("the request names other heads than its records have")
    return records


def _last_line(line: Any, kinds: tuple[str, ...]) -> dict[str, Any]:
    """Return the body of a record's last line, if its hash is its own."""
    try:
        body = whole_line(line)
        if body["kind"] not in kinds:
            raise ValueError
        if body["kind"] == "row":
            if body["row"] != row_digest(body["losses"]):
                raise ValueError
            int(body["step"]), int(body["unit"]), list(body["bet"])
    except _DAMAGE:
        raise RecordError("the request holds no whole line of a row and its bet") from None
    return body


def _header(line: Any, published: Published) -> dict[str, Any]:
    try:
        body = whole_line(line)
        if body["previous"] != "" or body["commitment"] != published.commitment:
            raise ValueError
        bytes.fromhex(body["beacon"])
    except _DAMAGE:
        raise RecordError(
            "the request holds no header of an audit of this commitment"
        ) from None
    return body


def _is_again(log: list[dict[str, Any]], request: Request) -> bool:
    for entry in log:
        if _heads_of(entry) == request.heads:
            return True
        if entry["unit"] == request.unit:
            raise RecordError(
                f"unit {request.unit} was opened for another row: a leaf is opened once"
            )
    return False


def _check_turn(request: Request, num_open: int, order: tuple[int, ...]) -> None:
    due = order[num_open] if num_open < len(order) else None
    if (request.step, request.unit) != (num_open, due):
        expected = "none" if due is None else f"unit {due} as step {num_open}"
        raise RecordError(
            f"the request asks for unit {request.unit} as step {request.step}; expected: "
            f"{expected}"
        )


def _check_bets(request: Request, num_valid: int) -> None:
    """Refuse a bet below 0, or not of sum 1."""
    for record in request.rows.values():
        try:
            check_bet(num_valid, bet=record.body["bet"])
        except (TypeError, ValueError) as error:
            raise RecordError(f"the request's bet is not valid: {error}") from None


def _check_declared(request: Request, declared: Any) -> None:
    """Check that each header, and so every later hash, names the declaration."""
    for record in request.records.values():
        if _json.loads(record.header).get("about") != declared:
            raise RecordError(
                "the request names another declaration than the record's first line"
            )


def _check_follows(
    request: Request, before: dict[str, Any] | None, published: Published
) -> None:
    """Refuse lines that do not follow the last entry of the log; None before the first."""
    for name, record in request.records.items():
        if before is None:
            follows = record.body["previous"] == _header(record.header, published)["hash"]
        elif name in (leaves := _leaves_of(before)):
            follows = record.body["previous"] == leaves[name]
        else:
            follows = not record.is_row and record.body["hash"] == _heads_of(before).get(name)
        if not follows:
            raise RecordError(
                "the request's line does not follow the leaf that was opened before"
            )


def _leaves_after(
    request: Request, opening: LeafOpening, published: Published
) -> dict[str, str]:
    """Return the hash that the next line of each record will have, once the leaf is open."""
    heads, leaves = None if ONLY in request.records else heads_digest(request.heads), {}
    for name, record in request.rows.items():
        beacon = bytes.fromhex(_header(record.header, published)["beacon"])
        checker = LeafChecker(published.commitment, published.manifest, published.plan, beacon)
        body = leaf_body(opening, checker.check(opening, unit=request.unit), heads)
        leaves[name] = _json.loads(chained(record.body["hash"], body))["hash"]
    return leaves


def _log_entry(request: Request, leaves: dict[str, str]) -> dict[str, Any]:
    """Make an entry of the owner's log: the heads that a leaf was opened for, and the next."""
    entry = {"step": request.step, "unit": request.unit}
    if ONLY in request.records:
        return entry | {"row": request.heads[ONLY], "leaf": leaves[ONLY]}
    return entry | {"heads": request.heads, "leaves": leaves}


def _heads_of(entry: dict[str, Any]) -> dict[str, str]:
    return entry["heads"] if "heads" in entry else {ONLY: entry["row"]}


def _leaves_of(entry: dict[str, Any]) -> dict[str, str]:
    return entry["leaves"] if "leaves" in entry else {ONLY: entry["leaf"]}


def _read_log(path: pathlib.Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        log = [_json.loads(line) for line in read_bytes(path).splitlines()]
        for entry in log:
            _ = [entry[name] for name in ("step", "unit", "declared")]
            _ = [*_heads_of(entry).items(), *_leaves_of(entry).items()]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise CaseError(
            f"{path} is damaged: restore it, no leaf is opened without it"
        ) from None
    return log
