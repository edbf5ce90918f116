"""The one test of a verdict: twins, invariances, edges, outcomes."""

import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax import stats
from anw_jax.keys import Assignment, Manifest, MarkKey, Plan, SignatureSpace, assign
from anw_jax.stats.exact import quantise
from anw_jax.stats.testing import observed_sum

STATISTICS = sorted(stats.STATISTICS)
SPACE = SignatureSpace()


def _marked_table(rng, slots, effect=1.0, num_slots=12):
    table = rng.normal(2.0, 1.0, (len(slots), num_slots))
    table[np.arange(len(slots)), slots] -= effect
    return table


# --- Twins. ---


@pytest.mark.parametrize("statistic", STATISTICS)
def test_p_is_the_enumerated_one(statistic, rng, plain_assignment, exact_log_tail):
    slots = rng.integers(1, 12, 5)
    assignment = plain_assignment(slots)
    for table in (_marked_table(rng, slots), rng.integers(0, 3, (5, 12))):
        integers = quantise(stats.score_units(table, assignment.units, statistic))
        true = exact_log_tail(integers, observed_sum(integers, assignment))
        result = stats.exact_test(table, assignment, statistic=statistic)
        assert result.log10_p * math.log(10) == pytest.approx(true, abs=1e-9)
        assert result.p_value >= math.exp(true) * (1 - 1e-14)


def test_hits_are_binomial(rng, plain_assignment):
    for num_units, effect in ((40, 0.0), (40, 1.0), (300, 1.0), (300, 4.0)):
        slots = rng.integers(1, 12, num_units)
        table, assignment = _marked_table(rng, slots, effect), plain_assignment(slots)
        count = stats.count_hits(table, assignment)
        result = stats.exact_test(table, assignment, statistic="hits")
        mass = scipy.stats.binom.logpmf(np.arange(count, num_units + 1), num_units, 1 / 11)
        true = min(0.0, scipy.special.logsumexp(mass))
        assert result.log10_p * math.log(10) == pytest.approx(true, abs=1e-8, rel=1e-9)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_monte_carlo_agrees(statistic, rng, plain_assignment):
    slots = rng.integers(1, 12, 20)
    assignment = plain_assignment(slots)
    table = _marked_table(rng, slots, 0.4)
    p = stats.exact_test(table, assignment, statistic=statistic).p_value
    drawn = stats.monte_carlo_test(
        table, assignment, num_draws=20_000, seed=4, statistic=statistic
    )
    assert abs(drawn - p) <= 4 * math.sqrt(p * (1 - p) / 20_000) + 1 / 20_000


def test_monte_carlo_is_never_below_one_over_all_draws(rng, plain_assignment):
    slots = rng.integers(1, 12, 200)
    table = _marked_table(rng, slots, 5.0)
    p = stats.monte_carlo_test(table, plain_assignment(slots), num_draws=99, seed=0)
    assert p == 1 / 100
    assert stats.monte_carlo_test(np.ones((3, 12)), plain_assignment([1, 2, 3]), seed=0) == 1
    with pytest.raises(ValueError, match="num_draws must be at least 1, got 0"):
        stats.monte_carlo_test(table, plain_assignment(slots), num_draws=0, seed=0)


def test_power(rng, plain_assignment):
    """A test that never finds anything is valid too: this one finds."""
    slots = rng.integers(1, 12, 300)
    table = 2 - np.cos(np.arange(12)) + _marked_table(rng, slots, 0.6)
    for statistic in set(STATISTICS) - {"hits"}:
        assert stats.exact_test(
            table, plain_assignment(slots), statistic=statistic
        ).outcome == ("shown")


# --- What must not matter. ---


@pytest.mark.parametrize("statistic", STATISTICS)
def test_slots_never_reach_the_scores(statistic, rng, plain_assignment):
    table = rng.normal(size=(9, 12))
    table[3, 4] = np.nan
    first, second = (plain_assignment(rng.integers(1, 12, 9)) for _ in range(2))
    np.testing.assert_array_equal(
        stats.score_units(table, first.units, statistic),
        stats.score_units(table, second.units, statistic),
    )
    # The unmarked slot is never tested, whatever it holds.
    for value in (np.nan, np.inf, -1e300, 0.0):
        other = table.copy()
        other[:, 0] = value
        assert stats.exact_test(other, first, statistic=statistic) == stats.exact_test(
            table, first, statistic=statistic
        )


