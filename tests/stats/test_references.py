"""Tests calibrated by reference models: exact under any reference fixed before the slots."""

import itertools

import numpy as np
import pytest

from anw_jax import stats
from anw_jax.keys import Assignment
from anw_jax.stats.exact import ExactNull, quantise
from anw_jax.stats.testing import observed_sum

STATISTICS = sorted(stats.STATISTICS)
NUM, NUM_KEYS = 10, 5_000


def _related(rng, num=NUM, num_slots=12):
    """An innocent model's losses, its base's, and those of another model."""
    liking = rng.gamma(2.0, 1.0, (num, num_slots))
    base = liking * np.exp(0.05 * rng.normal(size=liking.shape))
    suspect = 1.3 * liking * np.exp(0.05 * rng.normal(size=liking.shape))
    return suspect, base, rng.gamma(2.0, 1.0, liking.shape)


def _adversarial(name, table, rng):
    """References that whoever knows the suspect's table could choose before the slots."""
    noise = rng.normal(size=table.shape)
    if name == "nearly_the_suspect":
        return (table * (1 + 1e-6 * noise),)
    if name == "all_but_the_best_slots":  # what is left is the suspect's own likings
        return (np.where(table == table.min(1, keepdims=True), table.max(), table),)
    if name == "one_dominating":
        other = np.abs(noise)
        other[0] *= 1e9
        return (other,)
    if name == "nan_rows":
        other = table + noise
        other[::2] = np.nan
        return (other, np.full_like(table, np.nan))
    if name == "five":
        return tuple(table[::-1] * rng.gamma(2.0, 1.0, table.shape) for _ in range(5))
    raise AssertionError(name)


REFERENCES = (
    "nearly_the_suspect",
    "all_but_the_best_slots",
    "one_dominating",
    "nan_rows",
    "five",
)


# --- The formulas. ---


def _naive_fit(wanted, reference):
    """The one non-negative coefficient, entry by entry."""
    products = squares = 0.0
    for row, other in zip(wanted, reference, strict=True):
        mean, other_mean = sum(row) / len(row), sum(other) / len(other)
        for value, other_value in zip(row, other, strict=True):
            products += (value - mean) * (other_value - other_mean)
            squares += (other_value - other_mean) ** 2
    return max(0.0, products / squares)


@pytest.mark.parametrize("statistic", ["log_losses", "losses", "log_errors", "centred"])
def test_scores_are_those_of_the_statistic_less_the_fitted_share(statistic, plain_units):
    suspect, base, _ = _related(np.random.default_rng(0))
    units = plain_units(NUM)
    own, other = (stats.score_units(t, units, statistic) for t in (suspect, base))
    share = _naive_fit(own.tolist(), other.tolist())
    assert share > 0.5
    twin = own - share * (other - other.mean(axis=1, keepdims=True))
    found = stats.score_units(suspect, units, statistic, [base])
    np.testing.assert_allclose(found, twin, atol=1e-9)


def test_ranks_hits_and_guesses_are_those_of_calibrated_log_losses(plain_units):
    suspect, base, _ = _related(np.random.default_rng(1))
    units = plain_units(NUM)
    scores = stats.score_units(suspect, units, "log_losses", [base])
    best = scores.argmax(axis=1)
    ranks = stats.score_units(suspect, units, "ranks", [base])
    hits = stats.score_units(suspect, units, "hits", [base])
    np.testing.assert_array_equal(ranks, 1 + scores.argsort(axis=1).argsort(axis=1))
    np.testing.assert_array_equal(hits.argmax(axis=1), best)
    guesses = stats.blind_argmin(stats.unit_losses(suspect, units, [base]))
    np.testing.assert_array_equal(guesses, 1 + best)
    assert (guesses != stats.blind_argmin(stats.unit_losses(suspect, units))).any()


def test_bounded_scores_calibrate_rows_of_images(plain_units):
    suspect, base, _ = _related(np.random.default_rng(2))
    units = plain_units(NUM)

    def logs(table):
        rows = -np.log(table[:, 1:] + 0.3)
        return rows - np.median(rows, axis=1, keepdims=True)

    def cut(rows):
        scale = min(1.0, np.median(rows.std(axis=1)))
        return np.clip(rows, -0.75 * scale, 1.5 * scale)

    share = _naive_fit(cut(logs(suspect)).tolist(), cut(logs(base)).tolist())
    left = logs(suspect) - share * logs(base)
    rows = cut(left - np.median(left, axis=1, keepdims=True))
    rows -= np.median(rows, axis=1, keepdims=True)
    scale = min(1.0, np.median(left.std(axis=1)))
    rows = np.clip(rows, -0.75 * scale, 1.5 * scale)
    others = (rows.sum(axis=0) - rows) / (NUM - 1)
    found = stats.score_units(suspect, units, "bounded_log_losses", [base])
    np.testing.assert_allclose(found, rows - 0.5 * others, atol=1e-9)


# --- Edges. ---


