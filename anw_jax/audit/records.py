"""The records of a sequential case, and its verdict: a replay of every record."""

import dataclasses
import math
import pathlib
from typing import Any

from anw_jax import _files, _json
from anw_jax.audit import refusals
from anw_jax.audit.case import FORMATS, Case, Owner
from anw_jax.audit.conditions import Basis, basis_of, check_blind, circumstances, with_texts
from anw_jax.audit.corrections import corrected, level_of_record, restate
from anw_jax.audit.declare import beacon_of, check_unchanged, refusal_limit
from anw_jax.audit.files import check_same, digest_of, read_bytes
from anw_jax.audit.published import Published
from anw_jax.audit.statements import check_controls, check_release, read_statements
from anw_jax.errors import CaseError, ChangedFileError, RecordError
from anw_jax.keys import MarkKey
from anw_jax.sequential import (
    Lockstep,
    RecordGroup,
    SequentialRecord,
    replay,
    replay_together,
    resume,
)
from anw_jax.sequential.record import BY_HAND
from anw_jax.stats import SequentialResult, divided
from anw_jax.stats.testing import format_p
from anw_jax.verify.statements import check_against, conditions_of
from anw_jax.verify.verdict import is_conditional, standing_of


def record_file(case: Case, owner: str, suspect: str) -> pathlib.Path:
    """The hash-chained record of one owner and suspect."""
    folder = case.file("records")
    if len(case.suspects) == 1:
        return folder / f"{owner}.jsonl"
    return folder / owner / f"{suspect}.jsonl"


def group_of(case: Case, declared: dict[str, Any], suspect: str) -> RecordGroup | None:
    """What a record's header binds; None where it is one test at the plan's own level."""
    num_tests = len(case.owners) * len(case.suspects)
    plan = next(iter(case.owners.values())).published.plan
    highest = level_of_record(plan, len(case.owners), len(case.suspects))
    said = declared.get("sequential") or {}
    level = said.get("level")
    is_level = isinstance(level, float) and 0.0 < level <= highest
    if said.get("num_tests") != num_tests or not is_level:
        raise ChangedFileError(
            f"{case.file('declared.json')} does not declare a level of at most {highest:g} for "
            f"each of {num_tests} tests: declare the audit afresh in another case folder"
        )
    if num_tests == 1 and level == plan.alpha:
        return None
    return RecordGroup(level, suspect, tuple(sorted(case.suspects)))


def fresh(
    case: Case,
    declared: dict[str, Any],
    owner: Owner,
    suspect: str,
    path: pathlib.Path | None = None,
) -> SequentialRecord:
    """A record with nothing but its header, as this case has it."""
    published = owner.published
    return SequentialRecord(
        published.commitment,
        published.manifest,
        published.plan,
        beacon=beacon_of(declared, owner.name),
        path=path,
        about=digest_of(case.file("declared.json")),
        group=group_of(case, declared, suspect),
    )


def take_up(case: Case, declared: dict[str, Any], owner: Owner) -> Lockstep:
    """An owner's records as they were when a process ended, or new ones.

    Raises:
      ChangedFileError: they were begun under another declaration.
      RecordError, CommitmentError: a record breaks the rules, or they do not fit together.
    """
    return Lockstep({name: _record(case, declared, owner, name) for name in case.suspects})


def _record(
    case: Case, declared: dict[str, Any], owner: Owner, suspect: str
) -> SequentialRecord:
    path = record_file(case, owner.name, suspect)
    if path.exists() and b"\n" not in read_bytes(path):
        path.unlink()  # killed while its first line was written
    started = path.with_suffix(".declared")
    if path.exists():
        check_same(
            case.file("declared.json"), read_bytes(started).decode().strip(), started.name
        )
        record = resume(
            path,
            owner.published.manifest,
            owner.published.plan,
            commitment=owner.published.commitment,
            beacon=beacon_of(declared, owner.name),
        )
        check_header(case, declared, owner, suspect, record.lines[0])
        return record
    _files.write_whole(started, digest_of(case.file("declared.json")).encode() + b"\n")
    return fresh(case, declared, owner, suspect, path)


