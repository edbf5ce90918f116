"""Two files for each unit: the arbitrator's request, the owner's opening.

The arbitrator never holds the key, and the owner never sees the model. A request carries the
line of the record that holds the finished row and its bet; the owner opens the unit's leaf only
for a line that stands in the chain behind the leaf opened before.

**One unit a round, no batches.** A batch would need the bets of all its units before the
first of its leaves is opened; but the bet on a unit learns from the slot of the unit before
(`stats.MixtureBettor`), so it cannot be written earlier, and a bettor that did not learn would
need more units. Rounds are small files and cost the model nothing; on one machine an opener
command answers them by itself.
"""

import dataclasses
import json
import pathlib
from typing import Any

from anw_jax import _files
from anw_jax.audit.files import digest_of, read_bytes, read_json, write_json
from anw_jax.audit.published import commitment_of, read_published
from anw_jax.errors import CaseError, CommitmentError, RecordError
from anw_jax.keys import LeafChecker, LeafOpening, MarkKey, UnitTree, audit_order
from anw_jax.stats.e_process import check_bet
from anw_jax.verify.sequential import chained, row_digest

REQUEST = "anw_jax request to open a leaf, version 1"
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
    path: pathlib.Path, owner: str, commitment: str, declared: str, lines: list[str]
) -> str:
    """Asks for the leaf of the record's last line; returns the request's SHA-256.

    Args:
      path: the file to write.
      owner: the owner's name in the case.
      commitment: the root.
      declared: SHA-256 of `declared.json`: which model is asked, and how.
      lines: of the record; the last holds the row and its bet.
    """
    row = json.loads(lines[-1])
    write_json(
        path,
        {
            "format": REQUEST,
            "owner": owner,
            "commitment": commitment,
            "declared": declared,
            "step": row["step"],
            "unit": row["unit"],
            "header": lines[0],
            "row": lines[-1],
        },
    )
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
        raise CaseError(f"{path} holds no opening of a leaf: {error!s:.80}") from None


def answer_request(
    request: pathlib.Path, mark_key: MarkKey, folder: pathlib.Path, out: pathlib.Path
) -> Opened:
    """The owner's side: opens one leaf, if its bet stands, and writes the opening.

    Every opening is logged in `openings.jsonl` beside the manifest before it is written. A
    leaf is opened once: the same request again gets the same answer, any other line for a unit
    that is open is refused, and so is a unit out of turn.

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
    body = read_json(request, REQUEST)
    published = read_published(folder)
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
    row = _checked_row(body.get("row"))
    order = audit_order(published.commitment, published.plan, published.manifest)
    again = _is_again(log, row)
    if not again:
        _check_turn(row, log, order)
        _check_bet(row, published.manifest.space.num_valid)
        _check_previous(row, log, body.get("header"), published)
    opening = UnitTree(mark_key, published.manifest, published.plan).open(row["unit"])
    if not again:
        leaf = _leaf_head(row["hash"], opening, body["header"], published)
        entry = {
            "step": row["step"],
            "unit": row["unit"],
            "row": row["hash"],
            "leaf": leaf,
            "declared": body.get("declared"),
        }
        lines = [json.dumps(line) for line in [*log, entry]]
        _files.write_whole(folder / LOG, ("\n".join(lines) + "\n").encode())
    digest = digest_of(request)
    write_json(out, {"format": OPENING, "request": digest, "opening": opening.to_dict()})
    return Opened(row["unit"], row["step"], again)


def _read_log(path: pathlib.Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        return [json.loads(line) for line in read_bytes(path).splitlines()]
    except ValueError:
        raise CaseError(
            f"{path} is damaged: restore it, no leaf is opened without it"
        ) from None


def _checked_row(line: Any) -> dict[str, Any]:
    """The body of a row's line, if its hash is its own."""
    try:
        row = json.loads(line)
        rest = {name: value for name, value in row.items() if name not in ("hash", "previous")}
        if row["kind"] != "row" or chained(row["previous"], rest) != line:
            raise ValueError
        if row["row"] != row_digest(row["losses"]):
            raise ValueError
        int(row["step"]), int(row["unit"]), list(row["bet"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise RecordError("the request holds no whole line of a row and its bet") from None
    return row


def _is_again(log: list[dict[str, Any]], row: dict[str, Any]) -> bool:
    for entry in log:
        if entry["row"] == row["hash"]:
            return True
        if entry["unit"] == row["unit"]:
            raise RecordError(
                f"unit {row['unit']} was opened for another row: a leaf is opened once"
            )
    return False


def _check_turn(row: dict[str, Any], log: list, order: tuple[int, ...]) -> None:
    if row["step"] != len(log) or len(log) >= len(order) or row["unit"] != order[len(log)]:
        due = f"unit {order[len(log)]} as step {len(log)}" if len(log) < len(order) else "none"
        raise RecordError(
            f"the request asks for unit {row['unit']} as step {row['step']}; due is {due}"
        )


def _check_bet(row: dict[str, Any], num_valid: int) -> None:
    try:
        check_bet(num_valid, bet=row["bet"])
    except (TypeError, ValueError) as error:
        raise RecordError(f"the request's bet is none: {error}") from None


def _check_previous(row: dict[str, Any], log: list, header: Any, published) -> None:
    expected = log[-1]["leaf"] if log else _header_hash(header, published)
    if row["previous"] != expected:
        raise RecordError("the request's line does not follow the leaf that was opened before")


def _header_hash(header: Any, published) -> str:
    try:
        body = json.loads(header)
        rest = {n: v for n, v in body.items() if n not in ("hash", "previous")}
        if chained("", rest) != header or body["commitment"] != published.commitment:
            raise ValueError
        return body["hash"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise RecordError(
            "the request holds no header of an audit of this commitment"
        ) from None


def _leaf_head(row_hash: str, opening: LeafOpening, header: str, published) -> str:
    """The hash that the record's next line will have."""
    _header_hash(header, published)
    beacon = bytes.fromhex(json.loads(header)["beacon"])
    checker = LeafChecker(published.commitment, published.manifest, published.plan, beacon)
    slot = checker.check(opening, unit=opening.unit)
    line = chained(row_hash, {"kind": "leaf", "opening": opening.to_dict(), "slot": slot})
    return json.loads(line)["hash"]
