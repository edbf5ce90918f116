"""Which photos: the list keeps its false-discovery rate, and near lies do not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax import stats
from anw_jax.keys import Assignment, SignatureSpace, Units
from anw_jax.stats.bounds import confidence, longest_prefix


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.booleans(), min_size=1, max_size=40), st.sampled_from([0.02, 0.05, 0.3]))
def test_longest_prefix_is_the_naive_one(hits, q):
    naive = 0
    for length in range(1, len(hits) + 1):
        good = sum(hits[:length])
        if good and (1 + length - good) / (10 * good) <= q:
            naive = length
    assert longest_prefix(np.array(hits), 11, q) == naive


def simulate(rng, num_units, share, d=3.0, lie=""):
    """False share and number listed of one table whose first units left an imprint."""
    num_used = int(share * num_units)
    slots = rng.integers(1, 12, num_units)
    losses = rng.normal(size=(num_units, 12))
    losses[np.arange(num_used), slots[:num_used]] -= d
    assignment = Assignment(Units(np.arange(num_units), SignatureSpace()), slots)
    if lie == "order knows the slots":
        others = np.where(np.arange(12) == slots[:, None], np.inf, losses)[:, 1:].min(axis=1)
        order = np.argsort(losses[np.arange(num_units), slots] - others)
        hit = stats.blind_argmin(losses[:, 1:]) == slots
        length = longest_prefix(hit[order], 11, 0.05)
        units = [unit for unit in order[:length] if hit[unit]]
    else:
        units = stats.which_units(losses, assignment, q=0.05, statistic="losses").units
    wrong = sum(unit >= num_used for unit in units)
    return wrong / max(1, len(units)), len(units)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5])
def test_the_share_of_wrong_entries(share, rng):
    outcomes = np.array([simulate(rng, 100, share) for _ in range(300)])
    error = 3.1 * outcomes[:, 0].std() / np.sqrt(300)
    assert outcomes[:, 0].mean() <= 0.05 + error
    if share:
        assert outcomes[:, 1].mean() > 0.3 * share * 100


def test_an_order_that_knows_the_slots_is_seen(rng):
    lie = "order knows the slots"
    outcomes = [simulate(rng, 100, 0.25, d=1.5, lie=lie)[0] for _ in range(200)]
    assert np.mean(outcomes) > 0.08


def test_confidence_never_looks_at_slots_and_unusable_units_come_last(plain_assignment, rng):
    table = rng.exponential(size=(5, 12))
    table[3] = np.nan
    first = confidence(table, plain_assignment([1, 2, 3, 4, 5]).units, "log_losses")
    second = confidence(table, plain_assignment([9, 9, 9, 9, 9]).units, "log_losses")
    np.testing.assert_array_equal(first, second)
    assert first[3] == -1.0
    assert (first[[0, 1, 2, 4]] >= 0).all()


def test_confidence_where_a_single_slot_can_be_drawn(plain_assignment):
    units = plain_assignment([1, 1], 2).units
    table = np.array([[2.0, 1.0], [np.nan, np.nan]])
    assert confidence(table, units, "log_losses").tolist() == [0.0, -1.0]


def test_edges(plain_assignment):
    none = stats.which_units(np.ones((4, 12)), plain_assignment([2, 3, 4, 5]))
    assert (len(none.units), none.num_examined) == (0, 0)
    with pytest.raises(
        ValueError, match="at least 2 valid slots: a guess must be able to miss"
    ):
        stats.which_units(np.ones((1, 2)), plain_assignment([1], 2))
    with pytest.raises(ValueError, match="q must lie strictly between"):
        stats.which_units(np.ones((1, 12)), plain_assignment([1]), q=0.0)
    with pytest.raises(TypeError, match="assignment must be an Assignment"):
        stats.which_units(np.ones((1, 12)), [1])
