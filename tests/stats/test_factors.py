"""What a selection costs: p multiplied, wealth divided, never rounded in favour of a claim."""

import fractions
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax import stats
from anw_jax.stats.testing import TestResult, decide_outcome

LN10 = math.log(10.0)


def exact_result(log10_p: float, smallest: float, alpha: float) -> TestResult:
    outcome, reason = decide_outcome(log10_p * LN10, smallest * LN10, alpha)
    return TestResult(
        "losses", 10.0**log10_p, log10_p, alpha, outcome, reason, 9, 0, smallest, 3.0
    )


def sequential(log_wealths, alpha: float, num_units: int) -> stats.SequentialResult:
    wealth = stats.EProcess(11)
    for value in log_wealths:
        wealth.log_wealth = value
        wealth.largest_log_wealth = max(wealth.largest_log_wealth, value)
        wealth.num_steps += 1
    return stats.sequential_result(wealth, statistic="losses", alpha=alpha, num_units=num_units)


# --- Naive twin: exact fractions. ---


@pytest.mark.parametrize("factor", [1, 1.5, 2, 7, 60, 1e6])
@pytest.mark.parametrize("p", [1e-30, 3e-9, 1e-6, 0.04, 0.5, 1.0])
def test_p_is_that_of_the_naive_twin_and_not_below(p, factor):
    result = stats.multiplied(exact_result(math.log10(p), -40.0, 0.01), factor)
    true = min(fractions.Fraction(1), fractions.Fraction(p) * fractions.Fraction(factor))
    assert result.p_value == pytest.approx(float(true), rel=1e-12)
    assert fractions.Fraction(result.p_value) >= true * (1 - fractions.Fraction(1, 2**50))
    assert result.outcome == ("shown" if true <= 0.01 else "not shown")
    assert result.smallest_log10_p == pytest.approx(-40 + math.log10(factor), abs=1e-9)


@pytest.mark.parametrize("num_units", range(1, 8))
def test_a_whole_test_of_tiny_tables(num_units, plain_assignment, exact_log_tail):
    """p · factor by enumeration, from the same integers."""
    rng = np.random.default_rng(num_units)
    table = rng.integers(0, 4, (num_units, 12)).astype(float)
    assignment = plain_assignment(rng.integers(1, 12, num_units))
    result = stats.exact_test(table, assignment, statistic="losses", alpha=0.3)
    integers = stats.quantise(stats.score_units(table, assignment.units, "losses"))
    observed = integers[np.arange(num_units), assignment.slot_of_unit - 1].sum()
    true = math.exp(exact_log_tail(integers, int(observed)))
    for factor in (1.5, 3, 11):
        found = stats.multiplied(result, factor)
        assert found.p_value == pytest.approx(min(1.0, true * factor), rel=1e-9)
        assert found.p_value >= min(1.0, true * factor) * (1 - 1e-13)


# --- Properties. ---


LOGS = st.floats(-300, 0)
FACTORS = st.one_of(st.integers(1, 10**6).map(float), st.floats(1, 1e12))


@settings(derandomize=True, deadline=None, max_examples=150)
@given(LOGS, LOGS, FACTORS, FACTORS, st.floats(1e-300, 0.99))
def test_p_grows_with_the_factor_and_shown_never_comes_back(first, second, one, two, alpha):
    log10_p, smallest = max(first, second), min(first, second)
    before = exact_result(log10_p, smallest, alpha)
    less, more = sorted([one, two])
    small, large = (stats.multiplied(before, factor) for factor in (less, more))
    assert before.log10_p <= small.log10_p <= large.log10_p <= 0
    assert before.smallest_log10_p <= small.smallest_log10_p <= large.smallest_log10_p <= 0
    assert small.smallest_log10_p <= small.log10_p
    assert 0 < small.p_value <= large.p_value <= 1
    assert large.log10_p >= min(0.0, log10_p + math.log10(more)) * (1 + 1e-15)
    order = ["shown", "not shown", "inconclusive"]
    ranks = [order.index(result.outcome) for result in (before, small, large)]
    assert ranks == sorted(ranks)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(LOGS, FACTORS, FACTORS)
def test_two_factors_are_one(log10_p, one, two):
    result = exact_result(log10_p, -500.0, 0.01)
    twice = stats.multiplied(stats.multiplied(result, one), two)
    assert twice.log10_p == pytest.approx(
        stats.multiplied(result, one * two).log10_p, abs=1e-10
    )


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    st.lists(st.floats(-30, 60), min_size=1, max_size=12),
    FACTORS,
    FACTORS,
    st.floats(1e-12, 0.99),
    st.integers(30, 40),  # 30 units can be worth 11^30, more than the wealths above
)
def test_wealth_shrinks_with_the_factor(logs, one, two, alpha, num_units):
    before = sequential(logs, alpha, num_units)
    less, more = sorted([one, two])
    small, large = (stats.divided(before, factor, 11) for factor in (less, more))
    assert before.p_value <= small.p_value <= large.p_value <= 1
    assert before.log10_p <= small.log10_p <= large.log10_p <= 0
    assert before.log_e_value >= small.log_e_value >= large.log_e_value
    true = before.log_e_value - math.log(more)
    assert large.log_e_value == pytest.approx(true, abs=1e-10)
    assert large.log_e_value <= true + 1e-15 * abs(true)
    true = min(0.0, before.log10_p + math.log10(more))
    assert large.log10_p == pytest.approx(true, abs=1e-10)
    assert large.log10_p >= true * (1 + 1e-15)
    if more > 1 + 1e-9:
        shown = large.log10_p * LN10 <= math.log(alpha) - 1e-9
        assert shown <= (large.outcome == "shown")
        assert (large.outcome == "shown") <= (before.outcome == "shown")