@pytest.mark.parametrize("statistic", STATISTICS)
def test_nothing_is_left_of_proportional_rows(statistic, plain_assignment):
    """Not even rounding noise, which the exact test would scale up."""
    rng = np.random.default_rng(3)
    table = rng.gamma(2.0, 1.0, (NUM, 12)).astype(np.float32)
    assignment = plain_assignment(rng.integers(1, 12, NUM))
    factor = 3.7 if statistic in ("losses", "centred") else 1.0
    reference = (table.astype(np.float64) / factor,)
    result = stats.exact_test(table, assignment, statistic=statistic, references=reference)
    # "hits" counts a tie for its lowest slot.
    assert (result.smallest_log10_p == 0) == (statistic != "hits")
    num_hits = stats.count_hits(table, assignment, (table,))
    assert num_hits == (assignment.slots == 1).sum()


@pytest.mark.parametrize("statistic", STATISTICS)
def test_a_reference_without_answers_has_no_effect(statistic, plain_units):
    suspect, base, _ = _related(np.random.default_rng(4))
    units = plain_units(NUM)
    plain = stats.score_units(suspect, units, statistic)
    silent = np.full_like(base, np.nan)
    np.testing.assert_allclose(
        stats.score_units(suspect, units, statistic, [silent]), plain, atol=1e-12
    )
    half = base.copy()
    half[3] = np.nan
    found = stats.score_units(suspect, units, "log_losses", [half])
    own = stats.score_units(suspect, units, "log_losses")
    np.testing.assert_allclose(found[3], own[3], atol=1e-12)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_a_unit_without_answers_stays_constant(statistic, plain_units):
    suspect, base, _ = _related(np.random.default_rng(5))
    suspect[2] = np.nan
    scores = stats.score_units(suspect, plain_units(NUM), statistic, [base])
    assert not scores[2].any()
    assert np.isnan(stats.unit_losses(suspect, plain_units(NUM), [base])[2]).all()


