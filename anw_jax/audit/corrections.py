"""Multiple-testing corrections over the owners and suspects of a case."""

import math
from typing import Any

import numpy as np

from anw_jax.keys import Plan
from anw_jax.stats import bonferroni, e_bh, log_e_from_p, mean_of_e_values

_OUT_OF_REACH = "even a perfect match would not be shown after the correction"
SHOWN, NOT_SHOWN, INCONCLUSIVE = "shown", "not shown", "inconclusive"


def corrected(plan: Plan, tests: dict[str, dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Apply the correction that the owners' plans declare, and one over owners.

    With S suspects and O owners: "one model" tests each owner at α / O; "each model" tests each
    pair at α / (S · O) (Bonferroni); "any model" tests each owner's mean of e-values at α / O;
    "list of models" lists pairs by e-BH over all S · O of them with q = α. A case with one
    owner and one suspect needs no correction.

    Args:
      plan: of any owner: claim and level are the same for all.
      tests: by owner, by suspect: "p_value", "log_e_value", "outcome".

    Returns:
      "claim", "correction", "outcome", "reason" (why it is inconclusive), "named" (owner and
      suspect, or owner alone for "any model"), "out_of_reach" (pairs that would not be named
      even if every test matched perfectly), "num_tests", "level" (of each single test, if there
      is one).

    Example:
      >>> one = {"p_value": 0.02, "log_e_value": 1.0, "outcome": "shown"}
      >>> corrected(Plan("losses", 0.05), {"ann": {"net": one}})["outcome"]
      'shown'
      >>> other = {"p_value": 0.9, "log_e_value": -1.0, "outcome": "not shown"}
      >>> two = {"ann": {"net": one}, "bob": {"net": other}}
      >>> corrected(Plan("losses", 0.03), two)["level"]
      0.015
    """
    pairs = [(owner, name) for owner, by_name in tests.items() for name in by_name]
    results = [tests[owner][name] for owner, name in pairs]
    rule = {"any model": _any_model, "list of models": _list}.get(plan.claim, _each)
    if len(pairs) == 1:  # all claims are the same then
        rule = _each
    body = rule(plan.alpha, tests, pairs, results)
    best = {
        owner: {name: _best(test) for name, test in by_name.items()}
        for owner, by_name in tests.items()
    }
    reachable = rule(plan.alpha, best, pairs, [best[owner][name] for owner, name in pairs])
    # If even perfect matches would name no one, the outcome is inconclusive.
    could_name = reachable["named"]
    everybody = [[owner] for owner in tests] if rule is _any_model else map(list, pairs)
    outcome = SHOWN if body["named"] else NOT_SHOWN if could_name else INCONCLUSIVE
    refused = ""
    if outcome != SHOWN:  # "not shown" would hide that a suspect refused too much
        refused = "; ".join(
            test["reason"] if len(pairs) == 1 else f"{' against '.join(pair)}: {test['reason']}"
            for pair, test in zip(pairs, results, strict=True)
            if test.get("refused_too_many")
        )
        outcome = INCONCLUSIVE if refused else outcome
    return {
        "claim": plan.claim,
        "num_tests": len(pairs),
        "outcome": outcome,
        "reason": refused or (_OUT_OF_REACH if outcome == INCONCLUSIVE else ""),
        **body,
        "out_of_reach": [one for one in everybody if one not in could_name],
    }


def _best(test: dict[str, Any]) -> dict[str, Any]:
    """Return the test with the p of a perfect match; an inconclusive test as it is."""
    if test["outcome"] == INCONCLUSIVE:
        return test
    # The outcome of a record says already what it could not reach.
    log_p = max(test.get("smallest_log10_p", -math.inf), -300.0) * math.log(10.0)
    return {**test, "p_value": math.exp(log_p), "log_e_value": log_e_from_p(math.exp(log_p))}


def level_of_record(
    plan: Plan, num_owners: int, num_suspects: int, factor: float = 1.0
) -> float:
    """Compute the level at which one sequential record may stop, whatever the others reach.

    With S suspects and O owners it is α / (S · O) for every claim. Bonferroni ("one model",
    "each model") tests at that level. For "any model" a wealth of S · O / α makes the mean over
    S at least O / α by itself; for "list of models" it is the threshold of the first place in
    e-BH over S · O. Until its level a record continues, since an e-value of any size counts.

    Example:
      >>> level_of_record(Plan("losses", 0.05, mode="sequential"), 2, 1)
      0.025
    """
    return plan.alpha / (num_owners * num_suspects * factor)


def uses_e_values(claim: str) -> bool:
    """Return whether the correction of a claim uses e-values instead of running p-values."""
    return claim in ("any model", "list of models")


def restate(
    tests: dict[str, dict[str, dict[str, Any]]], end: dict[str, Any]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Give the tests their outcomes after the correction.

    The outcome before it is "outcome_uncorrected". Under "any model" no single model is named:
    the outcome of each test is "not claimed".
    """
    if end["num_tests"] == 1:
        return tests
    restated: dict[str, dict[str, dict[str, Any]]] = {}
    for owner, by_name in tests.items():
        restated[owner] = {}
        for name, test in by_name.items():
            outcome, reason = SHOWN if [owner, name] in end["named"] else NOT_SHOWN, ""
            if end["claim"] == "any model":
                outcome = "not claimed"
                reason = _OUT_OF_REACH if [owner] in end["out_of_reach"] else ""
            elif outcome != SHOWN and [owner, name] in end["out_of_reach"]:
                outcome, reason = INCONCLUSIVE, _OUT_OF_REACH
            restated[owner][name] = {
                **test,
                "outcome": outcome,
                "reason": test.get("reason") or reason,
                "outcome_uncorrected": test["outcome"],
            }
            if "sentence" in test:  # its p is that of one test, and must not be read alone
                restated[owner][name]["sentence"] = (
                    f"{test['sentence']} This is one of {end['num_tests']} tests of the case; "
                    f"corrected for all of them: {outcome}."
                )
    return restated


def _each(alpha, tests, pairs, results) -> dict[str, Any]:
    shown = bonferroni([result["p_value"] for result in results], alpha)
    is_one = len(pairs) == 1
    return {
        "correction": "one test, nothing to correct"
        if is_one
        else f"Bonferroni over {len(pairs)} tests",
        "level": alpha / len(pairs),
        "named": _named(pairs, results, shown),
    }


def _any_model(alpha, tests, pairs, results) -> dict[str, Any]:
    named = []
    p_values = {}
    for owner, by_name in tests.items():
        logs = [result["log_e_value"] for result in by_name.values()]
        p_values[owner] = mean_of_e_values(logs)[1] if max(logs) > -math.inf else 1.0
        if p_values[owner] <= alpha / len(tests):
            named.append([owner])
    over = f", Bonferroni over {len(tests)} owners" if len(tests) > 1 else ""
    return {
        "correction": f"mean of e-values over the models of each owner{over}",
        "level": alpha / len(tests),
        "named": named,
        "p_values": p_values,
    }


def _list(alpha, tests, pairs, results) -> dict[str, Any]:
    shown = e_bh([result["log_e_value"] for result in results], alpha)
    return {
        "correction": f"e-BH over {len(pairs)} tests: share of false names ≤ {alpha:g}",
        "level": None,
        "named": _named(pairs, results, shown),
    }


def _named(pairs, results, shown: np.ndarray) -> list[list[str]]:
    return [
        list(pair)
        for pair, result, is_shown in zip(pairs, results, shown, strict=True)
        if is_shown and result["outcome"] != INCONCLUSIVE
    ]
