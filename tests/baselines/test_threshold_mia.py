import math
import re

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax.baselines import threshold_mia as mia

PHI = scipy.stats.norm.cdf


# --- Analytic and published cases. ---


@pytest.mark.parametrize("separation", [0.5, 1.0, 2.0, 3.0])
def test_gaussian_losses(separation):
    """Members N(0, 1), others N(d, 1): best threshold d/2, advantage 2 Phi(d/2) - 1."""
    rng = np.random.default_rng(4)
    members, others = rng.normal(0, 1, 100_000), rng.normal(separation, 1, 100_000)
    results = mia.compare(members, others, num_known=50_000, seed=1)
    best = 2 * PHI(separation / 2) - 1
    noise = 4 * math.sqrt(0.5 / 50_000)
    assert results["MIA-pow"]["advantage"] == pytest.approx(best, abs=noise)
    assert results["MIA-pow"]["threshold"] == pytest.approx(separation / 2, abs=0.2)
    # The mean of the members calls half of them, and Phi(-d) of the others.
    assert results["MIA-std"]["advantage"] == pytest.approx(0.5 - PHI(-separation), abs=noise)
    # The check can tell: a near lie about the separation falls outside.
    assert abs(results["MIA-pow"]["advantage"] - (2 * PHI(separation / 2 + 0.1) - 1)) > noise


@pytest.mark.parametrize(("member_std", "other_std"), [(1.0, 2.0), (1.0, 5.0)])
def test_theorem_of_yeom(member_std, other_std):
    """Gaussian errors of two sizes (Yeom et al. 2018): erf - erf where densities cross."""
    rng = np.random.default_rng(8)
    members = np.abs(rng.normal(0, member_std, 100_000))
    others = np.abs(rng.normal(0, other_std, 100_000))
    ratio = other_std / member_std
    crossing = other_std * math.sqrt(2 * math.log(ratio) / (ratio**2 - 1))
    expected = math.erf(crossing / (math.sqrt(2) * member_std)) - math.erf(
        crossing / (math.sqrt(2) * other_std)
    )
    result = mia.compare(members, others, num_known=50_000)["MIA-pow"]
    assert result["threshold"] == pytest.approx(crossing, abs=0.15)
    assert result["advantage"] == pytest.approx(expected, abs=4 * math.sqrt(0.5 / 50_000))


def test_losses_of_one_distribution_give_no_advantage():
    """Calibration: what is learnt from the known photos does not carry over."""
    advantages = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        results = mia.compare(rng.exponential(size=300), rng.exponential(size=300), seed=seed)
        advantages.append(results["MIA-pow"]["advantage"])
    standard_error = np.std(advantages) / math.sqrt(200)
    assert abs(np.mean(advantages)) < 4 * standard_error
    assert standard_error < 0.01


# --- A naive twin. ---


def _naive_pow(members, others, num_candidates, span):
    mean = sum(members) / len(members)
    std = math.sqrt(sum((loss - mean) ** 2 for loss in members) / len(members))
    best, best_advantage = None, -math.inf
    for number in range(num_candidates):
        threshold = mean + std * (-span + 2 * span * number / (num_candidates - 1))
        hit = sum(loss < threshold for loss in members) / len(members)
        false = sum(loss < threshold for loss in others) / len(others)
        if hit - false > best_advantage + 1e-12:
            best, best_advantage = threshold, hit - false
    return best


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 40), st.floats(0.1, 4))
def test_pow_is_its_naive_twin(seed, num_members, num_others, scale):
    rng = np.random.default_rng(seed)
    members = rng.exponential(scale, num_members)
    others = rng.exponential(1.0, num_others)
    found = mia.pow_threshold(members, others, num_candidates=101, span=3.0)
    expected = _naive_pow(members.tolist(), others.tolist(), 101, 3.0)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.floats(-1, 2))
def test_counts_are_those_of_a_plain_loop(seed, threshold):
    rng = np.random.default_rng(seed)
    members, others = rng.normal(0, 1, 13), rng.normal(1, 1, 7)
    result = mia.apply_threshold(threshold, members, others)
    right = sum(loss < threshold for loss in members) + sum(
        loss >= threshold for loss in others
    )
    assert result.num_right == right
    assert result.accuracy == pytest.approx(right / 20)
    assert result.balanced_accuracy == pytest.approx((1 + result.advantage) / 2)
    swapped = mia.apply_threshold(threshold, others, members)
    assert swapped.advantage == pytest.approx(-result.advantage)


def test_advantage_of_equal_numbers_is_twice_the_accuracy_above_a_half():
    result = mia.apply_threshold(0.5, np.array([0.1, 0.2, 0.9]), np.array([0.3, 0.7, 0.8]))
    assert result.advantage == pytest.approx(2 * (result.accuracy - 0.5))


# --- Edges. ---


@pytest.mark.parametrize(
    ("threshold", "members", "others", "advantage"),
    [
        (1.0, [0.5], [2.0], 1.0),  # all right
        (1.0, [2.0], [0.5], -1.0),  # all wrong
        (1.0, [1.0], [1.0], 0.0),  # at the threshold nobody is a member
        (9.0, [0.1, 0.2], [0.3, 0.4], 0.0),  # everybody is
        (1.0, [np.nan, 0.5], [np.nan, -np.inf], 0.5),  # no answer, no member
    ],
)
def test_edges_of_the_threshold(threshold, members, others, advantage):
    assert mia.apply_threshold(threshold, members, others).advantage == advantage


def test_a_tie_goes_to_the_lowest_threshold():
    members, others = np.array([0.0, 1.0]), np.array([9.0, 10.0])
    grid = 0.5 + 0.5 * np.linspace(-5, 5, 1001)
    found = mia.pow_threshold(members, others)
    assert found == grid[grid > 1.0].min()


def test_known_losses_that_are_all_equal():
    # All candidates are that one loss, below which there is nobody.
    assert mia.pow_threshold(np.full(5, 0.25), np.ones(5)) == 0.25
    assert mia.apply_threshold(0.25, np.full(5, 0.25), np.ones(5)).advantage == 0.0


def test_known_photos_are_no_targets():
    members = np.arange(30.0)
    result = mia.compare(members, members + 100, num_known=10)["MIA-pow"]
    assert (result["num_members"], result["num_others"]) == (20, 20)
    again = mia.compare(members, members + 100, num_known=10, seed=0)["MIA-pow"]
    assert again == result
    assert (
        mia.compare(members, members + 100, num_known=10, seed=1)["MIA-std"]
        != (mia.compare(members, members + 100, num_known=10, seed=0)["MIA-std"])
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: mia.std_threshold(np.array([])),
            "known_member_losses must hold at least one loss [n], got shape (0,)",
        ),
        (
            lambda: mia.std_threshold(np.array([1.0, np.nan])),
            "known_member_losses must be finite, got nan",
        ),
        (
            lambda: mia.pow_threshold([1.0], [[1.0]]),
            "known_other_losses must hold at least one loss [n], got shape (1, 1)",
        ),
        (
            lambda: mia.pow_threshold([1.0], [1.0], num_candidates=0),
            "num_candidates must be at least 1, got 0",
        ),
        (lambda: mia.pow_threshold([1.0], [1.0], span=0.0), "span must be above 0, got 0.0"),
        (
            lambda: mia.apply_threshold(np.nan, [1.0], [1.0]),
            "threshold must be finite, got nan",
        ),
        (
            lambda: mia.compare(np.ones(100), np.ones(200)),
            "member_losses must hold more than num_known = 100 images, got 100",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
