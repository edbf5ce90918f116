"""Two files for each unit: the arbitrator's request, the owner's opening.

The arbitrator never holds the key, and the owner never sees the model. A request carries the
line of the record that holds the finished row and its bet; the owner opens the unit's leaf only
for a line that stands in the chain behind the leaf opened before. With several suspects it
carries the last line of every record: one leaf settles all their bets, so all must be written.

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

from anw_jax import _files, _json
from anw_jax.audit.files import digest_of, only_one, read_bytes, read_json, write_json
from anw_jax.audit.published import commitment_of, read_published
from anw_jax.audit.request_lines import (
    Asked,
    asked_in,
    check_about,
    check_bets,
    check_follows,
    heads_of,
    leaves_after,
    leaves_of,
    log_entry,
)
from anw_jax.errors import CaseError, CommitmentError, RecordError
from anw_jax.keys import LeafOpening, MarkKey, UnitTree, audit_order
from anw_jax.sequential import Lockstep
from anw_jax.sequential.lines import heads_digest

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
    write_json(path, body)
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
        lines = [json.dumps(line) for line in [*log, entry]]
        _files.write_whole(folder / LOG, ("\n".join(lines) + "\n").encode())
    digest = digest_of(request)
    write_json(out, {"format": OPENING, "request": digest, "opening": opening.to_dict()})
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
