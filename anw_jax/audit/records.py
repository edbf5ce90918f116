"""The records of a sequential case, and its verdict: a replay of every record."""

import dataclasses
import math
import pathlib
from typing import Any

from anw_jax import _files, _json
from anw_jax.audit import refusals
from anw_jax.audit.case import Case, Owner
from anw_jax.audit.conditions import Basis, CaseBasis, Tests, check_blind
from anw_jax.audit.corrections import corrected, level_of_record, restate
from anw_jax.audit.declared import Declared
from anw_jax.audit.files import check_same, digest_of, read_bytes
from anw_jax.audit.published import Published
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
from anw_jax.stats import SequentialResult, divided, format_p
from anw_jax.verify.statements import check_against, conditions_of
from anw_jax.verify.verdict import is_conditional, standing_of


def record_file(case: Case, owner: str, suspect: str) -> pathlib.Path:
    """Return the path of the hash-chained record of one owner and suspect."""
    folder = case.file("records")
    if len(case.suspects) == 1:
        return folder / f"{owner}.jsonl"
    return folder / owner / f"{suspect}.jsonl"


def record_bodies(case: Case, owner: str, suspect: str) -> list[dict[str, Any]]:
    """Read the lines of one record."""
    return [_json.loads(line) for line in record_lines(case, owner, suspect)]


def record_lines(case: Case, owner: str, suspect: str) -> list[str]:
    """Read the lines of one record, unparsed."""
    content = read_bytes(record_file(case, owner, suspect))
    return content.decode("utf-8", "replace").splitlines()


def resume_records(declared: Declared, owner: Owner) -> Lockstep:
    """Resume an owner's records as they were when a process ended, or begin them.

    Raises:
      ChangedFileError: they were begun under another declaration.
      RecordError, CommitmentError: a record breaks the rules, or they do not fit together.
    """
    return Lockstep({name: _record(declared, owner, name) for name in declared.case.suspects})


def _record(declared: Declared, owner: Owner, suspect: str) -> SequentialRecord:
    case = declared.case
    path, file = record_file(case, owner.name, suspect), case.file("declared.json")
    if path.exists() and b"\n" not in read_bytes(path):
        path.unlink()  # killed while its first line was written
    started = path.with_suffix(".declared")
    if path.exists():
        check_same(file, read_bytes(started).decode().strip(), started.name)
        record = resume(
            path,
            owner.published.manifest,
            owner.published.plan,
            commitment=owner.published.commitment,
            beacon=declared.beacon(owner.name),
        )
        _check_header(declared, owner, suspect, record.lines[0])
        return record
    _files.write_whole(started, digest_of(file).encode() + b"\n")
    return _new_record(declared, owner, suspect, path)


def _new_record(
    declared: Declared, owner: Owner, suspect: str, path: pathlib.Path | None = None
) -> SequentialRecord:
    """Return a record that holds only the header that it has in this case."""
    return SequentialRecord(
        owner.published.commitment,
        owner.published.manifest,
        owner.published.plan,
        beacon=declared.beacon(owner.name),
        path=path,
        about=digest_of(declared.case.file("declared.json")),
        group=_group_of(declared, suspect),
    )


def _group_of(declared: Declared, suspect: str) -> RecordGroup | None:
    """Return the record group in a header; None for a single test at the plan's own level."""
    case, plan = declared.case, declared.case.plan
    highest = level_of_record(plan, len(case.owners), len(case.suspects))
    said = declared.body.get("sequential") or {}
    level = said.get("level")
    is_level = isinstance(level, float) and 0.0 < level <= highest
    if said.get("num_tests") != case.num_tests or not is_level:
        raise ChangedFileError(
            f"{case.file('declared.json')} does not declare a level of at most {highest:g} for "
            f"each of {case.num_tests} tests: declare the audit again in another case folder"
        )
    if case.num_tests == 1 and level == plan.alpha:
        return None
    return RecordGroup(level, suspect, tuple(sorted(case.suspects)))


def _check_header(declared: Declared, owner: Owner, suspect: str, line: str) -> None:
    """Refuse a record that was begun for another owner, suspect or case.

    Raises:
      RecordError: it was.
    """
    if _new_record(declared, owner, suspect).lines[0] == line:
        return
    whose = (_json.loads(line).get("joint") or {}).get("suspect", suspect)
    also = "" if whose == suspect else f" (it has the header of {whose!r})"
    raise RecordError(
        f"{record_file(declared.case, owner.name, suspect)} is not the record of "
        f"{owner.name!r} against {suspect!r} in this case{also}: commitment, beacon, level or "
        "declaration differ"
    )


