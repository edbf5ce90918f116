"""The verdict of a sealed case: the one step that opens keys."""

import dataclasses
import math
from typing import Any

import numpy as np

from anw_jax.audit import refusals
from anw_jax.audit.case import FORMATS, Case, Owner
from anw_jax.audit.corrections import corrected, restate
from anw_jax.audit.declaring import check_unchanged
from anw_jax.audit.files import write_json
from anw_jax.audit.sealing import read_blind
from anw_jax.audit.standing import qualified
from anw_jax.errors import CaseError
from anw_jax.keys import MarkKey, assign
from anw_jax.stats import how_many, log_e_from_p, which_units
from anw_jax.stats.testing import format_p
from anw_jax.verify import Verdict, decide


def judge_case(case: Case, mark_keys: dict[str, MarkKey]) -> dict[str, Any]:
    """Opens every owner's commitment, makes each declared test once, writes `verdict.json`.

    Args:
      case: with sealed tables.
      mark_keys: each owner's key, by name.

    Returns:
      The verdict: for each owner and suspect result, standing, sentence, lower bound, list;
      and the outcome corrected for all tests of the case.

    Raises:
      CaseError: no sealed tables, a file that was changed, or keys of other owners.
      CommitmentError: a key that does not open its commitment.
    """
    declared = check_unchanged(case)
    _check_names(case, mark_keys)
    blind, tables = read_blind(case)
    tests = {
        owner: {
            name: refusals.limited(
                _test(
                    declared,
                    case.owners[owner],
                    mark_keys[owner],
                    tables[name][owner],
                    blind["suspects"][name]["owners"][owner],
                ),
                blind["suspects"][name]["owners"][owner].get("unusable"),
                declared.get("refusal_limit"),
            )
            for name in blind["suspects"]
        }
        for owner in case.owners
    }
    end = corrected(_plan_of(case), tests)
    body = {
        "format": FORMATS["verdict.json"],
        "previous": case.digest("blind.json"),
        "mode": "sealed",
        "tests": restate(tests, end),
        "corrected": end,
        "queries": {n: r["num_queries"] for n, r in blind["suspects"].items()},
    }
    write_json(case.file("verdict.json"), body)
    return body


def _plan_of(case: Case):
    return next(iter(case.owners.values())).published.plan


def _check_names(case: Case, mark_keys: dict[str, MarkKey]) -> None:
    if sorted(mark_keys) != sorted(case.owners):
        raise CaseError(
            f"give the key of each owner ({', '.join(case.owners)}) and of no other; got "
            f"{', '.join(sorted(mark_keys)) or 'none'}"
        )


def _test(
    declared: dict[str, Any],
    owner: Owner,
    mark_key: MarkKey,
    table: np.ndarray,
    blind: dict[str, Any],
) -> dict[str, Any]:
    published = owner.published
    beacon = bytes.fromhex(declared["beacons"].get(owner.name, ""))
    verdict = decide(
        table,
        mark_key,
        published.manifest,
        published.plan,
        commitment=published.commitment,
        sealed_digest=blind["table"],
        beacon=beacon,
    )
    return {
        **_stated(verdict),
        "standing": qualified(verdict.standing, declared, owner.name),
        "how_many": None,
        "which": None,
        **_units(declared, owner, mark_key, table, beacon),
    }


def _stated(verdict: Verdict) -> dict[str, Any]:
    result = verdict.result
    return {
        **dataclasses.asdict(result),
        "p_text": format_p(result.log10_p),
        "log_e_value": log_e_from_p(max(result.p_value, 5e-324)),
        "sentence": verdict.sentence,
        "num_hits": verdict.num_hits,
        "inferred_slots": verdict.inferred_slots.tolist(),
        "true_slots": verdict.true_slots.tolist(),
        "diagnostics": {
            name: value if math.isfinite(value) else None
            for name, value in verdict.diagnostics.items()
        },
        "table": verdict.table_digest,
    }


def _units(
    declared: dict[str, Any], owner: Owner, mark_key: MarkKey, table: np.ndarray, beacon: bytes
) -> dict[str, Any]:
    """How many units, and which, with the error rates declared.

    Each rate holds for all owners and suspects of the case together: divided by their number,
    as Bonferroni. Of a hundred innocent models some would else have a bound or a list.
    """
    published = owner.published
    num_tests = len(declared["owners"]) * len(declared["suspects"])
    assignment = assign(mark_key, published.manifest, beacon=beacon)
    bound, num_valid = declared["bound"], published.manifest.space.num_valid
    # The very numbers that were sealed.
    table = np.asarray(table, np.float32)
    at_least = how_many(table, assignment, alpha=bound["level"] / num_tests, by=bound["by"])
    units = {
        "how_many": {
            "at_least": at_least.num_used,
            "num_units": at_least.num_units,
            "level": at_least.alpha,
            "by": at_least.by,
            "observed": at_least.observed,
            "text": str(at_least),
        }
    }
    if num_valid < 2:
        return units
    rate, statistic = declared["list_rate"] / num_tests, published.plan.statistic
    listed = which_units(table, assignment, q=rate, statistic=statistic)
    first_photo = {
        unit: published.manifest.file_names[index]
        for index, unit in reversed(list(enumerate(published.manifest.unit_of_image)))
    }
    units["which"] = {
        "units": listed.units.tolist(),
        "first_photo_of_each": [first_photo[unit] for unit in listed.units.tolist()],
        "rate": listed.q,
        "text": str(listed),
    }
    return units
