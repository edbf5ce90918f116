"""Judge the suspects of a case of models: probe, declare, seal the scores, open the keys.

Each step writes one file that names the SHA-256 of the one before. No step but the last takes
a key, and the scores are sealed before it.
"""

import dataclasses
import datetime
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from anw_jax import _files, _json, progress, verify
from anw_jax.audit import checks
from anw_jax.audit.conditions import OVERRIDDEN, RECORDED, Tests, check_blind, split_controls
from anw_jax.audit.corrections import corrected, restate
from anw_jax.audit.declare import beacon_values, check_entries, refuse_declared
from anw_jax.audit.declared import beacon_of
from anw_jax.audit.files import digest_of
from anw_jax.audit.judge import log_e_of
from anw_jax.audit.seal import read_sealed
from anw_jax.audit.stamps import stamps_json, stamps_of
from anw_jax.audit.statements import (
    CaseStatements,
    check_controls,
    check_release,
    read_statements,
)
from anw_jax.errors import CaseError, ChangedFileError
from anw_jax.keys import MarkKey, Plan, check_scheme_commitment, draw_bits
from anw_jax.keys.stamps import Stamp
from anw_jax.schemes.case import FORMATS, ModelCase, ModelOwner, write_statements
from anw_jax.schemes.outputs import Asked, unprobed, with_refusals
from anw_jax.schemes.scheme import TestFn, judge
from anw_jax.stats import format_p
from anw_jax.stats.scores import is_usable
from anw_jax.verify.verdict import is_conditional, verdict_text


def probe_models(case: ModelCase) -> dict[str, Any]:
    """Check that every suspect can be read by every owner's decoder; write `probe.json`.

    It uses no bits, and may be repeated until the audit is declared.

    Returns:
      What was written: for each suspect whether it is fit, and errors and warnings by owner.

    Raises:
      CaseError: declared already, or a file that cannot be read.
    """
    refuse_declared(case)
    reports = {}
    for name, suspect in case.opened.items():
        found = {
            owner: one.published.system.problems(one.decoder, one.own, suspect.model)
            for owner, one in case.owners.items()
        }
        reports[name] = {
            "is_fit": not any(errors for errors, _ in found.values()),
            "owners": {
                owner: {"errors": errors, "warnings": warnings}
                for owner, (errors, warnings) in found.items()
            },
            "file": case.suspects[name].digest,
            "weights": suspect.digest,
            **unprobed(suspect.model),
        }
    body = {"format": FORMATS["probe.json"], "previous": None, "suspects": reports}
    _json.write(case.file("probe.json"), body)
    return body


def declare_models(
    case: ModelCase, values: Mapping[str, bytes], *, despite_probe: bool = False
) -> dict[str, Any]:
    """Fix owners, suspects and beacons in `declared.json`; nothing may change afterwards.

    Args:
      case: with owners, suspects, and a probe.
      values: of the owners' beacons, by owner.
      despite_probe: continue although the probe found errors, or was not made.

    Returns:
      What was written.

    Raises:
      CaseError: declared already, no probe or one that found errors, owners that cannot share
        a case, a beacon's value that does not fit, or a suspect that is older than it.
    """
    refuse_declared(case)
    checks.check_probe(case, despite_probe)
    statements = read_statements(case)
    checks.check_plans(case, statements.controls)
    check_release(case, statements)
    beacons = beacon_values(case, values)
    _check_probed(case, despite_probe)
    write_statements(case)
    body = {
        "format": FORMATS["declared.json"],
        "previous": case.digest("probe.json"),
        "time_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "owners": {name: _owner(owner) for name, owner in case.owners.items()},
        "suspects": _suspects(case),
        "beacons": beacons,
        "despite_probe": despite_probe,
        "controls": statements.controls,
    }
    _json.write(case.file("declared.json"), body)
    return body


def seal_models(
    case: ModelCase, on_progress: progress.ProgressFn = progress.silent
) -> dict[str, Any]:
    """Read every owner's scores from every suspect, and seal them in `blind.json`.

    No key is needed, and the reader has no argument that one could come through. May be killed
    at any moment: a suspect that is asked is asked on from the answers on disk.

    Args:
      case: declared.
      on_progress: called with (suspects read, suspects in all).

    Returns:
      What was written; what was written before, if it is there.

    Raises:
      CaseError: not declared, or a suspect that cannot be read.
      SuspectError: a suspect that is asked does not answer; what it answered is kept.
      ChangedFileError: a file was changed since the declaration.
    """
    check_unchanged(case)
    if case.has("blind.json"):
        return read_sealed(case, case.scores_file, "scores")[0]
    results = {}
    for place, name in enumerate(case.suspects):
        on_progress(place, len(case.suspects))
        scores = {
            owner: verify.sealing.sealed_form(case.read_scores(owner, name))
            for owner in case.owners
        }
        _files.write_npz(case.scores_file(name), scores)
        results[name] = {
            "file": digest_of(case.scores_file(name)),
            "owners": {
                owner: {
                    "table": verify.seal(row),
                    "num_scores": len(row),
                    "num_unusable": int((~is_usable(row.astype(float))).sum()),
                }
                for owner, row in scores.items()
            },
        }
        if isinstance(model := case.opened[name].model, Asked):
            results[name] |= model.sealed()
            for owner, one in case.owners.items():
                results[name]["owners"][owner] |= model.refusals(one.own.queries)
    on_progress(len(case.suspects), len(case.suspects))
    body = {
        "format": FORMATS["blind.json"],
        "previous": case.digest("declared.json"),
        "suspects": results,
    }
    _json.write(case.file("blind.json"), body)
    return body