def judge_record(
    case: Case, mark_keys: dict[str, MarkKey], *, blind: str | None = None
) -> dict[str, Any]:
    """Replay every record of a sequential case and write `verdict.json`; no key is needed.

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
    """Compute the verdict of a sequential case; write nothing. See `judge_record`."""
    basis = CaseBasis(case)
    if mark_keys:
        raise CaseError("a sequential verdict opens no key: leave --key out")
    if not case.has("closed.json"):
        raise CaseError(
            f"{case.file('closed.json')} is not there: the audit is not closed (anw audit)"
        )
    closed = _read_closed(case)
    is_compared = check_blind(case, "closed.json", blind)
    tests: Tests = {}
    for name, owner in case.owners.items():
        bases = {suspect: basis.of(name, suspect, is_compared) for suspect in case.suspects}
        tests[name] = _tests_of(basis.declared, owner, closed["records"][name], bases)
    _check_answers(case, closed)
    end = corrected(case.plan, tests)
    queries = {name: one["num_queries"] for name, one in closed["suspects"].items()}
    body = basis.verdict(
        "sequential", "closed.json", is_compared, restate(tests, end), end, queries
    )
    return {**body, "tests": _without_infinity(body["tests"])}


def _read_closed(case: Case) -> dict[str, Any]:
    """`closed.json`, with a record for each owner and suspect; also of version 1."""
    closed = case.check_link("closed.json", "declared.json")
    single = ("suspect", "record", "head", "because", "num_queries")
    if all(field in closed for field in single) and len(case.owners) == 1:
        (owner,), suspect = case.owners, closed["suspect"]
        record = {field: closed[field] for field in ("record", "head", "because")}
        queries = {name: closed.get(name) for name in ("num_queries", "answers")}
        closed = {"records": {owner: {suspect: record}}, "suspects": {suspect: queries}}
    records = closed.get("records") or {}
    names = {owner: sorted(by_name) for owner, by_name in records.items()}
    suspects = sorted(case.suspects)
    if names != dict.fromkeys(case.owners, suspects) or (
        sorted(closed.get("suspects") or {}) != suspects
    ):
        raise CaseError(
            f"{case.file('closed.json')} is damaged: it does not hold one record for each "
            "owner and suspect"
        )
    return closed


def _check_answers(case: Case, closed: dict[str, Any]) -> None:
    versions = {owner.published.plan.version for owner in case.owners.values()}
    for name, suspect in closed["suspects"].items():
        if versions == {1} and "answers" not in suspect:
            continue  # older files do not name them
        digest = suspect.get("answers", "")
        if digest is not None:  # None: stopped before the first query
            case.check_answers(name, digest, "closed.json")


def _tests_of(
    declared: Declared, owner: Owner, closed: dict[str, dict[str, Any]], bases: dict[str, Basis]
) -> dict[str, dict[str, Any]]:
    """Return the tests of one owner, by suspect."""
    case, public, lines = declared.case, owner.published, {}
    for name in case.suspects:
        check_same(record_file(case, owner.name, name), closed[name]["record"], "closed.json")
        lines[name] = record_lines(case, owner.name, name)
    known = {"commitment": public.commitment, "beacon": declared.beacon(owner.name)}
    if _group_of(declared, next(iter(lines))) is None:
        ((name, record),) = lines.items()
        results = {name: replay(record, public.manifest, public.plan, **known)}
    else:
        results = replay_together(lines, public.manifest, public.plan, **known)
    for name, record in lines.items():
        if _json.loads(record[0]).get("about") != case.digest("declared.json"):
            file = record_file(case, owner.name, name)
            raise ChangedFileError(f"{file} is the record of another declaration")
        _check_header(declared, owner, name, record[0])
    return {
        name: refusals.limited(
            {
                **_test(result, lines[name], bases[name].factor, public, case.num_tests),
                **_standing(lines[name], public, bases[name]),
            },
            closed[name].get("unusable"),
            declared.refusal_limit(name),
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
    # Who stops one record of several by hand may have seen what another suspect's answers say
    # of slots to come: the wealth there is no e-value. The running p holds under any stop.
    was_cut = because in BY_HAND and num_tests > 1
    return {
        **dataclasses.asdict(result),
        "log_wealth": result.log_e_value,
        "log_e_value": -math.inf if was_cut else result.log_e_value,
        "factor": factor,
        "p_text": format_p(result.log10_p),
        "sentence": result.sentence,
        "because": because,
        # An exact test on the units that were left would not be valid, nor would these.
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


def _without_infinity(value: Any) -> Any:
    """Return the tests with null where all was lost: JSON has no infinity."""
    if isinstance(value, dict):
        return {name: _without_infinity(part) for name, part in value.items()}
    return None if value == -math.inf else value