@pytest.mark.parametrize("statistic", STATISTICS)
def test_an_image_entered_twice_changes_nothing(statistic, rng, small_images):
    mark_key = MarkKey.for_experiment(3)
    table = rng.normal(size=(6, 12))
    groups = list("aabbcc")
    for scheme, albums in (("per_image", None), ("per_group", groups), ("per_user", None)):
        plan = Plan(statistic, 0.05)
        once = assign(mark_key, Manifest.of(small_images, SPACE, scheme, albums), plan)
        again = np.concatenate([small_images, small_images[[4, 4, 1]]])
        albums = albums and [*albums, "a", "z", "c"]
        more = Manifest.of(again, SPACE, scheme, albums)
        # A copy is another manifest, whose slots are others: here the same are wanted.
        twice = Assignment(more.units, once.slot_of_unit)
        more = np.concatenate([table, table[[4, 4, 1]]])
        assert stats.exact_test(more, twice, statistic=statistic) == stats.exact_test(
            table, once, statistic=statistic
        )


@settings(derandomize=True, deadline=None, max_examples=20)
@given(
    st.integers(0, 2**32),
    st.sampled_from(STATISTICS),
    st.sampled_from(["normal", "ties", "thirds", "equal rows"]),
)
def test_the_order_of_the_photos_changes_nothing(plain_assignment, seed, statistic, kind):
    rng = np.random.default_rng(seed)
    table = {
        "normal": rng.normal(size=(12, 12)),
        "ties": rng.integers(0, 3, (12, 12)).astype(float),
        "thirds": rng.integers(0, 3, (12, 12)) / 3,
        "equal rows": np.tile(rng.normal(size=12), (12, 1)),
    }[kind]
    units = np.concatenate([np.arange(7), rng.integers(0, 7, 5)])
    slots = rng.integers(1, 12, 7)
    image_order, unit_order = rng.permutation(12), rng.permutation(7)
    result = stats.exact_test(
        table, plain_assignment(slots, unit_of_image=units), statistic=statistic
    )
    permuted = stats.exact_test(
        table[image_order],
        plain_assignment(
            slots[unit_order], unit_of_image=np.argsort(unit_order)[units[image_order]]
        ),
        statistic=statistic,
    )
    assert permuted.log10_p == pytest.approx(result.log10_p, abs=1e-9)
    assert permuted.outcome == result.outcome


# Logarithms do not promise it: they need losses that start at 0.
@pytest.mark.parametrize("statistic", sorted({"losses", "centred", "ranks", "hits"}))
def test_a_constant_added_to_a_row_changes_nothing(statistic, rng, plain_assignment):
    slots = rng.integers(1, 12, 15)
    tables = [rng.normal(size=(15, 12)), rng.integers(0, 4, (15, 12)) / 4]
    for table in tables:
        shifted = table + rng.integers(-50, 50, (15, 1))
        before, after = (
            stats.exact_test(each, plain_assignment(slots), statistic=statistic).log10_p
            for each in (table, shifted)
        )
        assert after == pytest.approx(before, abs=1e-9)


@pytest.mark.parametrize("statistic", ["centred"])
def test_what_all_photos_share_is_removed(statistic, rng, plain_assignment):
    slots = rng.integers(1, 12, 15)
    table = rng.normal(size=(15, 12))
    shared = table + 5 * np.cos(np.arange(12))
    before, after = (
        stats.exact_test(each, plain_assignment(slots), statistic=statistic).log10_p
        for each in (table, shared)
    )
    assert after == pytest.approx(before, abs=1e-6)
    equal = np.tile(table[:1], (15, 1))  # nothing of equal rows is left, not even noise
    result = stats.exact_test(equal, plain_assignment(slots), statistic=statistic)
    assert result.outcome == "inconclusive"
    assert result.p_value == 1.0


