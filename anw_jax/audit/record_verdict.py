"""The verdict of a sequential case: every record replayed line by line, then one correction."""

import dataclasses
import json
import math
from typing import Any

from anw_jax.audit import refusals
from anw_jax.audit.case import FORMATS, Case, Owner
from anw_jax.audit.corrections import corrected, restate
from anw_jax.audit.declaring import check_unchanged
from anw_jax.audit.files import check_same, read_bytes, write_json
from anw_jax.audit.records import beacon_of, check_header, record_file
from anw_jax.audit.standing import qualified
from anw_jax.errors import CaseError, ChangedFileError
from anw_jax.keys import MarkKey, Plan
from anw_jax.stats import SequentialResult
from anw_jax.stats.testing import format_p
from anw_jax.verify import replay, replay_together
from anw_jax.verify.sequential import BY_HAND
from anw_jax.verify.verdict import EVIDENCE, EVIDENCE_WITH_BEACON, EXPERIMENT_KEY


def judge_record(case: Case, mark_keys: dict[str, MarkKey]) -> dict[str, Any]:
    """The verdict of a sequential case: all records replayed line by line; no key is needed.

    Returns:
      The verdict: for each owner and suspect the result at its own stop, "log_wealth" there
      and "log_e_value", which is -inf (null in the file) where all was lost, or where one
      record of several was stopped by hand; and the outcome corrected for all tests.

    Raises:
      CaseError: the audit is not closed, a file was changed, or a key was given.
      RecordError, CommitmentError: a record breaks its own rules, or does not fit the others.
    """
    declared = check_unchanged(case)
    if mark_keys:
        raise CaseError("a sequential verdict opens no key: leave --key out")
    if not case.has("closed.json"):
        raise CaseError(
            f"{case.file('closed.json')} is not there: the audit is not closed (anw audit)"
        )
    closed = _read_closed(case)
    _check_names(case, closed)
    tests = {
        name: _tests_of(case, declared, owner, closed["records"][name])
        for name, owner in case.owners.items()
    }
    end = corrected(next(iter(case.owners.values())).published.plan, tests)
    body = {
        "format": FORMATS["verdict.json"],
        "previous": case.digest("closed.json"),
        "mode": "sequential",
        "tests": _as_json(restate(tests, end)),
        "corrected": end,
        "queries": {name: s["num_queries"] for name, s in closed["suspects"].items()},
    }
    write_json(case.file("verdict.json"), body)
    return body


def _read_closed(case: Case) -> dict[str, Any]:
    """`closed.json`; one of a single test, as it was written before there were several."""
    closed = case.check_link("closed.json", "declared.json")
    if "records" in closed:
        return closed
    (owner,) = case.owners
    suspect = closed["suspect"]
    one = {field: closed[field] for field in ("record", "head", "because")}
    return {
        "records": {owner: {suspect: one}},
        "suspects": {suspect: {"num_queries": closed["num_queries"]}},
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


def _tests_of(
    case: Case, declared: dict[str, Any], owner: Owner, closed: dict[str, dict[str, str]]
) -> dict[str, dict[str, Any]]:
    """The tests of one owner, by suspect."""
    lines = {}
    for name in case.suspects:
        file = record_file(case, owner.name, name)
        check_same(file, closed[name]["record"], "closed.json")
        lines[name] = read_bytes(file).decode("utf-8", "replace").splitlines()
    public = owner.published
    known = {"commitment": public.commitment, "beacon": beacon_of(declared, owner)}
    is_one_test = len(case.owners) * len(case.suspects) == 1
    if is_one_test:
        ((name, record),) = lines.items()
        results = {name: replay(record, public.manifest, public.plan, **known)}
    else:
        results = replay_together(lines, public.manifest, public.plan, **known)
    for name, record in lines.items():
        if json.loads(record[0]).get("about") != case.digest("declared.json"):
            file = record_file(case, owner.name, name)
            raise ChangedFileError(f"{file} is the record of another declaration")
        check_header(case, declared, owner, name, record[0])
    return {
        name: refusals.limited(
            {
                **_test(result, lines[name], is_one_test),
                "standing": qualified(
                    _evidence(lines[name], public.plan), declared, owner.name
                ),
            },
            closed[name].get("unusable"),
            declared.get("refusal_limit"),
        )
        for name, result in results.items()
    }


def _test(result: SequentialResult, lines: list[str], is_one_test: bool) -> dict[str, Any]:
    because = json.loads(lines[-1])["because"]
    # Who stops one of several by hand may have seen what another suspect's answers say of
    # slots to come: the wealth there is no e-value. The running p holds under any stop.
    was_cut = because in BY_HAND and not is_one_test
    return {
        **dataclasses.asdict(result),
        "log_wealth": result.log_e_value,
        "log_e_value": -math.inf if was_cut else result.log_e_value,
        "p_text": format_p(result.log10_p),
        "sentence": result.sentence,
        "because": because,
        # An exact test on what a stop left over would not hold, nor would these.
        "how_many": None,
        "which": None,
    }


def _evidence(lines: list[str], plan: Plan) -> str:
    leaves = [body for body in map(json.loads, lines) if body["kind"] == "leaf"]
    if any(leaf["opening"]["origin"] == "experiment" for leaf in leaves):
        return EXPERIMENT_KEY
    return EVIDENCE_WITH_BEACON if plan.beacon else EVIDENCE


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
