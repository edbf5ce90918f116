"""The default bet: a mixture that learns, in one pass or unit by unit."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax import stats
from anw_jax.stats import betting


def _naive_log_wealth(rows, slots):
    """Twin: each component's wealth by loops, then their prior mean."""
    total = []
    for strength, share, prior in zip(*betting.components(), strict=True):
        wealth, spreads, path = 1.0, [], []
        for row, slot in zip(rows.tolist(), slots.tolist(), strict=True):
            mean = sum(row) / len(row)
            if max(row) > min(row):
                spreads.append(sum((value - mean) ** 2 for value in row) / len(row))
            scale = math.sqrt(sum(spreads) / len(spreads)) if spreads else 1.0
            weights = [math.exp(strength * (value - mean) / scale) for value in row]
            soft = weights[slot - 1] / sum(weights)
            wealth *= (1 - share) + share * soft * len(row)
            path.append(prior * wealth)
        total.append(path)
    return np.log(np.sum(total, axis=0))


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 15), st.integers(2, 12))
def test_one_pass_is_unit_by_unit_is_the_naive_twin(seed, num_units, num_valid):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(num_units, num_valid))
    rows[rng.random(num_units) < 0.3] = 2.0  # constant rows
    slots = rng.integers(1, num_valid + 1, num_units)
    bettor, wealth, steps = stats.MixtureBettor(num_valid), 0.0, []
    for row, slot in zip(rows, slots, strict=True):
        bet = bettor.bet(row)
        assert (bet > 0).all()
        assert bet.sum() == pytest.approx(1, abs=1e-12)
        wealth += math.log(num_valid * bet[slot - 1])
        steps.append(wealth)
        bettor.settle(int(slot))
    at_once = stats.mixture_log_wealth(rows, slots)
    np.testing.assert_allclose(at_once, steps, atol=1e-10)
    np.testing.assert_allclose(at_once, _naive_log_wealth(rows, slots), atol=1e-10)
    assert at_once.min() >= math.log(0.03) - 1e-12  # the component that does not bet


def test_many_keys_on_one_table(rng):
    rows, slots = rng.normal(size=(7, 11)), rng.integers(1, 12, (5, 7))
    many = stats.mixture_log_wealth(rows, slots)
    for number in range(5):
        np.testing.assert_allclose(many[number], stats.mixture_log_wealth(rows, slots[number]))


def test_a_bets_mean_over_slots_is_one_for_every_component(rng):
    bets = betting.component_bets(rng.normal(size=(4, 11)) * 100)
    np.testing.assert_allclose(bets.sum(axis=-1), 1.0, atol=1e-12)
    assert (bets >= 0).all()


def test_edges():
    bettor = stats.MixtureBettor(3)
    np.testing.assert_allclose(bettor.bet([5.0, 5.0, 5.0]), 1 / 3)
    bettor.settle(1)
    huge = bettor.bet([1e30, -1e30, 0.0])
    assert np.isfinite(huge).all()
    bettor.settle(2)


def test_a_bet_is_scale_free_and_follows_the_slots(rng):
    rows, slots = rng.normal(size=(9, 11)), rng.integers(1, 12, 9)
    first = stats.mixture_log_wealth(rows, slots)
    np.testing.assert_allclose(
        stats.mixture_log_wealth(rows * 1e6 + 3, slots), first, atol=1e-6
    )
    order = rng.permutation(11)
    place = np.argsort(order)
    moved = stats.mixture_log_wealth(rows[:, order], place[slots - 1] + 1)
    np.testing.assert_allclose(moved, first, atol=1e-10)


def test_order_of_calls_and_bad_rows_are_refused():
    with pytest.raises(ValueError, match="num_valid must be at least 2, got 1"):
        stats.MixtureBettor(1)
    bettor = stats.MixtureBettor(3)
    with pytest.raises(ValueError, match="there is no bet to settle"):
        bettor.settle(1)
    for row in ([1.0, 2.0], [1.0, 2.0, np.nan]):
        with pytest.raises(ValueError, match="scores must be 3 finite numbers"):
            bettor.bet(row)
    bettor.bet([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="must be settled before the next bet"):
        bettor.bet([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="slot must be at most 3, got 4"):
        bettor.settle(4)


def test_it_comes_within_15_percent_of_the_ideal_on_coin_flips(rng):
    won = rng.random((300, 160)) < 0.8
    scores = np.stack([won, ~won], axis=-1).astype(float)
    wealth = stats.mixture_log_wealth(scores, np.ones(won.shape, np.int64))
    after = np.where((wealth >= math.log(1e6)).any(1), (wealth >= math.log(1e6)).argmax(1), 999)
    ideal = math.log(1e6) / (0.8 * math.log(1.6) + 0.2 * math.log(0.4))
    assert np.median(after + 1) <= 1.15 * ideal


def test_eleven_slots_need_less_than_a_third_of_the_published_pairs(rng):
    scores = rng.normal(size=(300, 60, 11))
    scores[..., 0] += math.sqrt(2) * scipy.stats.norm.ppf(0.8)
    wealth = stats.mixture_log_wealth(scores, np.ones((300, 60), np.int64))
    reached = wealth >= math.log(1e6)
    after = np.where(reached.any(1), reached.argmax(1) + 1, 999)
    assert np.median(after) <= 113 / 3


def test_score_row_is_score_units_row_by_row(rng, plain_assignment):
    table = rng.exponential(size=(6, 12))
    table[2, 5] = np.nan
    table[3, 7] = np.inf
    for statistic in stats.ROW_STATISTICS:
        whole = stats.score_units(table, plain_assignment([1, 2, 3, 4, 5, 6]).units, statistic)
        rows = [stats.score_row(row[1:], statistic) for row in table]
        np.testing.assert_array_equal(rows, whole)
    with pytest.raises(ValueError, match="statistic must be one of log_losses, losses, ranks"):
        stats.score_row(table[0], "centred")
    with pytest.raises(ValueError, match="losses must be a non-empty vector"):
        stats.score_row(table)
