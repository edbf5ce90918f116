"""The published coin-flip audit against its figures and naive twins."""

import math

import numpy as np
import pytest
import scipy.stats

from anw_jax.baselines.coin_flip import CoinFlipAudit, win_threshold

# Median pairs to decision as auditing notes of this project list them, 5,000 pairs.
MEDIANS = {
    (0.6, 0.05): 418,
    (0.7, 0.05): 79,
    (0.8, 0.05): 34,
    (0.9, 0.05): 14,
    (0.6, 1e-6): 2_191,
    (0.7, 1e-6): 315,
    (0.8, 1e-6): 113,
    (0.9, 1e-6): 55,
}


@pytest.mark.parametrize(
    ("num_pairs", "level", "threshold"),
    [(5_000, 0.025, 2_638), (25, 0.025, 24), (25, 5e-4, None), (50, 5e-7, None)],
)
def test_thresholds_of_the_notes(num_pairs, level, threshold):
    assert win_threshold(num_pairs, level) == threshold


@pytest.mark.parametrize("num_pairs", [10, 33, 200])
def test_the_bound_is_above_the_binomial_tail(num_pairs):
    for level in (0.3, 0.025, 1e-3):
        threshold = win_threshold(num_pairs, level)
        if threshold is not None:
            assert scipy.stats.binom.sf(threshold - 1, num_pairs, 0.5) <= level


def _naive_decided(wins, num_pairs, p):
    """Twin: the lower limit of the confidence sequence, total by total, pair by pair."""
    threshold = win_threshold(num_pairs, p / 2)
    for asked in range(1, len(wins) + 1):
        won = int(sum(wins[:asked]))
        prior = 1 / (num_pairs + 1)
        likelihood = [
            math.comb(total, won) * math.comb(num_pairs - total, asked - won)
            for total in range(num_pairs + 1)
        ]
        evidence = sum(likelihood)
        # prior / posterior = prior · evidence / (prior · likelihood) with a uniform prior
        inside = [
            total
            for total in range(num_pairs + 1)
            if likelihood[total] and evidence * prior / likelihood[total] < 2 / p
        ]
        if inside and min(inside) >= threshold:
            return asked
    return num_pairs + 1


@pytest.mark.parametrize(("num_pairs", "p"), [(30, 0.1), (40, 0.05), (60, 0.01)])
@pytest.mark.parametrize("chance", [0.6, 0.8, 1.0])
def test_decisions_are_the_naive_ones(num_pairs, p, chance, rng):
    audit = CoinFlipAudit(num_pairs, p)
    for _ in range(5):
        wins = rng.random(num_pairs) < chance
        assert audit.decided_after(wins) == _naive_decided(wins, num_pairs, p)


@pytest.mark.parametrize("level", [0.05, 1e-6])
def test_medians_are_those_of_the_notes(level, rng):
    audit = CoinFlipAudit(5_000, level)
    for chance in (0.6, 0.7, 0.8, 0.9):
        length = min(5_000, 6 * MEDIANS[chance, level] + 100)
        after = audit.decided_after(rng.random((600, length)) < chance)
        assert np.median(after) == pytest.approx(MEDIANS[chance, level], rel=0.2)


def test_false_alarms_are_far_below_the_level(rng):
    """The notes: 2 of 2,000 null runs at 0.05 with 1,000 pairs."""
    after = CoinFlipAudit(1_000, 0.05).decided_after(rng.random((2_000, 1_000)) < 0.5)
    assert (after <= 1_000).sum() <= 8


def test_edges():
    never = CoinFlipAudit(25, 1e-3)
    assert never.threshold is None
    assert never.decided_after(np.ones(25, bool)) == 26
    audit = CoinFlipAudit(100, 0.05)
    batch = np.stack([np.ones(100, bool), np.zeros(100, bool)])
    assert audit.decided_after(batch).tolist() == [17, 101]
    with pytest.raises(ValueError, match="wins must hold 1 to 100 pairs in the last axis"):
        audit.decided_after(np.ones(101, bool))
    with pytest.raises(ValueError, match="num_pairs must be at least 1, got 0"):
        CoinFlipAudit(0, 0.05)
    with pytest.raises(ValueError, match="p must lie strictly between"):
        CoinFlipAudit(10, 0.0)