def judge_models(
    case: ModelCase, mark_keys: Mapping[str, MarkKey], *, blind: str | None = None
) -> dict[str, Any]:
    """Open every owner's commitment, make each test once, and write `verdict.json`.

    Args:
      case: with sealed scores.
      mark_keys: the one key of each owner, by name; it is spent by this.
      blind: the SHA-256 of `blind.json` as it was noted at the audit; None is a condition.

    Returns:
      What was written: results by owner and suspect, corrected for all tests of the case.

    Raises:
      CaseError: no sealed scores, keys of other owners, fewer commitments stated than found, or
        a time stamp that is not valid.
      ChangedFileError: a file was changed, or is not the one noted.
      CommitmentError: a key that does not open its commitment.
    """
    body = recompute_models(case, mark_keys, blind=blind)
    _json.write(case.file("verdict.json"), body)
    return body


def recompute_models(
    case: ModelCase, mark_keys: Mapping[str, MarkKey], *, blind: str | None = None
) -> dict[str, Any]:
    """Compute the verdict from the files of a case; write nothing. See `judge_models`."""
    declared, statements = check_unchanged(case), read_statements(case)
    check_controls(statements, declared)
    check_release(case, statements)
    checks.check_keys(case, mark_keys)
    stamps = stamps_of(case)
    sealed, scores = read_sealed(case, case.scores_file, "scores")
    for name, result in sealed["suspects"].items():
        if "declaration" in declared["suspects"][name]:
            case.check_answers(name, result.get("answers", ""), "blind.json")
    is_compared = check_blind(case, "blind.json", blind)
    values = {name: beacon_of(declared, name) for name in case.owners}
    for name, owner in case.owners.items():  # before the first test: nothing half-made
        _check_opens(owner, mark_keys[name], values[name], statements.owners[name]["found"])
    conditions = [] if is_compared else [verify.verdict.NOT_COMPARED]
    num_tests = len(case.owners) * (len(case.suspects) - len(statements.controls))
    tests: Tests = {name: {} for name in case.owners}
    for suspect, result in sealed["suspects"].items():
        open_ones = [*conditions, *_of_probe(case, declared, suspect)]
        for name, owner in case.owners.items():
            said = dataclasses.replace(statements.of(name, suspect), stamps=stamps[name])
            found = judge(
                scores[suspect][name],
                mark_keys[name],
                owner.decoder,
                owner.published.plan,
                commitment=owner.published.commitment,
                sealed_digest=result["owners"][name]["table"],
                beacon=values[name],
                statements=said,
                other_conditions=open_ones,
                test_fn=_test_fn(owner, said.factor * num_tests),
            )
            test = _test(found, statements.suspects[suspect])
            tests[name][suspect] = with_refusals(test, result["owners"][name])
    return {
        "format": FORMATS["verdict.json"],
        "previous": case.digest("blind.json"),
        "mode": "sealed",
        **_outcomes(case.plan, tests, statements),
        "case": _circumstances(case, declared, statements, stamps),
        "blind_compared": is_compared,
    }


def _check_opens(owner: ModelOwner, mark_key: MarkKey, value: bytes, found: int) -> None:
    """Refuse a key or a value other than the committed ones, and a number below the log's."""
    published = owner.published
    check_scheme_commitment(published.commitment, mark_key, published.plan)
    draw_bits(mark_key, published.plan, 1, beacon=value)
    least = published.system.least_found(owner.own)
    if 0 < found < least:
        raise CaseError(
            f"owners.{owner.name}.found must be at least {least}, the number of SETUPs in the "
            f"log, got {found}"
        )


def check_unchanged(case: ModelCase) -> dict[str, Any]:
    """Compare owners, suspects and probe with `declared.json`, and return it.

    Raises:
      CaseError: nothing is declared yet.
      ChangedFileError: something was changed, added or removed since.
    """
    file = case.file("declared.json")
    if not case.has("declared.json"):
        raise CaseError(f"{file} is not there: declare the audit first (anw declare)")
    declared = case.check_link("declared.json", "probe.json")
    owners = {name: _owner(owner) for name, owner in case.owners.items()}
    check_entries(case, declared, {"owners": owners, "suspects": _suspects(case)})
    return declared