@pytest.mark.parametrize("statistic", STATISTICS)
def test_dtypes(statistic, rng, plain_assignment):
    slots = rng.integers(1, 12, 8)
    table = rng.integers(0, 100, (8, 12))
    results = {
        stats.exact_test(table.astype(dtype), plain_assignment(slots), statistic=statistic)
        for dtype in (np.int64, np.uint8, np.float16, np.float32, np.float64)
    }
    assert len(results) == 1


# --- Edges. ---


@pytest.mark.parametrize("statistic", STATISTICS)
def test_one_user_is_never_below_one_in_n(statistic, plain_assignment):
    for num_images in (1, 3, 400):
        table = np.ones((num_images, 12))
        table[:, 4] = 0.0  # a perfect match of every photo
        assignment = plain_assignment(
            [4], unit_of_image=np.zeros(num_images, int), scheme="per_user"
        )
        result = stats.exact_test(table, assignment, statistic=statistic)
        assert result.p_value >= 1 / 11
        assert result.outcome == "inconclusive"


@pytest.mark.parametrize("statistic", STATISTICS)
def test_albums_are_never_below_their_number(statistic, rng, plain_assignment):
    slots = np.array([1, 5, 9])
    units = np.repeat(np.arange(3), 200)
    table = np.ones((600, 12)) + 1e-3 * rng.normal(size=(600, 12))
    table[np.arange(600), slots[units]] = 0.0
    assignment = plain_assignment(slots, unit_of_image=units, scheme="per_group")
    result = stats.exact_test(table, assignment, statistic=statistic, alpha=0.01)
    assert 11**-3 <= result.p_value <= 11**-3 * (1 + 1e-9)
    assert result.outcome == "shown"


@pytest.mark.parametrize("statistic", STATISTICS)
def test_units_without_answers_are_no_evidence(statistic, plain_assignment):
    slots = np.ones(10, int)  # where the old fixed rule put them
    for value in (np.nan, np.inf, -np.inf, 1e31):
        result = stats.exact_test(
            np.full((10, 12), value), plain_assignment(slots), statistic=statistic
        )
        assert (result.p_value, result.outcome) == (1.0, "inconclusive")
        assert result.num_unusable == 10
        assert stats.count_hits(np.full((10, 12), value), plain_assignment(slots)) == 0


@pytest.mark.parametrize("statistic", STATISTICS)
def test_a_unit_without_answers_stays_in_and_changes_no_p(statistic, rng, plain_assignment):
    table, slots = rng.normal(size=(6, 12)), rng.integers(1, 12, 6)
    more = np.vstack([table, np.full((2, 12), 0.5)])
    more[6, 7], more[7, 1] = np.nan, -np.inf
    before = stats.exact_test(table, plain_assignment(slots), statistic=statistic)
    after = stats.exact_test(more, plain_assignment([*slots, 1, 3]), statistic=statistic)
    assert (after.num_units, after.num_unusable) == (8, 2)
    assert after.log10_p == pytest.approx(before.log10_p, abs=1e-9)


def test_a_bad_photo_is_left_out_of_its_album(rng, plain_assignment):
    table = rng.normal(size=(4, 12))
    table[1, 5] = np.nan
    assignment = plain_assignment([2, 3], unit_of_image=[0, 0, 1, 1])
    np.testing.assert_allclose(
        stats.unit_losses(table, assignment.units), [table[0, 1:], table[2, 1:] + table[3, 1:]]
    )


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("value", [0.0, 7.25, 1e-300, 1e29, -3.0])
def test_constant_tables(statistic, value, plain_assignment):
    result = stats.exact_test(
        np.full((4, 12), value), plain_assignment([2, 3, 4, 5]), statistic=statistic
    )
    assert result.p_value == 1.0
    if statistic != "hits":
        assert result.reason == "no test possible: no unit's answers tell its slots apart"
        assert "-0.0" not in str(result)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_one_photo_and_two_slots(statistic, rng, plain_assignment):
    one = stats.exact_test(
        rng.normal(size=(1, 12)), plain_assignment([3]), statistic=statistic, alpha=0.1
    )
    assert one.p_value >= 1 / 11
    two = stats.exact_test(rng.normal(size=(5, 2)), plain_assignment([1] * 5, 2))
    assert (two.p_value, two.outcome) == (1.0, "inconclusive")


