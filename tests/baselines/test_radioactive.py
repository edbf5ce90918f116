import math
import re

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax.baselines import radioactive as radio

COSINES = (-1.0, -0.9, -0.2, 0.0, 0.1, 0.5, 0.99, 1.0)


# --- The tail of a random cosine. ---


@pytest.mark.parametrize("cosine", COSINES)
def test_on_a_circle_the_angle_is_uniform(cosine):
    assert radio.cosine_tail(cosine, 2) == pytest.approx(math.acos(cosine) / math.pi, abs=1e-12)


@pytest.mark.parametrize("cosine", COSINES)
def test_on_a_sphere_the_cosine_is_uniform(cosine):
    """Archimedes: the area of a cap is proportional to its height."""
    assert radio.cosine_tail(cosine, 3) == pytest.approx((1 - cosine) / 2, abs=1e-12)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.floats(-0.999, 0.999), st.integers(2, 300))
def test_tail_is_the_integral_of_the_density(cosine, num_features):
    """Naive twin: the density of the angle with a fixed direction is sin^(d - 2)."""

    def density(angle):
        return math.sin(angle) ** (num_features - 2)

    points = [math.pi / 2]
    total = scipy.integrate.quad(density, 0, math.pi, points=points)[0]
    part = scipy.integrate.quad(density, 0, math.acos(cosine), limit=200)[0]
    assert radio.cosine_tail(cosine, num_features) == pytest.approx(part / total, abs=1e-6)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.floats(-1, 1), st.integers(2, 2048))
def test_tails_of_both_sides_sum_to_one(cosine, num_features):
    both = radio.cosine_tail(cosine, num_features) + radio.cosine_tail(-cosine, num_features)
    assert both == pytest.approx(1.0)


def test_many_dimensions_are_normal():
    """cosine √d → N(0, 1)."""
    tail = radio.cosine_tail(3.0 / math.sqrt(100_000), 100_000)
    assert tail == pytest.approx(scipy.stats.norm.sf(3.0), rel=1e-3)


def test_tail_keeps_its_digits_near_one():
    # d = 3: exact (1 - c) / 2, of which 1 - c² would leave no digit.
    cosine = 1.0 - 2.0**-40
    assert radio.cosine_tail(cosine, 3) == pytest.approx(2.0**-41, rel=1e-9)


def test_edges_of_the_tail():
    assert radio.cosine_tail(1.0 + 1e-12, 7) == 0.0
    assert radio.cosine_tail(-1.0 - 1e-12, 7) == 1.0
    assert radio.cosine_tail(math.nan, 7) == 1.0
    with pytest.raises(ValueError, match=r"^num_features must be at least 2, got 1$"):
        radio.cosine_tail(0.0, 1)


@pytest.mark.parametrize("num_features", [2, 5, 64])
def test_drawn_carriers_have_that_tail(num_features):
    """Calibration: p-values of random carriers are uniform; under a dimension less, not."""
    carriers = radio.draw_carriers(7, 4000, num_features)
    fixed = np.arange(1.0, num_features + 1)
    cosines = carriers @ fixed / np.linalg.norm(fixed)
    p_values = [radio.cosine_tail(cosine, num_features) for cosine in cosines]
    assert scipy.stats.kstest(p_values, "uniform").pvalue > 0.01
    lie = [radio.cosine_tail(cosine, 2 * num_features) for cosine in cosines]
    assert scipy.stats.kstest(lie, "uniform").pvalue < 1e-6


# --- Fisher's method. ---


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=30))
def test_fisher_is_scipys(p_values):
    expected = scipy.stats.combine_pvalues(p_values, "fisher").pvalue
    assert radio.fisher_log10(np.array(p_values)) == pytest.approx(
        math.log10(expected), rel=1e-8, abs=1e-9
    )


def test_fisher_does_not_underflow():
    log10_p = radio.fisher_log10(np.full(100, 1e-300))
    assert -30_000 < log10_p < -29_000
    # 2 k = 2: the combined p of one p is that p.
    assert radio.fisher_log10(np.array([1e-300])) == pytest.approx(-300)
    assert radio.fisher_log10(np.array([0.0])) == pytest.approx(-307.65, abs=0.1)
    with pytest.raises(ValueError, match=r"^num_p_values must be at least 1, got 0$"):
        radio.fisher_log10(np.array([]))


# --- The test. ---


def _suspect(rng, num_features=12, num_photos=400, num_classes=6):
    """Features of the marking network, and of a suspect whose space is a linear map of it."""
    marking = rng.normal(size=(num_photos, num_features))
    mapping = rng.normal(size=(num_features, num_features + 3))
    return marking, mapping, marking @ mapping, num_classes


