"""`tools/replay.py` computes the same p as `stats`, by another route."""

import math
import types

import numpy as np
import pytest

from anw_jax import keys, stats
from anw_jax.stats.exact import ExactNull, quantise
from tests.cli.bundling import verifier

VERIFIER = verifier()


def drawn(rng, num_units, num_slots, kind):
    """A table with a unit of each image, or albums with copies; and slots."""
    size = num_units if kind == "images" else 3 * num_units
    unit = np.arange(size) % num_units
    is_copy = np.zeros(size, bool)
    if kind == "albums":
        is_copy[num_units : num_units + num_units // 2] = True
    units = keys.Units(unit, keys.SignatureSpace(num_slots), "per_group", is_copy)
    table = rng.exponential(1.0, (size, num_slots)).astype(np.float32)
    slots = rng.integers(1, num_slots, num_units)
    for row, slot in enumerate(slots[unit]):
        table[row, slot] *= rng.choice([0.02, 0.5, 1.0])
    return table, units, slots


def spoilt(table, rng):
    """Ties, absurd and missing answers."""
    table = table.copy()
    table[0] = 1.0
    table[1::4] = np.round(table[1::4], 1)
    table[2 % len(table), 3] = np.nan
    table[3 % len(table), 1] = 1e29
    table[4 % len(table), 2] = np.inf
    return table


@pytest.mark.parametrize("statistic", stats.STATISTICS)
@pytest.mark.parametrize("kind", ["images", "albums"])
@pytest.mark.parametrize("num_units", [1, 2, 7, 60, pytest.param(400, marks=pytest.mark.slow)])
def test_the_same_p(statistic, kind, num_units):
    rng = np.random.default_rng(num_units)
    for number in range(4 if num_units < 400 else 2):
        table, units, slots = drawn(rng, num_units, [12, 12, 4, 30][number], kind)
        table = spoilt(table, rng) if number else table
        assignment = keys.Assignment(units, slots)
        expected = stats.exact_test(table, assignment, statistic=statistic, alpha=0.05)
        owner = types.SimpleNamespace(
            unit=units.unit_of_image, is_copy=units.is_copy, units=[b""] * num_units
        )
        scores = VERIFIER.scores_of(table, owner, statistic)
        known = stats.score_units(table, units, statistic)
        np.testing.assert_allclose(_shares(scores), _shares(known), rtol=0, atol=1e-12)
        log10_p = VERIFIER.log_p_of(scores, slots) / math.log(10)
        # `exact_test` adds its bound on rounding errors, which grows with the units.
        most = 2e-9 if num_units <= 60 else 1e-8
        assert -1e-10 <= expected.log10_p - log10_p <= most
        assert stats.format_p(log10_p) == stats.format_p(expected.log10_p)


def _shares(scores):
    """Each row from its smallest entry, as a share of the largest sum."""
    shifted = scores - scores.min(1, keepdims=True)
    return shifted / max(shifted.max(1).sum(), 1e-300)


@pytest.mark.parametrize("num_units", [1, 3, 50, 300])
def test_the_best_and_the_worst_outcome(num_units):
    scores = np.random.default_rng(0).normal(size=(num_units, 11))
    best, worst = scores.argmax(axis=1) + 1, scores.argmin(axis=1) + 1
    assert VERIFIER.log_p_of(scores, worst) == 0.0
    smallest = ExactNull(quantise(scores)).smallest_log_p
    log_p = VERIFIER.log_p_of(scores, best)
    assert smallest <= log_p <= smallest * (1 - 1e-12)
    assert VERIFIER.log_p_of(np.zeros((num_units, 11)), best) == 0.0


def test_no_p_is_below_the_share_of_all_outcomes():
    rng = np.random.default_rng(3)
    scores = rng.choice([0.0, 1.0, 2.5], (4, 5))
    grid = np.stack(np.meshgrid(*[np.arange(1, 6)] * 4, indexing="ij"), -1).reshape(-1, 4)
    p = np.exp([VERIFIER.log_p_of(scores, slots) for slots in grid])
    for level in np.unique(p):
        assert (p <= level).mean() <= level
