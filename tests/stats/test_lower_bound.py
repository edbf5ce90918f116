"""How many: the bound covers, and bounds from near lies do not."""

import decimal
import functools
import itertools
import math

import numpy as np
import pytest
import scipy.stats

from anw_jax import stats
from anw_jax.keys import AccessRule
from anw_jax.stats.bounds import (
    LowerBound,
    lower_bound_by_hits,
    lower_bound_by_ranks,
    slot_ranks,
)


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.5])
def test_hits_against_the_naive_inversion(alpha):
    for num_units in (1, 4, 9):
        for hits in range(num_units + 1):
            naive = next(
                m
                for m in range(num_units + 1)
                if sum(
                    math.comb(num_units - m, k) * 10 ** (num_units - m - k)
                    for k in range(max(0, hits - m), num_units - m + 1)
                )
                > alpha * 11 ** (num_units - m)
            )
            assert lower_bound_by_hits(hits, num_units, 11, alpha) == naive


@pytest.mark.parametrize("alpha", [0.05, 0.3])
def test_ranks_against_enumeration(alpha):
    num_units, num_valid = 4, 3
    for total in range(num_units, num_units * num_valid + 1):
        for m in range(num_units + 1):
            draws = itertools.product(range(1, num_valid + 1), repeat=num_units - m)
            sums = np.array([m * num_valid + sum(draw) for draw in draws])
            if (sums >= total).mean() > alpha:
                break
        assert lower_bound_by_ranks(total, num_units, num_valid, alpha) == m


_bound_by_ranks = functools.cache(lower_bound_by_ranks)


def coverage(rng, num_units, share, by, d, num_runs, *, p0=None):
    """How often the bound is at most the true number of units used."""
    num_used = round(share * num_units)
    good = 0
    for _ in range(num_runs):
        slots = rng.integers(1, 12, num_units)
        losses = rng.normal(size=(num_units, 11))
        losses[np.arange(num_used), slots[:num_used] - 1] -= d
        if by == "hits":
            hits = int((stats.blind_argmin(losses) == slots).sum())
            bound = lower_bound_by_hits(hits, num_units, p0 or 11, 0.05)
        else:
            total = int(slot_ranks(losses, slots).sum())
            bound = _bound_by_ranks(total, num_units, 11, 0.05)
        good += bound <= num_used
    return good / num_runs


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.75, 1.0])
@pytest.mark.parametrize(("by", "num_runs"), [("hits", 400), ("ranks", 50)])
def test_coverage(by, num_runs, share, rng):
    # d = 9: every used unit hits, the case in which the bound is tightest
    least = scipy.stats.binom.ppf(0.001, num_runs, 0.95) / num_runs
    assert coverage(rng, 20, share, by, 9.0, num_runs) >= least


def test_luck_counted_as_one_in_thirty_is_seen(rng):
    assert coverage(rng, 40, 0.25, "hits", 9.0, 300, p0=30) < 0.9


def test_how_many_on_tables(plain_assignment, rng):
    slots = rng.integers(1, 12, 30)
    table = rng.exponential(size=(30, 12))
    table[np.arange(30), slots] = 0.0
    for by in stats.INVERSIONS:
        bound = stats.how_many(table, plain_assignment(slots), by=by)
        assert 26 <= bound.num_used <= 30
        assert f"at least {bound.num_used} of 30 units (confidence 0.95, by {by})" in str(bound)
    table[:10] = np.nan  # never hits, worst rank
    assert stats.how_many(table, plain_assignment(slots), by="hits").observed == 20
    by_default = stats.how_many(table, plain_assignment(slots))
    assert by_default.by == AccessRule("logits").bound_by  # one default, in library and plans
    assert (by_default.by, by_default.observed) == ("ranks", 20 * 11 + 10)


def test_ranks_are_uniform_under_h0_whatever_the_ties(rng):
    losses = rng.integers(0, 3, (5, 11)).astype(float)
    for row in losses:
        ranks = [int(slot_ranks(row[None], np.array([slot]))[0]) for slot in range(1, 12)]
        assert sorted(ranks) == list(range(1, 12))


def test_bad_input(plain_assignment):
    with pytest.raises(ValueError, match="by must be one of hits, ranks; got 'rank'; did you"):
        stats.how_many(np.ones((1, 12)), plain_assignment([1]), by="rank")
    with pytest.raises(ValueError, match="alpha must lie strictly between"):
        stats.how_many(np.ones((1, 12)), plain_assignment([1]), alpha=0.0)


@pytest.mark.parametrize("alpha", [0.5, 0.05, 0.0500004, 0.05 / 3, 1e-3, 3.3e-9, 1e-15])
def test_the_confidence_in_words_is_never_above_the_one_computed(alpha):
    bound = LowerBound(3, 10, alpha, "hits", 5)
    said = decimal.Decimal(str(bound).split("confidence ")[1].split(",")[0])
    assert said < 1
    assert 0 <= (1 - decimal.Decimal(alpha)) - said + decimal.Decimal("1e-17") < alpha


def test_a_tail_of_exactly_alpha_is_not_counted_against_luck():
    """Of 11 slots one hit has probability 1/11; rounding decides nothing."""
    assert lower_bound_by_hits(1, 1, 11, 1 / 11) == 0
    assert lower_bound_by_hits(1, 1, 11, 1 / 10.999) == 1
