"""How many and which, on stored rows of a real training with known membership.

`python -m benchmarks.lower_bound` does the same with 12,000 resamples of each share.
"""

import numpy as np
import pytest
import scipy.stats

from anw_jax import stats
from anw_jax.keys import Assignment, Units
from anw_jax.stats.bounds import longest_prefix, lower_bound_by_hits
from benchmarks import _partly_trained, lower_bound
from benchmarks._partly_trained import NUM_PHOTOS, SHARES, SPACE, num_trained

NUM_RUNS = 400


@pytest.fixture(scope="module")
def rows():
    return _partly_trained.load(lower_bound.ROWS)[0]


@pytest.fixture(scope="module")
def slots(rows):
    return lower_bound.fresh_slots(rows, NUM_RUNS)


def test_the_stored_rows_are_those_of_five_owners(rows):
    assert rows.losses.shape == (5 * NUM_PHOTOS, 12)
    assert np.isfinite(rows.losses).all()
    assert len(set(rows.digests.tolist())) == len(rows.digests)
    for share in SHARES:
        assert rows.trained[rows.owner(share)].sum() == num_trained(share)


def test_fresh_slots_are_uniform_and_go_with_the_photo(rows, slots):
    counts = np.bincount(slots.ravel(), minlength=12)[1:]
    assert scipy.stats.chisquare(counts).pvalue > 1e-3
    np.testing.assert_array_equal(slots[:5], lower_bound.fresh_slots(rows, 5))


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("pool", lower_bound.POOLS)
def test_bounds_and_lists_are_those_of_the_public_calls(rows, slots, pool, share):
    rng = np.random.default_rng(1)
    numbers, drawn = lower_bound.resample(rows, share, pool, slots[:4], rng)
    found = lower_bound.outcomes(rows, numbers, drawn)
    for run in range(4):
        table = rows.losses[numbers[run]]
        assignment = Assignment(Units(np.arange(NUM_PHOTOS), SPACE), drawn[run])
        for by in stats.INVERSIONS:
            bound = stats.how_many(table, assignment, alpha=lower_bound.ALPHA, by=by)
            assert bound.num_used == found[by][run]
        units = stats.which_units(table, assignment, q=lower_bound.Q).units
        assert sorted(units.tolist()) == np.flatnonzero(found["listed"][run]).tolist()


def test_trained_rows_keep_the_slots_they_were_trained_with(rows, slots):
    rng = np.random.default_rng(2)
    numbers, drawn = lower_bound.resample(rows, 0.5, lower_bound.POOLS[0], slots, rng)
    assert rows.trained[numbers[:, :20]].all()
    assert not rows.trained[numbers[:, 20:]].any()
    np.testing.assert_array_equal(drawn[:, :20], rows.slots[numbers[:, :20]])
    assert all(len(set(left)) == 20 for left in numbers[:, 20:].tolist())


@pytest.mark.slow
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("pool", lower_bound.POOLS)
def test_coverage_and_wrong_entries(rows, slots, pool, share):
    rng = np.random.default_rng(3)
    found = lower_bound.outcomes(rows, *lower_bound.resample(rows, share, pool, slots, rng))
    cell = lower_bound.judged(found, share)
    assert cell["hits"]["within"]
    assert cell["ranks"]["within"]
    assert cell["list"]["within"]


def test_near_lies_are_seen(rows, slots):
    """Luck counted as one in thirty, and a list that counts thirty decoys."""
    rng = np.random.default_rng(4)
    numbers, drawn = lower_bound.resample(rows, 0.0, lower_bound.POOLS[0], slots, rng)
    hit = stats.blind_argmin(rows.losses[:, 1:])[numbers] == drawn
    bounds = [lower_bound_by_hits(int(h), NUM_PHOTOS, 30, 0.05) for h in hit.sum(axis=1)]
    assert np.mean(np.array(bounds) <= 0) < 0.9
    listed = [longest_prefix(h, 300, 0.05) > 0 for h in hit]
    assert np.mean(listed) > 0.2
