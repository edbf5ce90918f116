"""Replay sequential audits from their lines, and resume one from its file.

A replay needs the lines, the manifest and the plan, and trusts no party: it recomputes the
order of the units, the digests, the bets, the reason to stop and the wealth, and checks the
leaves against the root. If a case has several tests, all records of an owner are replayed
together, since each contains the others' heads.
"""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from anw_jax import _check, _json
from anw_jax.errors import CommitmentError, RecordError
from anw_jax.keys import LeafOpening, Manifest, Plan
from anw_jax.sequential.lines import RecordGroup, chained
from anw_jax.sequential.lockstep import Lockstep
from anw_jax.sequential.record import SequentialRecord
from anw_jax.stats import SequentialResult

# Exponentials of another machine may differ in the last bits.
_BET_TOLERANCE = 1e-9


def replay(
    lines: list[str],
    manifest: Manifest,
    plan: Plan,
    *,
    commitment: str | None = None,
    beacon: bytes | None = None,
) -> SequentialResult:
    """Recompute a closed audit from its lines, without trusting their content.

    Args:
      lines: of the record of a single test, as in its file (see also `replay_together`).
      manifest: the committed manifest.
      plan: the committed plan.
      commitment: the root that was public before training. **Supply it**: anyone can make a
        complete record for a key drawn afterwards, with another root. None takes the root in
        the record.
      beacon: the value of the beacon named in the plan, fetched by yourself; None takes the
        value in the record.

    Returns:
      The result.

    Raises:
      RecordError: a line is missing, added, moved or changed; a unit out of order; a bet that
        is not the declared bettor's; a reason to stop that does not hold; no close; a record
        that is one of a group.
      CommitmentError: a leaf that does not open, or another commitment, manifest or plan.
    """
    record = read_record(lines, manifest, plan, commitment=commitment, beacon=beacon)
    if record.group is not None:
        raise RecordError("the record is one of a group: replay all of its owner's together")
    return record.result()


def replay_together(
    lines: Mapping[str, list[str]],
    manifest: Manifest,
    plan: Plan,
    *,
    commitment: str | None = None,
    beacon: bytes | None = None,
) -> dict[str, SequentialResult]:
    """Recompute the closed records of one owner, and check them against one another.

    Args:
      lines: of each record, by suspect.
      manifest: the committed manifest.
      plan: the committed plan.
      commitment: as for `replay`. **Supply it.**
      beacon: as for `replay`.

    Returns:
      The results, by suspect. The caller must check that declaration and level in the headers
      are those of the case.

    Raises:
      RecordError: as `replay`; records that do not contain one another's heads, of different
        rounds or cases, or under another name; a missing record.
      CommitmentError: as `replay`.
    """
    records = {}
    for name in lines:
        try:
            records[name] = read_record(
                lines[name], manifest, plan, commitment=commitment, beacon=beacon
            )
        except (RecordError, CommitmentError) as error:
            raise type(error)(f"record of {name!r}: {error}") from None
    together = Lockstep(records)
    return {name: record.result() for name, record in together.records.items()}


def resume(
    path: str | os.PathLike,
    manifest: Manifest,
    plan: Plan,
    *,
    commitment: str | None = None,
    beacon: bytes | None = None,
) -> SequentialRecord:
    """Resume an audit from its file, in the state in which its process ended.

    Every line is checked as by `replay`, with the same arguments. A partially written last line
    is dropped, since its hash was never sent.

    Raises:
      RecordError: the file is not a valid record.
      CommitmentError: a leaf that does not open, or another manifest or plan.
    """
    path = pathlib.Path(path)
    whole, newline, _ = path.read_bytes().rpartition(b"\n")
    lines = whole.decode("utf-8", "replace").split("\n") if newline else []
    record = read_record(lines, manifest, plan, commitment=commitment, beacon=beacon)
    with path.open("r+b") as file:
        file.truncate(len(whole) + 1)
    record.write_to(path)
    return record


def read_record(
    lines: list[str],
    manifest: Manifest,
    plan: Plan,
    *,
    commitment: str | None = None,
    beacon: bytes | None = None,
) -> SequentialRecord:
    """Repeat every step of a record, closed or not; see `replay` for arguments and errors."""
    bodies = _unchained(lines)
    header = bodies[0]
    try:
        of, value = header["commitment"], bytes.fromhex(header["beacon"])
        about = _check.is_instance(str, about=header.get("about", ""))
    except (KeyError, TypeError, ValueError):
        raise RecordError("line 1 is not the header of a sequential audit") from None
    group = RecordGroup.from_json(header["joint"]) if "joint" in header else None
    if commitment not in (None, of):
        raise CommitmentError(
            f"line 1: the record is about the commitment {of!r:.20}…, not about "
            f"{commitment[:16]!r}…, which was given"
        )
    if beacon not in (None, value):
        raise CommitmentError(
            f"line 1: the record has the beacon's value {value.hex()!r:.20}, not "
            f"{beacon.hex()!r:.20}, which was given"
        )
    if group is not None and group.level > plan.alpha:
        raise RecordError(f"line 1: the level {group.level} is above the plan's, {plan.alpha}")
    record = SequentialRecord(of, manifest, plan, beacon=value, about=about, group=group)
    if record.lines[0] != lines[0]:
        raise CommitmentError("line 1: the header is that of another plan, manifest or format")
    for number, body in enumerate(bodies[1:], start=2):
        try:
            _repeat(record, body)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            if isinstance(error, CommitmentError):
                raise
            raise RecordError(f"line {number}: {error}") from None
        if record.lines[-1] != lines[number - 1]:
            raise RecordError(f"line {number}: it differs from what the rules give")
    return record


def _repeat(record: SequentialRecord, body: dict[str, Any]) -> None:
    """Repeat the step that one line records."""
    if record.closed_because:
        raise RecordError("lines must not follow the close")
    if body["kind"] == "row":
        losses = np.array(body["losses"], np.float64)  # null is NaN
        record.write_row(body["unit"], losses, _near(body["bet"]))
    elif body["kind"] == "leaf":
        record.open_leaf(LeafOpening.from_dict(body["opening"]), body.get("heads"))
    elif body["kind"] == "close":
        if record.close() != body["because"]:
            raise RecordError(f"it stops because {body['because']!r:.80}, which does not hold")
    else:
        raise RecordError(f"kind must be row, leaf or close, got {body['kind']!r:.40}")


def _near(written: list[float]):
    """Return a function that accepts the written bet if it is the bettor's up to rounding."""

    def choose(bet: np.ndarray) -> np.ndarray:
        given = np.asarray(written, np.float64)
        if given.shape != bet.shape or not np.allclose(given, bet, 0, _BET_TOLERANCE):
            raise RecordError("the bet is not the declared bettor's")
        return given

    return choose


def _unchained(lines: list[str]) -> list[dict[str, Any]]:
    """Parse lines, check their chain of hashes, and return their bodies."""
    if not lines:
        raise RecordError("the record is empty")
    bodies, previous = [], ""
    for number, line in enumerate(lines, start=1):
        try:
            body = _json.loads(line)
            digest = body.pop("hash")
            before = body.pop("previous")
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            raise RecordError(f"line {number} is not a line of a record") from None
        if before != previous or chained(previous, body) != line:
            raise RecordError(
                f"line {number} breaks the chain of hashes: a line was changed, moved, added "
                "or left out"
            )
        previous = digest
        bodies.append(body)
    return bodies