# --- Edges. ---


def test_a_factor_of_one_changes_nothing():
    result = exact_result(-7.0, -12.0, 1e-6)
    assert stats.multiplied(result, 1) is result
    stopped = sequential([1.0, 16.0], 1e-6, 9)
    assert stats.divided(stopped, 1.0, 11) is stopped


@pytest.mark.parametrize(
    ("factor", "error", "message"),
    [
        (0.5, ValueError, "factor must be at least 1, got 0.5"),
        (0, ValueError, "factor must be at least 1, got 0.0"),
        (-3, ValueError, "factor must be at least 1, got -3.0"),
        (math.nan, ValueError, "factor must be finite, got nan"),
        (math.inf, ValueError, "factor must be finite, got inf"),
        ("2", TypeError, "factor must be a number, got '2'"),
        (True, TypeError, "factor must be a number, got True"),
    ],
)
def test_bad_factors(factor, error, message):
    with pytest.raises(error, match=message):
        stats.multiplied(exact_result(-7.0, -12.0, 1e-6), factor)
    with pytest.raises(error, match=message):
        stats.divided(sequential([1.0], 1e-6, 9), factor, 11)


@pytest.mark.parametrize(
    ("log10_p", "smallest", "factor", "outcome", "reason"),
    [
        (-8.0, -12.0, 10, "shown", ""),
        (-6.5, -12.0, 10, "not shown", ""),
        (
            -6.5,
            -6.5,
            10,
            "inconclusive",
            "units can give, times 10, is 3.2e-6, above the level",
        ),
        (
            -1.0,
            -6.5,
            10,
            "inconclusive",
            "units can give, times 10, is 3.2e-6, above the level",
        ),
        (-1.0, -6.5, 1e7, "inconclusive", "units can give, times 1e+07, is 1, above the level"),
        (0.0, 0.0, 10, "inconclusive", "no test possible: no unit's answers tell its slots"),
    ],
)
def test_outcomes(log10_p, smallest, factor, outcome, reason):
    result = stats.multiplied(exact_result(log10_p, smallest, 1e-6), factor)
    assert result.outcome == outcome
    assert reason in result.reason
    assert bool(result.reason) == (outcome == "inconclusive")


def test_at_the_level_itself_rounding_goes_against_the_claim():
    """10 · 1e-7 is 1e-6 on paper; a p that is a hair above the level is not shown."""
    assert stats.multiplied(exact_result(-7.0, -40.0, 1e-6), 10).outcome == "not shown"
    just_above = math.nextafter(1e-6, 1) * (1 + 1e-13)
    assert stats.multiplied(exact_result(-7.0, -40.0, just_above), 10).outcome == "shown"


@pytest.mark.parametrize(
    ("logs", "alpha", "num_units", "factor", "outcome"),
    [
        ([2.0, 16.0], 1e-6, 9, 5, "shown"),
        ([2.0, 16.0], 1e-6, 9, 20, "not shown"),
        ([2.0, 16.0, -3.0], 1e-6, 9, 5, "shown"),
        ([2.0, -math.inf], 1e-6, 9, 20, "not shown"),
        ([14.3], 1e-6, 6, 2, "inconclusive"),
        ([0.0], 1e-6, 9, 1e9, "inconclusive"),
    ],
)
def test_sequential_outcomes(logs, alpha, num_units, factor, outcome):
    result = stats.divided(sequential(logs, alpha, num_units), factor, 11)
    assert result.outcome == outcome
    if outcome == "inconclusive":
        assert f"units can give, times {factor:g}, is " in result.reason
        assert result.sentence.startswith("The test is inconclusive: the smallest p these")


def test_a_lost_wealth_stays_lost():
    result = stats.divided(sequential([5.0, -math.inf], 0.01, 9), 3, 11)
    assert result.log_e_value == -math.inf
    assert result.log10_p == pytest.approx((math.log(3) - 5.0) / LN10)


# --- The selection that the factor pays for. ---


def test_the_best_of_k_is_valid_after_the_factor_and_not_before(rng, plain_assignment):
    table, num_tried = rng.normal(size=(12, 12)), 8
    drawn = (plain_assignment(rng.integers(1, 12, 12)) for _ in range(400 * num_tried))
    p_values = stats.fresh_p_values(table, drawn).reshape(400, num_tried).min(axis=1)
    best = [exact_result(math.log10(p), -12.0, 0.05) for p in p_values]
    before = np.mean([result.outcome == "shown" for result in best])
    after = np.mean([stats.multiplied(r, num_tried).outcome == "shown" for r in best])
    assert before > 0.25
    assert after <= 0.05 + 3.1 * math.sqrt(0.05 * 0.95 / 400)
