"""P(p ≤ t) ≤ t: by enumerating every key, and with fresh keys through HMAC.

Each check must accept the truth and reject the near lies: p0 = 1 / N, slot 0 in the null,
ties counted as hits, rows instead of units.
"""

from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax import stats
from anw_jax.stats.exact import ExactNull, quantise
from anw_jax.stats.testing import observed_sum

STATISTICS = sorted(stats.STATISTICS)
TABLES = (
    "smooth_hue",
    "all_ties",
    "one_dominating",
    "correlated_rows",
    "nan_rows",
    "dear_original",
)
FAST_KEYS = 5_000
NUM_IMAGES = 10


def _violations(p_values) -> list:
    """The attained t with #{p ≤ t} / n > t, in exact fractions."""
    ordered, num = sorted(map(float, p_values)), len(p_values)
    last = {p: position + 1 for position, p in enumerate(ordered)}
    return [p for p, count in last.items() if Fraction(count, num) > Fraction(p)]


def _hit_counts(table, slots):
    return (stats.blind_argmin(table[:, 1:]) == slots).sum(axis=-1)


# --- Every key. ---


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize(("num_units", "num_slots"), [(5, 3), (2, 6)])
def test_every_key(
    name, statistic, num_units, num_slots, innocent_table, every_outcome, plain_assignment
):
    table = innocent_table(name, num_units, num_slots)
    p_values = [
        stats.exact_test(table, plain_assignment(slots, num_slots), statistic=statistic).p_value
        for slots in every_outcome(num_units, num_slots)
    ]
    assert not _violations(p_values)
    assert min(p_values) >= (num_slots - 1.0) ** -num_units * (1 - 1e-15)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_every_key_with_groups_and_copies(statistic, every_outcome, plain_assignment):
    """Seven photos in three albums, one of them twice, one without an answer."""
    table = np.random.default_rng(2).normal(size=(8, 5)).round(1)
    table[2, 3] = np.nan
    table[7] = table[0]
    units, is_copy = [0, 0, 0, 1, 1, 2, 2, 0], [False] * 7 + [True]
    p_values = [
        stats.exact_test(
            table,
            plain_assignment(
                slots, 5, unit_of_image=units, is_copy=is_copy, scheme="per_group"
            ),
            statistic=statistic,
        ).p_value
        for slots in every_outcome(3, 5)
    ]
    assert not _violations(p_values)
    assert min(p_values) >= 4.0**-3


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("name", ["smooth_hue", "all_ties", "nan_rows"])
def test_every_key_of_four_units_with_twelve_slots(
    name, statistic, innocent_table, every_outcome, plain_assignment
):
    table = innocent_table(name, 4)
    integers = quantise(stats.score_units(table, plain_assignment([1] * 4).units, statistic))
    sums = integers[np.arange(4), every_outcome(4, 12) - 1].sum(axis=1)
    attained, counts = np.unique(sums, return_counts=True)
    true_tail = np.cumsum(counts[::-1])[::-1] / 11**4
    survival = ExactNull(integers).survival[attained]
    assert (survival >= true_tail).all()
    np.testing.assert_allclose(survival, true_tail, atol=1e-9)
    null = ExactNull(integers)
    for position in np.linspace(0, len(attained) - 1, 15).astype(int):
        p = np.exp(null.log_p_value(int(attained[position])))
        assert true_tail[position] * (1 - 1e-15) <= p <= true_tail[position] * (1 + 1e-9)


_losses = st.one_of(
    st.integers(-2, 3).map(float),
    st.floats(-1e3, 1e3),
    st.sampled_from([np.nan, np.inf, -np.inf, 1e29, -1e29, 1e31, 1e-300, 5e-324, 0.1]),
)


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    st.lists(st.lists(_losses, min_size=4, max_size=4), min_size=1, max_size=4),
    st.sampled_from(STATISTICS),
    st.booleans(),
)
def test_every_key_of_any_table(
    every_outcome, plain_assignment, rows, statistic, one_group_of_two
):
    table = np.array(rows)
    units = np.arange(len(table))
    if one_group_of_two and len(table) > 1:
        units = np.maximum(units - 1, 0)
    p_values = [
        stats.exact_test(
            table, plain_assignment(slots, 4, unit_of_image=units), statistic=statistic
        ).p_value
        for slots in every_outcome(units.max() + 1, 4)
    ]
    assert not _violations(p_values)