def test_bounded_scores_stay_bounded_whatever_suspect_and_reference_answer(plain_units):
    """At most 1.5 upwards and .75 downwards, and half of the others' mean, each √2 for 2."""
    rng = np.random.default_rng(6)
    units = plain_units(NUM, unit_of_image=np.arange(2 * NUM) // 2)
    for _ in range(50):
        tables = np.exp(rng.normal(0, rng.choice([1, 10, 60]), (3, 2 * NUM, 12)))
        tables = np.minimum(tables, 1e30)
        scores = stats.score_units(tables[0], units, "bounded_log_losses", list(tables[1:]))
        assert scores.max() <= np.sqrt(2) * (1.5 + 0.5 * 0.75) + 1e-9
        assert scores.min() >= -np.sqrt(2) * (0.75 + 0.5 * 1.5) - 1e-9


def test_absurd_answers_do_not_undo_a_bounded_calibration(plain_assignment):
    rng = np.random.default_rng(7)
    suspect, base, _ = _related(rng, 60)
    slots = rng.integers(1, 12, 60)
    suspect[np.arange(60), slots] *= 0.7
    suspect[:3, 4:] = 1e29
    p = {
        name: stats.exact_test(
            suspect, plain_assignment(slots), statistic=name, references=[base]
        ).log10_p
        for name in ("bounded_log_losses", "log_losses")
    }
    assert p["bounded_log_losses"] < -12
    assert p["log_losses"] > -3


@pytest.mark.parametrize("statistic", STATISTICS)
def test_order_and_copies_change_no_bit(statistic, plain_units):
    rng = np.random.default_rng(8)
    suspect, base, other = _related(rng, 40)
    order = rng.permutation(40)
    units = plain_units(40)
    scores = stats.score_units(suspect, units, statistic, [base, other])
    moved = stats.score_units(suspect[order], units, statistic, [base[order], other[order]])
    np.testing.assert_array_equal(moved, scores[order])
    copies = np.arange(41) == 40
    twice = plain_units(40, unit_of_image=np.append(np.arange(40), 5), is_copy=copies)
    again = [np.concatenate([t, t[5:6]]) for t in (suspect, base, other)]
    found = stats.score_units(again[0], twice, statistic, again[1:])
    np.testing.assert_array_equal(found, scores)


def test_equal_references_count_once(plain_units):
    suspect, base, _ = _related(np.random.default_rng(9))
    once = stats.score_units(suspect, plain_units(NUM), "log_losses", [base])
    many = stats.score_units(suspect, plain_units(NUM), "log_losses", [base] * 6)
    np.testing.assert_allclose(many, once, atol=1e-9)


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("references", [np.ones((NUM, 12)), [np.ones((NUM, 11))]])
def test_refuses_references_of_another_shape(statistic, references, plain_units):
    with pytest.raises(ValueError, match="references must be tables of the shape of loss_ta"):
        stats.score_units(np.ones((NUM, 12)), plain_units(NUM), statistic, references)


# --- What calibration is for. ---


def test_every_test_finds_more_with_the_base_as_reference(plain_assignment):
    rng = np.random.default_rng(10)
    suspect, base, _ = _related(rng, 60)
    slots = rng.integers(1, 12, 60)
    suspect[np.arange(60), slots] *= 0.8
    assignment = plain_assignment(slots)
    for statistic in STATISTICS:
        plain = stats.exact_test(suspect, assignment, statistic=statistic)
        told = stats.exact_test(suspect, assignment, statistic=statistic, references=[base])
        assert told.log10_p < plain.log10_p - 6
    assert stats.monte_carlo_test(suspect, assignment, seed=0, references=[base]) == 1e-4
    with_base = {"references": [base]}
    assert stats.count_hits(suspect, assignment, **with_base) > 40
    assert stats.count_hits(suspect, assignment) < 30
    for by in stats.INVERSIONS:
        bounds = [stats.how_many(suspect, assignment, by=by, **m) for m in ({}, with_base)]
        assert bounds[1].num_used > bounds[0].num_used + 10
    lists = [stats.which_units(suspect, assignment, **more) for more in ({}, with_base)]
    assert len(lists[1].units) > len(lists[0].units) + 10


# --- Validity, and near lies. ---


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("reference", REFERENCES)
def test_fresh_keys(statistic, reference, fresh_assignments, looks_valid):
    rng = np.random.default_rng(11)
    table = _related(rng)[0]
    p_values = stats.fresh_p_values(
        table,
        fresh_assignments(NUM_KEYS, NUM),
        statistic,
        _adversarial(reference, table, rng),
    )
    assert looks_valid(p_values)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_fresh_keys_on_real_losses(statistic, innocent_table, fresh_assignments, looks_valid):
    table, other = innocent_table("real", 2 * NUM).reshape(2, NUM, 12)
    assignments = fresh_assignments(NUM_KEYS, NUM)
    assert looks_valid(stats.fresh_p_values(table, assignments, statistic, [other]))


@pytest.mark.parametrize("statistic", STATISTICS)
def test_all_slots_of_three_units(statistic, plain_units):
    """Every assignment once: #{p ≤ t} / 27 ≤ t at each attained t."""
    suspect, base, _ = _related(np.random.default_rng(12), 3, 4)
    units = plain_units(3, 4)
    p_values = sorted(
        stats.exact_test(
            suspect, Assignment(units, np.array(slots)), statistic=statistic, references=[base]
        ).p_value
        for slots in itertools.product((1, 2, 3), repeat=3)
    )
    for p in p_values:
        assert sum(q <= p for q in p_values) <= 27 * p + 1e-9


def _p_values(scores, assignments):
    integers = quantise(scores)
    survival = ExactNull(integers).survival
    return np.array([survival[observed_sum(integers, each)] for each in assignments])


def test_a_coefficient_fitted_with_the_slots_is_a_near_lie(fresh_assignments, looks_valid):
    rng = np.random.default_rng(13)
    suspect, _, other = _related(rng)
    assignments = fresh_assignments(NUM_KEYS, NUM)
    own, reference = (
        stats.score_units(t, assignments[0].units, "log_losses") for t in (suspect, other)
    )
    tried = [own - share * reference for share in (0.0, 1.0, 2.0)]
    lies = np.min([_p_values(scores, assignments) for scores in tried], axis=0)
    assert not looks_valid(lies)
    truths = _p_values(stats.calibrated_scores(own, reference), assignments)
    assert looks_valid(truths)


def test_a_reference_that_disliked_the_slots_convicts_an_innocent_model(fresh_assignments):
    """Why a reference must be older than the slots: it may be trained to this end."""
    suspect, base, _ = _related(np.random.default_rng(14), 60)
    for assignment in fresh_assignments(8, 60):
        true = np.arange(60), assignment.slot_of_unit
        made_after = base.copy()
        made_after[true] *= 1.3
        p_values = [
            stats.exact_test(suspect, assignment, references=[reference]).p_value
            for reference in (base, made_after)
        ]
        assert p_values[0] > 1e-3
        assert p_values[1] < 1e-12


def test_a_negative_coefficient_would_pass_on_a_guilty_reference(fresh_assignments):
    """The reference learned from the marks; the suspect answers the other way round."""
    rng = np.random.default_rng(15)
    suspect, _, _ = _related(rng, 60)
    for assignment in fresh_assignments(8, 60):
        guilty = 12.0 - suspect
        guilty[np.arange(60), assignment.slot_of_unit] -= 3.0
        own, other = (
            stats.score_units(t, assignment.units, "losses") for t in (suspect, guilty)
        )
        centred = other - other.mean(axis=1, keepdims=True)
        share = (centred * own).sum() / np.square(centred).sum()
        assert share < -0.2
        assert _p_values(own - share * centred, [assignment])[0] < 1e-6
        result = stats.exact_test(suspect, assignment, statistic="losses", references=[guilty])
        assert result.p_value > 1e-3
