"""Sequential mode: row and bet, then one leaf, unit by unit, until the level is settled."""

import dataclasses
import json
import math
import pathlib
import shlex
import subprocess
from typing import Any

from anw_jax import _files, progress
from anw_jax.audit.asking import asked, queries_of
from anw_jax.audit.case import FORMATS, Case
from anw_jax.audit.corrections import corrected
from anw_jax.audit.declaring import check_unchanged
from anw_jax.audit.exchange import read_opening, write_request
from anw_jax.audit.files import check_same, digest_of, read_bytes, write_json
from anw_jax.audit.panel import Panel
from anw_jax.audit.suspect_file import MakerFn
from anw_jax.errors import CaseError, OpenerError
from anw_jax.keys import MarkKey
from anw_jax.stats.testing import format_p
from anw_jax.verify import SequentialRecord, replay, resume
from anw_jax.verify.verdict import EVIDENCE, EVIDENCE_WITH_BEACON, EXPERIMENT_KEY


@dataclasses.dataclass(frozen=True)
class Standing:
    """How far a sequential audit has come.

    Attributes:
      closed_because: why it ended; "" while a leaf is due.
      request: the file that waits for the owner; None once closed.
      opening: where the owner's answer is looked for.
      num_opened: leaves opened.
      num_units: units in all.
      p_value: the running p.
    """

    closed_because: str
    request: pathlib.Path | None
    opening: pathlib.Path | None
    num_opened: int
    num_units: int
    p_value: float


def go_on(
    case: Case,
    *,
    opener: str | None = None,
    stop: bool = False,
    budget: int | None = None,
    on_progress: progress.ProgressFn = progress.silent,
    makers: dict[str, MakerFn] | None = None,
) -> Standing:
    """Takes a sequential audit as far as it goes without the owner.

    Asks the next unit, writes row and bet to `records/`, then looks for the owner's opening in
    `exchange/`; where there is none it writes the request and returns. With an opener it runs
    that command for each leaf and goes on to the end. May be killed at any moment.

    Args:
      case: declared, with one owner, one suspect, and a plan whose mode is "sequential".
      opener: a command line with {request}, {opening} and {owner} in it, run without a shell.
      stop: close the audit now; an owner who has not opened the leaf that is due loses the
        stake.
      budget: more queries than were declared.
      on_progress: called with (units opened, units in all).
      makers: further kinds of suspects.

    Returns:
      Where it stands. Once closed, `closed.json` is written and nothing is asked again.

    Raises:
      CaseError: not declared, anything changed, or damaged files.
      CommitmentError: an opening that is not that of the leaf.
      RecordError: the record breaks its own rules.
      OpenerError: the opener failed.
      BudgetError, SuspectError: as the suspect.
    """
    declared = check_unchanged(case)
    ((owner_name, owner),) = case.owners.items()
    ((suspect_name, _),) = case.suspects.items()
    record = _record(case, declared, owner)
    if case.has("closed.json"):
        return _standing(case, record, owner)
    if not (record.closed_because or stop):
        budget = declared["budget"] if budget is None else budget
        with asked(case, declared, suspect_name, budget=budget, makers=makers) as (
            panel,
            cache,
        ):
            waits = _ask_and_open(
                case, record, panel, declared["saving"], opener, owner_name, on_progress
            )
            queries = queries_of(cache, declared, suspect_name)
        write_json(case.file("records") / "queries.json", queries)
        if waits:
            return _standing(case, record, owner)
    record.close()
    _write_closed(case, declared, record)
    return _standing(case, record, owner)


def _paths(case: Case, owner: str) -> tuple[pathlib.Path, pathlib.Path]:
    folder = case.file("exchange")
    return folder / f"{owner}.request.json", folder / f"{owner}.opening.json"


def record_file(case: Case) -> pathlib.Path:
    """The hash-chained record of a sequential case."""
    return case.file("records") / f"{next(iter(case.owners))}.jsonl"


def _record(case: Case, declared: dict[str, Any], owner) -> SequentialRecord:
    path, published = record_file(case), owner.published
    if path.exists() and b"\n" not in read_bytes(path):
        path.unlink()  # killed while its first line was written
    started = path.with_suffix(".declared")
    if path.exists():
        check_same(
            case.file("declared.json"), read_bytes(started).decode().strip(), started.name
        )
        return resume(path, published.manifest, published.plan)
    _files.write_whole(started, digest_of(case.file("declared.json")).encode() + b"\n")
    beacon = bytes.fromhex(declared["beacons"].get(owner.name, ""))
    return SequentialRecord(
        published.commitment, published.manifest, published.plan, beacon=beacon, path=path
    )


def _leaf_is_due(record: SequentialRecord) -> bool:
    return json.loads(record.lines[-1])["kind"] == "row"


