"""Wealth, running p and e-value; false alarms under the worst stopping rule."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from anw_jax import stats
from anw_jax.stats.exact import quantise

ALPHAS = (0.05, 0.01, 0.001)


def _alarms_allowed(num_runs: int, alpha: float) -> int:
    return int(scipy.stats.binom.ppf(0.999, num_runs, alpha))


def test_wealth_is_the_product_and_p_its_largest_inverse(rng):
    wealth, product, largest = stats.EProcess(11), 1.0, 1.0
    for _ in range(40):
        bet, slot = rng.dirichlet(np.ones(11)), int(rng.integers(1, 12))
        wealth.multiply(bet, slot)
        product *= 11 * bet[slot - 1]
        largest = max(largest, product)
        assert wealth.e_value == pytest.approx(product, rel=1e-10)
        assert wealth.e_value <= product * (1 + 1e-15)  # rounding never makes evidence
        assert wealth.p_value == pytest.approx(min(1, 1 / largest), rel=1e-10)
    assert wealth.num_steps == 40


def test_the_e_value_is_the_wealth_at_the_stop_and_p_stays():
    wealth = stats.EProcess(2)
    wealth.multiply([1.0, 0.0], 1)
    wealth.multiply([1.0, 0.0], 2)
    assert wealth.e_value == 0.0
    assert wealth.p_value == pytest.approx(0.5)
    wealth.multiply([0.5, 0.5], 1)
    assert wealth.e_value == 0.0
    assert not wealth.can_reach(0.05, 1000)


def test_forfeit_loses_the_stake_and_keeps_p():
    wealth = stats.EProcess(11)
    wealth.multiply(np.eye(11)[0], 1)
    wealth.forfeit()
    assert (wealth.e_value, wealth.num_steps) == (0.0, 2)
    assert wealth.p_value == pytest.approx(1 / 11)


@pytest.mark.parametrize(
    ("bet", "slot", "message"),
    [
        ([0.5, 0.6], 1, "bet must sum to 1, got 1.1"),
        ([0.5, 0.49], 1, "bet must sum to 1, got 0.99"),
        ([1.5, -0.5], 1, "bet must be at least 0 on every slot, got -0.5"),
        ([np.nan, 1.0], 1, "bet must be at least 0 on every slot, got nan"),
        ([1.0], 1, r"bet must have shape \(2,\), got \(1,\)"),
        ([0.5, 0.5], 3, "slot must be at most 2, got 3"),
        ([0.5, 0.5], 0, "slot must be at least 1, got 0"),
    ],
)
def test_bad_bets_are_refused(bet, slot, message):
    with pytest.raises(ValueError, match=message):
        stats.EProcess(2).multiply(bet, slot)


def test_reaching_is_judged_by_the_best_that_can_still_come():
    wealth = stats.EProcess(11)
    assert wealth.can_reach(11.0**-3, 3)
    assert not wealth.can_reach(11.0**-3, 2)
    for _ in range(3):
        wealth.multiply(np.eye(11)[0], 1)
    assert wealth.has_reached(1e-3)
    assert wealth.can_reach(1e-3, 0)


def test_results_name_their_outcome():
    short = stats.sequential_result(
        stats.EProcess(11), statistic="losses", alpha=1e-6, num_units=3
    )
    assert short.outcome == "inconclusive"
    assert short.reason == (
        "the smallest p these units can give is 7.6e-4, above the level 1e-06"
    )
    assert "inconclusive: the smallest" in short.sentence
    wealth = stats.EProcess(11)
    for _ in range(6):
        wealth.multiply(np.eye(11)[0], 1)
    shown = stats.sequential_result(wealth, statistic="losses", alpha=1e-6, num_units=10)
    assert shown.outcome == "shown"
    assert str(shown) == (
        "shown at level 1e-06 (running p = 5.7e-7, e-value 10^6.2, 6 of 10 units, "
        "statistic 'losses')"
    )
    plain = stats.sequential_result(
        stats.EProcess(11), statistic="losses", alpha=1e-6, num_units=10
    )
    assert plain.outcome == "not shown"


@pytest.mark.parametrize("name", ["smooth_hue", "all_ties", "one_dominating", "nan_rows"])
def test_every_key_the_default_bets_largest_wealth_is_a_p_value(name, innocent_table):
    """All 3^5 slots: #{1 / largest wealth ≤ t} / 3^5 ≤ t at every attained t, and E[e] = 1."""
    table = innocent_table(name, 5, 4)[:, 1:]
    scores = np.array([stats.score_row(row) for row in table])
    slots = np.array(list(itertools.product([1, 2, 3], repeat=5)))
    wealth = stats.mixture_log_wealth(scores, slots)
    assert np.exp(wealth[:, -1]).mean() == pytest.approx(1, abs=1e-12)
    p_values = np.sort(np.minimum(1, np.exp(-wealth.max(axis=1))))
    shares = np.searchsorted(p_values, p_values * (1 + 1e-12), side="right") / len(p_values)
    assert (shares <= p_values * (1 + 1e-9)).all()