def _check_probed(case: ModelCase, despite_probe: bool) -> None:
    reports = {} if despite_probe else case.read("probe.json")["suspects"]
    for name, model in case.opened.items():
        if name in reports and reports[name]["weights"] != model.digest:
            raise ChangedFileError(
                f"the weights of suspect {name!r} were changed since the probe: probe again"
            )


def _owner(owner: ModelOwner) -> dict[str, Any]:
    published = owner.published
    return {
        "commitment": published.commitment,
        "plan": published.plan.as_json(),
        "mark": owner.digest,
        **published.system.fixed(owner.own),
    }


def _suspects(case: ModelCase) -> dict[str, Any]:
    found = {}
    for name, file in case.suspects.items():
        one = case.opened[name]
        found[name] = {"file": file.digest, "weights": one.digest}
        if isinstance(one.model, Asked):
            found[name]["declaration"] = _json.loads(
                _json.dumps(one.model.declaration.as_json())
            )
    return found


def _of_probe(case: ModelCase, declared: dict[str, Any], suspect: str) -> list[str]:
    if declared["despite_probe"] or not case.has("probe.json"):
        return [OVERRIDDEN]
    report = case.read("probe.json")["suspects"].get(suspect, {})
    is_same = report.get("weights") == declared["suspects"][suspect]["weights"]
    if not (is_same and report["is_fit"]):
        return [OVERRIDDEN]
    return [RECORDED] if "unprobed" in report else []


def _test_fn(owner: ModelOwner, factor: float) -> TestFn | None:
    trace_fn = owner.published.system.trace
    if trace_fn is None:
        return None
    given = (owner.decoder, owner.own, owner.published.plan)
    return functools.partial(trace_fn, *given, factor=factor)


def _test(found: Any, said: dict[str, Any]) -> dict[str, Any]:
    released = []
    if said["released"]:
        source = f", from {said['released_from']}" if said["released_from"] else ""
        released = [f"the suspect was released on {said['released']}{source}"]
    stated = (*found.stated, *verify.statements.prefix_statements(released))
    return {
        **dataclasses.asdict(found.result),
        "p_text": format_p(found.result.log10_p),
        "log_e_value": log_e_of(found.result.log10_p, found.factor),
        "factor": found.factor,
        "standing": found.standing,
        "conditions": list(found.conditions),
        "sentence": found.sentence,
        "stated": list(stated),
        **found.fields,
    }


def _outcomes(plan: Plan, tests: Tests, statements: CaseStatements) -> dict[str, Any]:
    """Return the tests as they stand after the correction for all, and those of controls."""
    suspects, controls = split_controls(tests, statements)
    _accuse_nobody(controls)
    end = corrected(plan, suspects)
    suspects = restate(suspects, end)
    for by_name in suspects.values():
        for test in by_name.values():
            test["text"] = _text(test, end["level"])
    return {"tests": suspects, "controls": controls, "corrected": end}


def _accuse_nobody(controls: Tests) -> None:
    """Take out of the tests of controls, in place, which customers they would name."""
    for by_name in controls.values():
        for test in by_name.values():
            if "copies" in test:
                del test["sentence"]
            for row in test.get("copies", ()):
                del row["is_named"]


def _text(test: dict[str, Any], level: float | None) -> str:
    text = verdict_text(
        test["outcome"],
        test["alpha"] if level is None else level,
        test["sentence"],
        test["standing"],
        test["conditions"] if is_conditional(test["standing"]) else (),
        test["stated"],
    )
    first = test.get("not_excluded")
    return f"{first}\n{text}" if first and test["outcome"] == "shown" else text


def _circumstances(
    case: ModelCase,
    declared: dict[str, Any],
    statements: CaseStatements,
    stamps: Mapping[str, Sequence[Stamp]],
) -> dict[str, Any]:
    return {
        "declared_sha256": case.digest("declared.json"),
        "blind_sha256": case.digest("blind.json"),
        "statements_sha256": statements.digest,
        "despite_probe": declared["despite_probe"],
        "owners": {
            name: {
                "commitment": owner.published.commitment,
                "number": owner.published.plan.number,
                "system": owner.published.plan.mark.partition(":")[0],
                "beacon": owner.published.plan.beacon,
                "beacon_value": declared["beacons"].get(name, ""),
                "stated": statements.owners[name],
                **stamps_json(stamps[name]),
            }
            for name, owner in case.owners.items()
        },
        "suspects": {
            name: {"weights": said["weights"], "stated": statements.suspects[name]}
            for name, said in declared["suspects"].items()
        },
    }
