"""The verdict of a sealed case, the only step that opens keys."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from anw_jax import _json
from anw_jax.audit import references, refusals
from anw_jax.audit.case import REFERENCES, Case, Owner
from anw_jax.audit.checks import check_keys, source_of
from anw_jax.audit.conditions import Basis, CaseBasis, Tests, check_blind, split_controls
from anw_jax.audit.corrections import SHOWN, corrected, restate
from anw_jax.audit.declared import Declared
from anw_jax.audit.seal import read_blind
from anw_jax.keys import AccessRule, Assignment, Manifest, MarkKey, Plan, assign
from anw_jax.stats import format_p, format_p_value, how_many, log_e_from_p, which_units
from anw_jax.verify import LeftOut, Reference, Verdict, decide


def judge_case(
    case: Case, mark_keys: dict[str, MarkKey], *, blind: str | None = None
) -> dict[str, Any]:
    """Open every owner's commitment, make each declared test once, and write `verdict.json`.

    Args:
      case: with sealed tables.
      mark_keys: each owner's key, by name.
      blind: the SHA-256 of `blind.json` as it was noted at the audit, before any key was
        opened; None is a condition of the verdict.

    Returns:
      The verdict: for each owner and suspect result, standing, conditions, sentence, and, where
      it is shown, lower bound and list; and the outcome corrected for all tests of the case.

    Raises:
      CaseError: no sealed tables, keys of other owners, or a suspect that predates its beacon
        value.
      ChangedFileError: a file was changed, or is not the one noted.
      CommitmentError: a key that does not open its commitment, or a commitment that is not the
        one the arbitrator had.
    """
    body = recompute_case(case, mark_keys, blind=blind)
    _json.write(case.file("verdict.json"), body)
    return body


def recompute_case(
    case: Case, mark_keys: dict[str, MarkKey], *, blind: str | None = None
) -> dict[str, Any]:
    """Compute the verdict of a sealed case from its files; write nothing. See `judge_case`."""
    basis = CaseBasis(case)
    declared = basis.declared
    check_keys(case, mark_keys)
    sealed, tables = read_blind(case)
    is_compared = check_blind(case, "blind.json", blind)
    tests: Tests = {owner: {} for owner in case.owners}
    others = {name: references.read(declared, sealed, name) for name in sealed["suspects"]}
    for name, result in sealed["suspects"].items():
        for owner, by_owner in tests.items():
            calibrated_by = references.of_owner(
                declared, basis.statements, sealed, others[name], name, owner
            )
            test = _test(
                declared,
                owner,
                name,
                mark_keys[owner],
                tables[name][owner],
                basis.of(owner, name, is_compared),
                result["owners"][owner]["table"],
                calibrated_by,
                references.left_out_of(declared, basis.statements, name, owner),
            )
            by_owner[name] = refusals.limited(
                test, result["owners"][owner].get("unusable"), declared.refusal_limit(name)
            )
    suspects, controls = split_controls(tests, basis.statements)
    end = corrected(case.plan, suspects)
    suspects = restate(suspects, end)
    _add_units(declared, mark_keys, tables, others, suspects)
    queries = {name: result["num_queries"] for name, result in sealed["suspects"].items()}
    for name, counts in (sealed.get("references") or {}).items():
        queries[f"{REFERENCES}{name}"] = counts["num_queries"]
    verdict = basis.verdict("sealed", "blind.json", is_compared, suspects, end, queries)
    return {**verdict, "controls": controls}


def _test(
    declared: Declared,
    owner: str,
    suspect: str,
    mark_key: MarkKey,
    table: np.ndarray,
    basis: Basis,
    sealed_digest: str,
    calibrated_by: list[Reference],
    left_out: list[LeftOut],
) -> dict[str, Any]:
    published = declared.case.owners[owner].published
    tested = judge_table(
        table,
        mark_key,
        published,
        sealed_digest=sealed_digest,
        beacon=declared.beacon(owner),
        rule=own_rule(published.plan, declared.rule(suspect)),
        statements=basis.statements,
        menu=basis.menu,
        other_conditions=basis.conditions,
        references=calibrated_by,
        left_out=left_out,
    )
    others = references.lines_of_others(declared, suspect, owner)
    stated = [*tested.pop("references", ()), *others, *basis.stated]
    return {**tested, "stated": stated, "how_many": None, "which": None}


class HasCommitment(Protocol):
    """What an owner publishes, before any key is opened."""

    manifest: Manifest
    plan: Plan
    commitment: str


def judge_table(
    table: np.ndarray,
    mark_key: MarkKey,
    owner: HasCommitment,
    *,
    sealed_digest: str,
    beacon: bytes,
    **basis: Any,
) -> dict[str, Any]:
    """Open one owner's key and make the declared test on a sealed table.

    Args:
      table: float32 `[n, num_slots]` nats.
      mark_key: the owner's.
      owner: with manifest, plan and commitment.
      sealed_digest: of the table, from its seal.
      beacon: value of the plan's beacon.
      **basis: of `verify.decide`: `rule`, `statements`, `menu`, `other_conditions`,
        `references`, `left_out`.

    Returns:
      Plain values of the verdict.

    Raises:
      CommitmentError: as `verify.decide`.
    """
    verdict = decide(
        table,
        mark_key,
        owner.manifest,
        owner.plan,
        commitment=owner.commitment,
        sealed_digest=sealed_digest,
        beacon=beacon,
        **basis,
    )
    return _fields(verdict)


def own_rule(plan: Plan, rule: AccessRule) -> AccessRule | None:
    """Return the declared rule with this owner's source of labels, in which owners may differ.

    None under plans of version 1, which have no rules.
    """
    if plan.version == 1:
        return None
    return dataclasses.replace(rule, labels=source_of(plan))


def _fields(verdict: Verdict) -> dict[str, Any]:
    result = verdict.result
    return {
        **dataclasses.asdict(result),
        "p_text": format_p(result.log10_p),
        "log_e_value": log_e_of(result.log10_p, verdict.factor),
        "factor": verdict.factor,
        "standing": verdict.standing,
        "conditions": list(verdict.conditions),
        "sentence": verdict.sentence,
        "num_hits": verdict.num_hits,
        "inferred_slots": verdict.inferred_slots.tolist(),
        "true_slots": verdict.true_slots.tolist(),
        "diagnostics": {
            name: value if math.isfinite(value) else None
            for name, value in verdict.diagnostics.items()
        },
        "table": verdict.table_digest,
        **({"references": list(verdict.references)} if verdict.references else {}),
    }


def log_e_of(log10_p: float, factor: float) -> float:
    """Return the log of the e-value of the uncorrected p, divided by the factor of p."""
    log_p = log10_p * math.log(10.0) - math.log(factor)
    return log_e_from_p(max(math.exp(min(log_p, 0.0)), 5e-324)) - math.log(factor)


def _add_units(
    declared: Declared,
    mark_keys: dict[str, MarkKey],
    tables: dict[str, dict[str, np.ndarray]],
    others: dict[str, references.Tables],
    tests: Tests,
) -> None:
    """Add bounds and lists where the corrected outcome is "shown", and nowhere else."""
    num_tests = sum(map(len, tests.values()))
    for name, by_name in tests.items():
        owner = declared.case.owners[name]
        for suspect, test in by_name.items():
            if test["outcome"] != SHOWN:
                continue
            assignment = assign(
                mark_keys[name],
                owner.published.manifest,
                owner.published.plan,
                beacon=declared.beacon(name),
            )
            rule, factor = declared.rule(suspect), num_tests * test["factor"]
            calibrated_by = [one[name] for one in others[suspect].values() if name in one]
            table = tables[suspect][name]
            test |= units_of(owner, rule, assignment, table, factor, calibrated_by)


def units_of(
    owner: Owner,
    rule: AccessRule,
    assignment: Assignment,
    table: np.ndarray,
    factor: float,
    references: Sequence[np.ndarray] = (),
) -> dict[str, Any]:
    """Compute the lower bound and the list of units of one test that was shown.

    Each rate holds for all owners and suspects of the case together, and for whatever the
    test was chosen from: it is divided by the same factor as the level of the test, as in
    Bonferroni. Otherwise some of many models that were not trained on the photos would
    have a bound or a list by chance. Where nothing is shown neither is stated: otherwise one
    audit of such a model in twenty would have a bound above 0 beside "not shown".

    Args:
      owner: whose units.
      rule: as declared, with levels.
      assignment: the opened slots.
      table: as it was sealed, float32 `[n, N]` nats.
      factor: owners times suspects, times the factor of the test's p (K / B · T · M).
      references: tables of reference models.
    """
    published = owner.published
    table = np.asarray(table, np.float32)
    references = [np.asarray(each, np.float32) for each in references]
    at_least = how_many(
        table,
        assignment,
        alpha=rule.bound_level / factor,
        by=rule.bound_by,
        references=references,
    )
    found: dict[str, Any] = {
        "how_many": {
            "at_least": at_least.num_used,
            "num_units": at_least.num_units,
            "level": at_least.alpha,
            "by": at_least.by,
            "observed": at_least.observed,
            "text": f"{at_least}; {_of_all(at_least.alpha)} state too large a number",
        },
        "which": None,
    }
    if published.manifest.space.num_valid < 2:
        return found
    listed = which_units(
        table,
        assignment,
        q=rule.list_rate / factor,
        statistic=published.plan.statistic_of(rule),
        references=references,
    )
    first_photo = {
        unit: published.manifest.file_names[index]
        for index, unit in reversed(list(enumerate(published.manifest.unit_of_image)))
    }
    found["which"] = {
        "units": listed.units.tolist(),
        "first_photo_of_each": [first_photo[unit] for unit in listed.units.tolist()],
        "rate": listed.q,
        "text": f"{listed}, on average over all such audits",
    }
    return found


def _of_all(level: float) -> str:
    """Return a level in words, rounded up.

    Example:
      >>> _of_all(0.05), _of_all(0.05 / 7)
      ('of all such audits, shown or not, at most 5 %', 'of all such audits, shown or not, at
      most 0.7143 %')
    """
    return f"of all such audits, shown or not, at most {format_p_value(100 * level)} %"