def _ask_and_open(
    case: Case,
    record: SequentialRecord,
    panel: Panel,
    saving: list[int] | None,
    opener: str | None,
    owner: str,
    on_progress: progress.ProgressFn,
) -> bool:
    """Unit after unit; True where the owner is waited for."""
    request, opening = _paths(case, owner)
    commitment = panel.owners[0].published.commitment
    declared = digest_of(case.file("declared.json"))
    num_units = panel.owners[0].published.manifest.num_units
    while record.is_open:
        if not _leaf_is_due(record):
            unit = record.next_unit
            record.write_row(unit, panel.unit_row(0, unit, saving and tuple(saving)))
        digest = write_request(request, owner, commitment, declared, record.lines)
        leaf = read_opening(opening, digest)
        if leaf is None and opener is not None:
            _run(opener, request=request, opening=opening, owner=owner)
            leaf = read_opening(opening, digest)
            if leaf is None:
                raise OpenerError(f"the opener wrote no answer to {request} into {opening}")
        if leaf is None:
            return True
        record.open_leaf(leaf)
        on_progress(record.wealth.num_steps, num_units)
    return False


def _run(opener: str, **names: Any) -> None:
    """Runs the owner's command for one leaf; its output is shown only where it fails."""
    try:
        words = [word.format(**names) for word in shlex.split(opener)]
    except (KeyError, IndexError, ValueError) as error:
        raise OpenerError(
            "opener may name {request}, {opening} and {owner}, "
            f"got {opener!r:.80} ({error})"
        ) from None
    try:
        done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise OpenerError(f"the opener {words[0]!r} cannot be run: {error.strerror}") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["nothing was said"]
        raise OpenerError(f"the opener failed with code {done.returncode}: {said[-1]:.200}")


def _write_closed(case: Case, declared: dict[str, Any], record: SequentialRecord) -> None:
    ((name, suspect),) = declared["suspects"].items()
    queries = case.file("records") / "queries.json"
    write_json(
        case.file("closed.json"),
        {
            "format": FORMATS["closed.json"],
            "previous": case.digest("declared.json"),
            "record": digest_of(record_file(case)),
            "head": record.head,
            "because": record.closed_because,
            "suspect": name,
            "declaration": suspect["declaration"],
            "declaration_digest": suspect["declaration_digest"],
            **(json.loads(read_bytes(queries)) if queries.exists() else {"num_queries": 0}),
        },
    )


def _standing(case: Case, record: SequentialRecord, owner) -> Standing:
    waits = not record.closed_because
    request, opening = _paths(case, owner.name)
    return Standing(
        closed_because=record.closed_because,
        request=request if waits else None,
        opening=opening if waits else None,
        num_opened=record.wealth.num_steps,
        num_units=owner.published.manifest.num_units,
        p_value=record.wealth.p_value,
    )


def judge_record(case: Case, mark_keys: dict[str, MarkKey]) -> dict[str, Any]:
    """The verdict of a sequential case: the record replayed line by line; no key is needed.

    Raises:
      CaseError: the audit is not closed, a file was changed, or a key was given.
      RecordError, CommitmentError: the record breaks its own rules.
    """
    check_unchanged(case)
    if mark_keys:
        raise CaseError("a sequential verdict opens no key: leave --key out")
    if not case.has("closed.json"):
        raise CaseError(
            f"{case.file('closed.json')} is not there: the audit is not closed (anw audit)"
        )
    closed = case.check_link("closed.json", "declared.json")
    check_same(record_file(case), closed["record"], "closed.json")
    ((name, owner),) = case.owners.items()
    lines = read_bytes(record_file(case)).decode("utf-8", "replace").splitlines()
    published = owner.published
    result = replay(lines, published.manifest, published.plan)
    finite = math.isfinite(result.log_e_value)
    test = {
        **dataclasses.asdict(result),
        "p_text": format_p(result.log10_p),
        "sentence": result.sentence,
        "standing": _evidence(lines, published.plan),
        "because": closed["because"],
        # An exact test on what a stop left over would not hold, nor would these.
        "how_many": None,
        "which": None,
    }
    tests = {name: {closed["suspect"]: test}}
    body = {
        "format": FORMATS["verdict.json"],
        "previous": case.digest("closed.json"),
        "mode": "sequential",
        "tests": tests,
        "corrected": corrected(published.plan, tests),
        "queries": {closed["suspect"]: closed["num_queries"]},
    }
    test["log_e_value"] = result.log_e_value if finite else None
    write_json(case.file("verdict.json"), body)
    return body


def _evidence(lines: list[str], plan) -> str:
    leaves = [body for body in map(json.loads, lines) if body["kind"] == "leaf"]
    if any(leaf["opening"]["origin"] == "experiment" for leaf in leaves):
        return EXPERIMENT_KEY
    return EVIDENCE_WITH_BEACON if plan.beacon else EVIDENCE