# --- Every key, near lies. ---


def test_the_enumeration_rejects_p0_of_one_in_n(every_outcome, innocent_table):
    hits = _hit_counts(innocent_table("smooth_hue", 4, 5), every_outcome(4, 5))
    assert _violations(scipy.stats.binom.sf(hits - 1, 4, 1 / 5))
    assert not _violations(scipy.stats.binom.sf(hits - 1, 4, 1 / 4) * (1 + 1e-9))


def _null_with_slot_zero(table):
    """The near lie: the unmarked slot among those a key could have drawn."""
    integers = quantise(-table)
    return integers[:, 1:], ExactNull(integers).survival


def _strict(integers):
    """The near lie: P(S > s)."""
    return np.append(ExactNull(integers).survival[1:], 0.0)


def test_the_enumeration_rejects_slot_zero_in_the_null(every_outcome, innocent_table):
    integers, survival = _null_with_slot_zero(innocent_table("dear_original", 4, 5))
    sums = integers[np.arange(4), every_outcome(4, 5) - 1].sum(axis=1)
    assert _violations(np.minimum(1, survival[sums]))


@pytest.mark.parametrize("name", ["all_ties", "smooth_hue"])
def test_the_enumeration_rejects_ties_counted_as_hits(
    name, every_outcome, innocent_table, plain_assignment
):
    table = innocent_table(name, 4, 5)
    integers = quantise(stats.score_units(table, plain_assignment([1] * 4, 5).units, "losses"))
    sums = integers[np.arange(4), every_outcome(4, 5) - 1].sum(axis=1)
    assert _violations(_strict(integers)[sums])


def test_the_enumeration_rejects_rows_instead_of_units(innocent_table, plain_assignment):
    table = innocent_table("smooth_hue", 5, 5)
    lies = [
        stats.exact_test(table, plain_assignment([slot] * 5, 5), statistic="losses").p_value
        for slot in range(1, 5)
    ]
    assert _violations(lies)
    assert min(lies) < 1 / 100


# --- Fresh keys through HMAC. ---


@pytest.mark.parametrize("name", [*TABLES, "real"])
@pytest.mark.parametrize("statistic", STATISTICS)
def test_fresh_keys(name, statistic, innocent_table, fresh_assignments, looks_valid):
    assignments = fresh_assignments(FAST_KEYS, NUM_IMAGES)
    table = innocent_table(name, NUM_IMAGES)
    assert looks_valid(stats.fresh_p_values(table, assignments, statistic))


@pytest.mark.parametrize("statistic", ["losses", "ranks", "hits"])
def test_fresh_keys_of_one_user(statistic, innocent_table, fresh_assignments, looks_valid):
    """One unit, all photos: the randomness of one draw only."""
    assignments = fresh_assignments(FAST_KEYS, 50, "per_user")
    p_values = stats.fresh_p_values(innocent_table("smooth_hue", 50), assignments, statistic)
    assert looks_valid(p_values)
    assert p_values.min() >= 1 / 11


def test_fresh_keys_agree_with_the_exact_test(innocent_table, fresh_assignments):
    assignments = fresh_assignments(FAST_KEYS, NUM_IMAGES)[:4]
    table = innocent_table("smooth_hue", NUM_IMAGES)
    for statistic in STATISTICS:
        exact = [stats.exact_test(table, a, statistic=statistic).p_value for a in assignments]
        fresh = stats.fresh_p_values(table, assignments, statistic)
        np.testing.assert_allclose(fresh, exact, atol=1e-9)


# --- Fresh keys, near lies. ---