def check_header(
    case: Case, declared: dict[str, Any], owner: Owner, suspect: str, line: str
) -> None:
    """Refuses a record that was begun for anything but this owner, suspect and case.

    Raises:
      RecordError: it was.
    """
    if fresh(case, declared, owner, suspect).lines[0] == line:
        return
    whose = (_json.loads(line).get("joint") or {}).get("suspect", suspect)
    also = "" if whose == suspect else f" (it has the header of {whose!r})"
    raise RecordError(
        f"{record_file(case, owner.name, suspect)} is not the record of {owner.name!r} against "
        f"{suspect!r} in this case{also}: commitment, beacon, level or declaration differ"
    )


def judge_record(
    case: Case, mark_keys: dict[str, MarkKey], *, blind: str | None = None
) -> dict[str, Any]:
    """The verdict of a sequential case: all records replayed line by line; no key is needed.

    Args:
      case: closed.
      mark_keys: none.
      blind: the SHA-256 of `closed.json` as it was noted at the audit; None is a condition.

    Returns:
      The verdict: for each owner and suspect the result at its own stop, "log_wealth" there
      and "log_e_value", which is -inf (null in the file) where all was lost, or where one
      record of several was stopped by hand; and the outcome corrected for all tests.

    Raises:
      CaseError: the audit is not closed, a file was changed, or a key was given.
      RecordError, CommitmentError: a record breaks its own rules, or does not fit the others.
    """
    body = recompute_record(case, mark_keys, blind=blind)
    _json.write(case.file("verdict.json"), body)
    return body


def recompute_record(
    case: Case, mark_keys: dict[str, MarkKey], *, blind: str | None = None
) -> dict[str, Any]:
    """The verdict of a sequential case from its files; writes nothing. See `judge_record`."""
    declared = check_unchanged(case)
    if mark_keys:
        raise CaseError("a sequential verdict opens no key: leave --key out")
    if not case.has("closed.json"):
        raise CaseError(
            f"{case.file('closed.json')} is not there: the audit is not closed (anw audit)"
        )
    statements = read_statements(case)
    check_controls(statements, declared)
    check_release(case, statements)
    closed = _read_closed(case)
    _check_names(case, closed)
    is_compared = check_blind(case, "closed.json", blind)
    tests = {}
    for name, owner in case.owners.items():
        bases = {
            suspect: basis_of(case, declared, statements, name, suspect, is_compared)
            for suspect in case.suspects
        }
        tests[name] = _tests_of(case, declared, owner, closed["records"][name], bases)
    _check_answers(case, closed)
    end = corrected(next(iter(case.owners.values())).published.plan, tests)
    tests = restate(tests, end)
    with_texts(tests, end)
    return {
        "format": FORMATS["verdict.json"],
        "previous": case.digest("closed.json"),
        "mode": "sequential",
        "tests": _as_json(tests),
        "corrected": end,
        "case": circumstances(case, declared, statements, "closed.json"),
        "blind_compared": is_compared,
        "queries": {name: s["num_queries"] for name, s in closed["suspects"].items()},
    }


def _read_closed(case: Case) -> dict[str, Any]:
    """`closed.json`; one of a single test, as it was written before there were several."""
    closed = case.check_link("closed.json", "declared.json")
    single = ("suspect", "record", "head", "because", "num_queries")
    if not all(field in closed for field in single) or len(case.owners) > 1:
        return closed
    (owner,) = case.owners
    suspect = closed["suspect"]
    one = {field: closed[field] for field in ("record", "head", "because")}
    return {
        "records": {owner: {suspect: one}},
        "suspects": {suspect: {name: closed.get(name) for name in ("num_queries", "answers")}},
    }