@pytest.mark.parametrize(
    "name", ["real", "smooth_hue", "all_ties", "one_dominating", "correlated_rows", "nan_rows"]
)
def test_false_alarms_under_the_worst_stopping_rule(name, innocent_table, rng):
    table = innocent_table(name, 20)[:, 1:]
    scores = np.array([stats.score_row(row) for row in table])
    wealth = stats.mixture_log_wealth(scores, rng.integers(1, 12, (5_000, len(table))))
    for alpha in ALPHAS:
        alarms = (wealth.max(axis=1) >= -math.log(alpha)).sum()
        assert alarms <= _alarms_allowed(5_000, alpha)


def _bold_alarms(alpha, num_runs, rng, *, factor=11.0):
    """Stakes on slot 1 just what reaches 1 / alpha, and the rest evenly elsewhere."""
    wealth, reached = np.ones(num_runs), np.zeros(num_runs, bool)
    for _ in range(100):
        staked = np.minimum(1.0, 1 / (factor * alpha * np.maximum(wealth, 1e-300)))
        lucky = rng.integers(1, 12, num_runs) == 1
        wealth = wealth * np.where(lucky, factor * staked, factor * (1 - staked) / 10)
        reached |= wealth >= (1 - 1e-9) / alpha
    return int(reached.sum())


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_bold_play_comes_near_alpha_and_twelve_for_eleven_is_seen(alpha, rng):
    assert 0.6 * 20_000 * alpha < _bold_alarms(alpha, 20_000, rng)
    assert _bold_alarms(alpha, 20_000, rng) <= _alarms_allowed(20_000, alpha)
    assert _bold_alarms(alpha, 20_000, rng, factor=12.0) > _alarms_allowed(20_000, alpha)


def test_bets_that_saw_the_slot_are_seen(rng, innocent_table):
    """Near lie: the row's scores are shifted a little after a look at the slot."""
    scores = innocent_table("smooth_hue", 20)[:, 1:]
    slots = rng.integers(1, 12, (2_000, 20))
    peeked = np.broadcast_to(scores, (2_000, 20, 11)).copy()
    own = np.take_along_axis(peeked, slots[..., None] - 1, 2)
    np.put_along_axis(peeked, slots[..., None] - 1, own + 0.7 * scores.std(), 2)
    alarms = (stats.mixture_log_wealth(peeked, slots).max(axis=1) >= math.log(20)).sum()
    assert alarms > _alarms_allowed(2_000, 0.05)


def test_an_exact_test_after_each_unit_is_no_test(rng, innocent_table):
    """Near lie: stop at the best of many fixed-sample p-values."""
    scores = -innocent_table("correlated_rows", 25)[:, 1:]
    slots = rng.integers(0, 11, (400, 25))
    best = np.ones(400)
    for count in range(2, 26):
        integers = quantise(scores[:count])
        sums = integers[np.arange(count), slots[:, :count]].sum(axis=1)
        best = np.minimum(best, stats.ExactNull(integers).survival[sums])
    assert (best <= 0.05).sum() > _alarms_allowed(400, 0.05)


def test_an_e_value_in_words_is_never_more_than_it_is():
    wealth = stats.EProcess(11)
    wealth.log_wealth = wealth.largest_log_wealth = 2.97 * math.log(10)
    said = str(stats.sequential_result(wealth, statistic="losses", alpha=0.01, num_units=9))
    assert "e-value 10^2.9," in said
    wealth.forfeit()
    said = str(stats.sequential_result(wealth, statistic="losses", alpha=0.01, num_units=9))
    assert "e-value 10^-inf," in said