def test_fresh_keys_reject_p0_of_one_in_n(innocent_table, fresh_assignments, looks_valid):
    table = innocent_table("smooth_hue", NUM_IMAGES)
    slots = np.array([a.slot_of_unit for a in fresh_assignments(FAST_KEYS, NUM_IMAGES)])
    hits = _hit_counts(table, slots)
    level = scipy.stats.binom.sf(1, NUM_IMAGES, 1 / 12)  # which two hits attain
    lies = scipy.stats.binom.sf(hits - 1, NUM_IMAGES, 1 / 12)
    assert (lies <= level).sum() > scipy.stats.binom.ppf(1 - 1e-4, len(lies), level)
    assert looks_valid(scipy.stats.binom.sf(hits - 1, NUM_IMAGES, 1 / 11))


def test_fresh_keys_reject_slot_zero_in_the_null(
    innocent_table, fresh_assignments, looks_valid
):
    integers, survival = _null_with_slot_zero(innocent_table("dear_original", NUM_IMAGES))
    assignments = fresh_assignments(FAST_KEYS, NUM_IMAGES)
    assert not looks_valid(np.array([survival[observed_sum(integers, a)] for a in assignments]))


def test_fresh_keys_reject_ties_counted_as_hits(innocent_table, fresh_assignments, looks_valid):
    assignments = fresh_assignments(FAST_KEYS, NUM_IMAGES)
    table = innocent_table("all_ties", NUM_IMAGES)
    integers = quantise(stats.score_units(table, assignments[0].units, "losses"))
    strict = _strict(integers)
    lies = np.array([strict[observed_sum(integers, a)] for a in assignments])
    assert not looks_valid(lies)


def test_fresh_keys_reject_rows_instead_of_units(
    innocent_table, fresh_assignments, looks_valid, plain_assignment
):
    """One user's slot handed row by row: an innocent model is convicted."""
    table = innocent_table("smooth_hue", 50)
    one_slot = [int(a.slot_of_unit[0]) for a in fresh_assignments(FAST_KEYS, 50, "per_user")]
    lie_of_slot = {
        slot: stats.exact_test(table, plain_assignment([slot] * 50), statistic="losses").p_value
        for slot in range(1, 12)
    }
    lies = np.array([lie_of_slot[slot] for slot in one_slot])
    assert not looks_valid(lies)
    assert (lies <= 1e-6).mean() > 0.1


# --- The judges themselves. ---


def test_super_uniformity_accepts_uniform_and_discrete_and_rejects_slightly_small(rng):
    uniform = rng.uniform(size=20_000)
    assert stats.super_uniformity(uniform)[0]
    assert stats.super_uniformity(np.ceil(uniform * 11) / 11)[0]
    assert not stats.super_uniformity(np.floor(uniform * 11) / 11)[0]
    assert not stats.super_uniformity(uniform**1.1)[0]
    assert stats.super_uniformity(np.ones(3)) == (True, 0.0)
    assert stats.super_uniformity([0.5, 0.5])[1] == pytest.approx(0.5)


def test_super_uniformity_band_holds_its_level(rng):
    """The one-sided band at confidence 0.9 is left by at most a tenth of uniform samples."""
    left = sum(not stats.super_uniformity(rng.uniform(size=50), 0.9)[0] for _ in range(2_000))
    assert 0.05 < left / 2_000 < 0.1 + 3 * np.sqrt(0.09 / 2_000)


@pytest.mark.parametrize("bad", [[], [np.nan], [1.1], [-0.1], [[0.5]]])
def test_super_uniformity_refuses_what_is_no_p_value(bad):
    with pytest.raises(ValueError, match="p_values must be a non-empty vector in"):
        stats.super_uniformity(bad)


def test_fresh_p_values_refuses_mixed_units(plain_assignment):
    table = np.ones((2, 12))
    first = plain_assignment([1, 2])
    with pytest.raises(ValueError, match="must hold at least one Assignment"):
        stats.fresh_p_values(table, [])
    for other in (
        plain_assignment([1], unit_of_image=[0, 0]),
        plain_assignment([1, 2], 11),
        plain_assignment([1, 2], is_copy=[False, True]),
    ):
        with pytest.raises(ValueError, match="assignments must share their units"):
            stats.fresh_p_values(table, [first, other])