def test_planted_weights_are_found_through_another_feature_space(rng):
    marking, mapping, features, num_classes = _suspect(rng)
    carriers = radio.draw_carriers(5, num_classes, marking.shape[1])
    # Weights that act on marking features as the carriers do: mapping @ w = carrier.
    planted = np.linalg.pinv(mapping) @ carriers.T
    result = radio.white_box_test(carriers, 3.0 * planted, marking, features)
    np.testing.assert_allclose(result.cosines, 1.0, atol=1e-9)
    assert result.log10_p < -100
    assert result.residual == pytest.approx(0.0, abs=1e-12)
    # The opposite direction is no evidence.
    opposite = radio.white_box_test(carriers, -planted, marking, features)
    np.testing.assert_allclose(opposite.cosines, -1.0, atol=1e-9)
    assert opposite.p_value == 1.0
    # Without the alignment the same weights say little.
    rotated = features @ np.linalg.qr(rng.normal(size=(15, 15)))[0]
    lost = radio.white_box_test(carriers, planted, marking, rotated)
    assert abs(lost.cosines).mean() < 0.6


def test_part_of_a_carrier_is_found(rng):
    marking, mapping, features, num_classes = _suspect(rng, 64, 800, 20)
    carriers = radio.draw_carriers(5, num_classes, 64)
    own = rng.normal(size=carriers.shape)
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    weights = np.linalg.pinv(mapping) @ (own + 0.5 * carriers).T
    result = radio.white_box_test(carriers, weights, marking, features)
    np.testing.assert_allclose(result.cosines.mean(), 0.5 / math.sqrt(1.25), atol=0.1)
    assert result.log10_p < -10
    others = radio.draw_carriers(6, num_classes, 64)
    assert radio.white_box_test(others, weights, marking, features).log10_p > -3


def test_p_values_of_innocent_suspects_are_uniform(rng):
    """Whatever the weights: the randomness is the carriers', also where alignment is poor."""
    marking = rng.normal(size=(50, 8))
    features = np.abs(rng.normal(size=(50, 5))) + marking[:, :5] ** 2
    kernel = rng.normal(size=(5, 4)) + 3.0  # all classes alike
    p_values = [
        radio.white_box_test(radio.draw_carriers(seed, 4, 8), kernel, marking, features).p_value
        for seed in range(800)
    ]
    assert scipy.stats.kstest(p_values, "uniform").pvalue > 0.01


def test_a_class_without_weights_is_no_evidence(rng):
    marking, _, features, num_classes = _suspect(rng)
    carriers = radio.draw_carriers(5, num_classes, marking.shape[1])
    kernel = np.zeros((features.shape[1], num_classes))
    result = radio.white_box_test(carriers, kernel, marking, features)
    assert np.isnan(result.cosines).all()
    assert (result.p_value, result.log10_p) == (1.0, 0.0)
    plain = result.plain()
    assert (plain["cosine_mean"], plain["cosine_std"]) == (None, None)
    assert plain["cosines"] == [None] * num_classes
    one = np.eye(features.shape[1], num_classes) * [1, 0, 0, 0, 0, 0]
    plain = radio.white_box_test(carriers, one, marking, features).plain()
    assert plain["cosine_mean"] == plain["cosines"][0]
    assert plain["cosines"][1:] == [None] * 5


def test_align_is_least_squares_by_gradient(rng):
    marking, suspect = rng.normal(size=(40, 4)), rng.normal(size=(40, 3))
    solution, residual = radio.align(marking, suspect)
    # Naive twin: the normal equations, column by column.
    for column in range(3):
        expected = np.linalg.solve(marking.T @ marking, marking.T @ suspect[:, column])
        np.testing.assert_allclose(solution[:, column], expected, atol=1e-12)
    left = ((marking @ solution - suspect) ** 2).sum() / (suspect**2).sum()
    assert residual == pytest.approx(left)
    assert 0 < residual < 1


GOOD = np.eye(3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2 * GOOD, GOOD, GOOD, GOOD), "carriers must have rows of length 1"),
        (
            (GOOD, GOOD[:2], GOOD, GOOD),
            "class_weights must have shape (suspect features, classes) and carriers (classes, "
            "marking features) for features (3, 3), got (2, 3) and (3, 3)",
        ),
        (
            (GOOD, GOOD, GOOD, GOOD[:2]),
            "suspect_features must be of the same 3 images as marking_features, got 2",
        ),
        ((GOOD, GOOD, GOOD[0], GOOD), "marking_features must be a matrix, got shape (3,)"),
        ((GOOD, GOOD * np.nan, GOOD, GOOD), "class_weights must be finite"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        radio.white_box_test(*arguments)
