import math

import numpy as np
import pytest

from anw_jax.audit import corrected
from anw_jax.audit.corrections import restate
from anw_jax.keys import Plan
from anw_jax.stats import log_e_from_p


def results_of(p_values):
    """Tests with given p-values, [owners][suspects]."""
    return {
        f"owner{i}": {
            f"net{j}": {
                "p_value": p,
                "log_e_value": log_e_from_p(p),
                "outcome": "shown" if p <= 0.05 else "not shown",
            }
            for j, p in enumerate(row)
        }
        for i, row in enumerate(p_values)
    }


def end_of(claim, p_values, alpha=0.05):
    return corrected(Plan("losses", alpha, claim=claim), results_of(p_values))


def test_one_test_is_corrected_by_nothing():
    end = end_of("one model", [[0.05]])
    assert end["outcome"] == "shown"
    assert end["correction"] == "one test, nothing to correct"
    assert end_of("one model", [[0.051]])["outcome"] == "not shown"


def test_each_model_is_bonferroni_over_all_pairs():
    assert end_of("each model", [[0.0125, 0.9], [0.013, 0.9]])["named"] == [["owner0", "net0"]]


def test_several_owners_of_one_model_are_corrected_too():
    assert end_of("one model", [[0.03], [0.9]])["outcome"] == "not shown"
    assert end_of("one model", [[0.025], [0.9]])["named"] == [["owner0", "net0"]]


def test_any_model_is_the_mean_of_e_values_of_each_owner():
    p_values = [[1e-5, 0.5, 0.7]]
    mean = np.mean([0.5 * p**-0.5 for p in p_values[0]])
    end = end_of("any model", p_values)
    assert math.isclose(end["p_values"]["owner0"], 1 / mean, rel_tol=1e-9)
    assert end["outcome"] == ("shown" if 1 / mean <= 0.05 else "not shown")
    two = end_of("any model", [[1e-5, 0.5, 0.7], [0.5, 0.5, 0.5]])
    assert two["level"] == 0.025
    assert two["outcome"] == ("shown" if 1 / mean <= 0.025 else "not shown")


def test_a_list_is_e_bh_over_all_pairs():
    # e = .5 p^-.5: 158, 158, < 1, < 1; e-BH at q = .05 wants 4 / (.05 k).
    end = end_of("list of models", [[1e-5, 0.5], [1e-5, 0.5]])
    assert end["named"] == [["owner0", "net0"], ["owner1", "net0"]]
    assert end_of("list of models", [[2e-4, 0.5], [0.5, 0.5]])["named"] == []


def test_nothing_is_called_shown_that_the_correction_takes_back():
    tests = results_of([[0.03, 0.9]])
    end = corrected(Plan("losses", 0.05, claim="each model"), tests)
    first = restate(tests, end)["owner0"]["net0"]
    assert (first["outcome"], first["outcome_uncorrected"]) == ("not shown", "shown")
    end = corrected(Plan("losses", 0.05, claim="any model"), tests)
    assert restate(tests, end)["owner0"]["net0"]["outcome"] == "not claimed"


@pytest.mark.parametrize("claim", ["any model", "list of models"])
def test_one_test_is_one_test_whatever_is_claimed(claim):
    """Else the verdict would say "shown" of the test and "not shown" of the case."""
    tests = results_of([[0.04]])
    end = corrected(Plan("losses", 0.05, claim=claim), tests)
    assert end["outcome"] == restate(tests, end)["owner0"]["net0"]["outcome"] == "shown"


def test_no_sentence_of_one_test_among_several_is_read_alone():
    tests = results_of([[0.03, 0.9]])
    for test in tests["owner0"].values():
        test["sentence"] = "At most p."
    end = corrected(Plan("losses", 0.05, claim="each model"), tests)
    assert restate(tests, end)["owner0"]["net0"]["sentence"] == (
        "At most p. This is one of 2 tests of the case; corrected for all of them: not shown."
    )


def test_where_no_test_was_possible_nobody_is_named():
    tests = results_of([[0.9]])
    tests["owner0"]["net0"]["outcome"] = "inconclusive"
    assert corrected(Plan("losses", 0.05), tests)["outcome"] == "inconclusive"


def with_smallest(tests, log10_p):
    for by_name in tests.values():
        for test in by_name.values():
            test["smallest_log10_p"] = log10_p
    return tests


@pytest.mark.parametrize("claim", ["each model", "list of models"])
def test_a_level_out_of_reach_after_the_correction_is_inconclusive(claim):
    """Two tests at .05: a smallest p of .04 could show one alone, never one of two."""
    plan = Plan("losses", 0.05, claim=claim)
    tests = with_smallest(results_of([[0.9, 0.04]]), math.log10(0.04))
    end = corrected(plan, tests)
    assert end["outcome"] == "inconclusive"
    assert end["out_of_reach"] == [["owner0", "net0"], ["owner0", "net1"]]
    first = restate(tests, end)["owner0"]["net0"]
    assert (first["outcome"], first["outcome_uncorrected"]) == ("inconclusive", "not shown")
    assert first["reason"] == "even a perfect match would not be shown after the correction"
    near = corrected(plan, with_smallest(results_of([[0.9, 0.9]]), -9))
    assert near["outcome"] == "not shown"
    assert near["out_of_reach"] == []


def test_the_mean_of_e_values_may_be_out_of_reach_too():
    # e = .5 p^-.5 must be 20 for .05: p = 1/1600.
    plan = Plan("losses", 0.05, claim="any model")
    near = with_smallest(results_of([[0.9, 0.9]]), math.log10(1 / 1590))
    assert corrected(plan, near)["outcome"] == "inconclusive"
    end = corrected(plan, near)
    assert end["out_of_reach"] == [["owner0"]]
    reason = "even a perfect match would not be shown after the correction"
    assert end["reason"] == restate(near, end)["owner0"]["net0"]["reason"] == reason
    enough = with_smallest(results_of([[0.9, 0.9]]), math.log10(1 / 1610))
    assert corrected(plan, enough)["outcome"] == "not shown"


def test_one_test_out_of_reach_leaves_the_other_decided():
    tests = results_of([[0.9, 0.9]])
    tests["owner0"]["net0"]["smallest_log10_p"] = math.log10(0.04)
    end = corrected(Plan("losses", 0.05, claim="each model"), tests)
    assert end["outcome"] == "not shown"
    assert end["out_of_reach"] == [["owner0", "net0"]]


@pytest.mark.slow
@pytest.mark.parametrize("claim", ["one model", "each model", "any model", "list of models"])
def test_innocent_models_are_named_at_most_as_often_as_declared(claim, rng):
    """Uniform p's, fully dependent and independent; a near lie without correction fails."""
    num_runs, alpha, shape = 1500, 0.05, (2, 1 if claim == "one model" else 3)
    plan = Plan("losses", alpha, claim=claim)
    named, uncorrected = 0, 0
    for _ in range(num_runs):
        p_values = rng.uniform(1e-9, 1, shape)
        named += corrected(plan, results_of(p_values))["outcome"] == "shown"
        uncorrected += (p_values <= alpha).any()
    most = alpha * num_runs + 4 * math.sqrt(alpha * num_runs)
    assert named <= most < uncorrected
