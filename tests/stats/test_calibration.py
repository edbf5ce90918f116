"""Calibration by references: exact, blind to the slots, and useful."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from anw_jax import stats
from anw_jax.stats import ExactNull, calibrated_scores, quantise

NUM, VALID = 25, 5


def _scores(rng, imprint=0.0, slots=None):
    """Scores of a suspect, of its base, and of another model; the suspect liked `slots`."""
    likes = rng.normal(0, 1, (NUM, VALID))
    base = likes + 0.1 * rng.normal(0, 1, (NUM, VALID))
    suspect = 1.3 * likes + 0.1 * rng.normal(0, 1, (NUM, VALID))
    if slots is not None:
        suspect[np.arange(NUM), slots - 1] += imprint
    return suspect, base, rng.normal(0, 1, (NUM, VALID))


def _log_p(scores, slots):
    integers = quantise(scores)
    return ExactNull(integers).log_p_value(int(integers[np.arange(NUM), slots - 1].sum()))


def test_two_references_equal_the_textbook_solution():
    suspect, base, other = _scores(np.random.default_rng(0))
    suspect = suspect + 0.5 * other
    centred = [s - s.mean(axis=1, keepdims=True) for s in (suspect, base, other)]
    columns = np.stack([each.ravel() for each in centred[1:]], axis=1)
    fit = np.linalg.lstsq(columns, centred[0].ravel(), rcond=None)[0]
    assert (fit > 0).all()
    twin = suspect - fit[0] * centred[1] - fit[1] * centred[2]
    np.testing.assert_allclose(calibrated_scores(suspect, base, other), twin, atol=1e-9)


def test_a_reference_that_points_the_other_way_changes_nothing():
    suspect, base, _ = _scores(np.random.default_rng(1))
    np.testing.assert_array_equal(calibrated_scores(suspect, -base), suspect)


def test_unanswered_rows_stay_constant_and_take_no_part_in_the_fit():
    suspect, base, _ = _scores(np.random.default_rng(2))
    suspect[3] = 0.0
    base[5] = 0.0
    calibrated = calibrated_scores(suspect, base)
    assert not calibrated[3].any()
    np.testing.assert_array_equal(calibrated[5], suspect[5])
    kept = np.arange(NUM) != 3
    alone = calibrated_scores(suspect[kept], base[kept])
    np.testing.assert_allclose(calibrated[kept], alone, atol=1e-12)
    assert not calibrated_scores(0 * suspect, base).any()


def test_it_finds_an_imprint_that_the_plain_scores_hide():
    rng = np.random.default_rng(3)
    slots = rng.integers(1, VALID + 1, NUM)
    suspect, base, other = _scores(rng, imprint=0.5, slots=slots)
    plain = _log_p(suspect, slots)
    assert _log_p(calibrated_scores(suspect, base), slots) < -10
    assert plain > -9
    assert _log_p(calibrated_scores(suspect, other), slots) == pytest.approx(plain, abs=3)


def test_p_is_super_uniform_over_slots_and_a_reference_that_saw_them_is_a_near_lie():
    """The reference may depend on anything but the slots."""
    rng = np.random.default_rng(4)
    suspect, base, _ = _scores(rng)
    integers = quantise(calibrated_scores(suspect, base))
    null = ExactNull(integers)
    draws = rng.integers(0, VALID, (4000, NUM))
    sums = integers[np.arange(NUM), draws].sum(axis=1)
    p_values = np.cumsum(null.pmf[::-1])[::-1][sums]  # P(sum >= observed)
    is_valid, _ = stats.super_uniformity(p_values)
    assert is_valid
    saw = []
    for _ in range(40):
        slots = rng.integers(1, VALID + 1, NUM)
        marked = base.copy()
        marked[np.arange(NUM), slots - 1] -= 1.0  # it was punished for the owner's versions
        saw.append(np.exp(_log_p(calibrated_scores(suspect, marked), slots)))
    assert not stats.super_uniformity(np.array(saw))[0]


@settings(max_examples=30, deadline=None)
@given(
    hnp.arrays(np.float64, (6, 4), elements=st.floats(-50, 50)),
    hnp.arrays(np.float64, (6, 4), elements=st.floats(-50, 50)),
)
def test_what_is_left_is_never_more(scores, reference):
    def spread(values):
        return np.square(values - values.mean(axis=1, keepdims=True)).sum()

    assert spread(calibrated_scores(scores, reference)) <= spread(scores) * (1 + 1e-9) + 1e-9


@pytest.mark.parametrize(
    ("references", "words"),
    [
        ((), "at least one"),
        ((np.zeros((2, 3)),), r"shape of the scores, \(2, 2\)"),
        ((np.full((2, 2), np.nan),), "references must be finite"),
    ],
)
def test_refuses(references, words):
    with pytest.raises(ValueError, match=words):
        calibrated_scores(np.eye(2), *references)