def _check_names(case: Case, closed: dict[str, Any]) -> None:
    """Every owner and suspect has a record with all fields, and its queries."""
    suspects = sorted(case.suspects)
    try:
        whole = sorted(closed["records"]) == sorted(case.owners)
        for by_name in closed["records"].values():
            whole &= sorted(by_name) == suspects
            whole &= all(isinstance(one["record"], str) for one in by_name.values())
        whole &= sorted(closed["suspects"]) == suspects
        whole &= all("num_queries" in suspect for suspect in closed["suspects"].values())
    except (KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise CaseError(f"{case.file('closed.json')} is damaged")


def _check_answers(case: Case, closed: dict[str, Any]) -> None:
    """Without the answers nobody can tell whether the rows are theirs."""
    versions = {owner.published.plan.version for owner in case.owners.values()}
    for name, suspect in closed["suspects"].items():
        if versions == {1} and "answers" not in suspect:
            continue  # older files do not name them
        named = suspect.get("answers", "")
        if named is None:
            continue  # stopped before anything was asked
        if not case.answers_file(name).exists():
            raise ChangedFileError(
                f"{case.answers_file(name)} is gone: without the answers nobody can tell "
                "whether the rows are theirs; restore the file"
            )
        check_same(case.answers_file(name), named, "closed.json")


def _tests_of(
    case: Case,
    declared: dict[str, Any],
    owner: Owner,
    closed: dict[str, dict[str, str]],
    bases: dict[str, Basis],
) -> dict[str, dict[str, Any]]:
    """The tests of one owner, by suspect."""
    lines = {}
    for name in case.suspects:
        file = record_file(case, owner.name, name)
        check_same(file, closed[name]["record"], "closed.json")
        lines[name] = read_bytes(file).decode("utf-8", "replace").splitlines()
    public = owner.published
    known = {"commitment": public.commitment, "beacon": beacon_of(declared, owner.name)}
    num_tests = len(case.owners) * len(case.suspects)
    if group_of(case, declared, next(iter(lines))) is None:
        ((name, record),) = lines.items()
        results = {name: replay(record, public.manifest, public.plan, **known)}
    else:
        results = replay_together(lines, public.manifest, public.plan, **known)
    for name, record in lines.items():
        if _json.loads(record[0]).get("about") != case.digest("declared.json"):
            file = record_file(case, owner.name, name)
            raise ChangedFileError(f"{file} is the record of another declaration")
        check_header(case, declared, owner, name, record[0])
    return {
        name: refusals.limited(
            {
                **_test(result, lines[name], bases[name].factor, public, num_tests),
                **_standing(lines[name], public, bases[name]),
            },
            closed[name].get("unusable"),
            refusal_limit(declared, name),
        )
        for name, result in results.items()
    }


def _test(
    result: SequentialResult, lines: list[str], factor: float, public: Published, num_tests: int
) -> dict[str, Any]:
    because = _json.loads(lines[-1])["because"]
    # The level at which a record may stop allows for a factor already; it is applied here.
    at_level = dataclasses.replace(result, alpha=public.plan.alpha / num_tests)
    result = divided(at_level, factor, public.manifest.space.num_valid)
    # Who stops one of several by hand may have seen what another suspect's answers say of
    # slots to come: the wealth there is no e-value. The running p holds under any stop.
    was_cut = because in BY_HAND and num_tests > 1
    return {
        **dataclasses.asdict(result),
        "log_wealth": result.log_e_value,
        "log_e_value": -math.inf if was_cut else result.log_e_value,
        "factor": factor,
        "p_text": format_p(result.log10_p),
        "sentence": result.sentence,
        "because": because,
        # An exact test on what a stop left over would not hold, nor would these.
        "how_many": None,
        "which": None,
    }


def _standing(lines: list[str], public: Published, basis: Basis) -> dict[str, Any]:
    leaves = [body for body in map(_json.loads, lines) if body["kind"] == "leaf"]
    origins = {leaf["opening"]["origin"] for leaf in leaves}
    origin = "experiment" if "experiment" in origins else "secret"
    check_against(basis.statements, public.plan, public.commitment)
    conditions = [*conditions_of(public.plan, basis.statements), *basis.conditions]
    standing = standing_of(origin, public.commitment, basis.statements, conditions)
    return {
        "standing": standing,
        "conditions": conditions if is_conditional(standing) else [],
        "stated": list(basis.stated),
    }


def _as_json(tests: dict[str, dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """JSON knows no infinity: null where all was lost."""
    return {
        owner: {
            name: {
                field: None if value == -math.inf else value for field, value in test.items()
            }
            for name, test in by_name.items()
        }
        for owner, by_name in tests.items()
    }