# --- Words. ---


def _perfect(num_units, num_slots, plain_assignment, alpha):
    table = np.ones((num_units, num_slots))
    table[:, 1] = 0.0
    return stats.exact_test(
        table, plain_assignment([1] * num_units, num_slots), statistic="hits", alpha=alpha
    )


def test_outcomes(rng, plain_assignment):
    slots = rng.integers(1, 12, 60)
    strong, weak = _marked_table(rng, slots, 3.0), rng.normal(size=(60, 12))
    assert stats.exact_test(strong, plain_assignment(slots)).outcome == "shown"
    assert stats.exact_test(weak, plain_assignment(slots)).outcome == "not shown"
    few = _perfect(3, 12, plain_assignment, 1e-6)
    assert few.outcome == "inconclusive"
    assert few.reason == (
        "the smallest p these units can give is 7.6e-4, above the level 1e-06"
    )
    assert str(few).startswith("inconclusive: the smallest p these units can give is 7.6e-4")


@pytest.mark.parametrize(("num_units", "num_slots"), [(1, 12), (3, 11), (6, 11), (20, 3)])
@pytest.mark.parametrize("ulps", range(-3, 4))
def test_the_border_of_shown(num_units, num_slots, ulps, plain_assignment):
    """A perfect match is either shown or could not have been: never "not shown"."""
    alpha = float((num_slots - 1.0) ** -num_units)
    for _ in range(abs(ulps)):
        alpha = float(np.nextafter(alpha, np.sign(ulps)))
    result = _perfect(num_units, num_slots, plain_assignment, alpha)
    assert result.outcome in ("shown", "inconclusive")
    if result.outcome == "shown":
        assert result.p_value <= alpha
    assert _perfect(num_units, num_slots, plain_assignment, alpha * 1.001).outcome == "shown"
    assert (
        _perfect(num_units, num_slots, plain_assignment, alpha * 0.999).outcome
        == "inconclusive"
    )


def test_p_value_and_its_logarithm_agree(rng, plain_assignment):
    for num_units in (5, 50, 600):
        slots = rng.integers(1, 12, num_units)
        result = stats.exact_test(_marked_table(rng, slots, 8.0), plain_assignment(slots))
        assert result.p_value > 0
        assert result.smallest_log10_p <= result.log10_p <= 0
        if result.log10_p > -300:
            assert result.p_value == pytest.approx(10**result.log10_p, rel=1e-10)
        assert result.bits == pytest.approx(-result.log10_p / math.log10(2))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"loss_table": np.ones((2, 11))}, ValueError, r"= \(2, 12\), got \(2, 11\)"),
        ({"loss_table": np.ones((3, 12))}, ValueError, r"= \(2, 12\), got \(3, 12\)"),
        ({"loss_table": np.ones(12)}, ValueError, r"= \(2, 12\), got \(12,\)"),
        ({"assignment": np.array([1, 2])}, TypeError, "a bare array of slots would count"),
        ({"statistic": "loses"}, ValueError, "got 'loses'; did you mean 'losses'"),
        ({"alpha": 0.0}, ValueError, "alpha must lie strictly between 0.0 and 1.0, got 0.0"),
        ({"alpha": 1.0}, ValueError, "alpha must lie strictly between 0.0 and 1.0, got 1.0"),
        ({"alpha": math.nan}, ValueError, "alpha must be finite, got nan"),
        ({"alpha": "1e-6"}, TypeError, "alpha must be a number, got '1e-6'"),
    ],
)
def test_bad_arguments(change, error, message, plain_assignment):
    arguments = {"loss_table": np.ones((2, 12)), "assignment": plain_assignment([1, 2])}
    with pytest.raises(error, match=message):
        stats.exact_test(**(arguments | change))
