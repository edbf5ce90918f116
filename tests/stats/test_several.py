"""Which correction answers which question, and that each keeps its rate."""

import decimal
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax import stats
from anw_jax.stats.testing import exp_up

LOGS = st.lists(st.floats(-20, 20), min_size=1, max_size=8)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(LOGS)
def test_the_mean_is_the_naive_mean(logs):
    log_mean, p_value = stats.mean_of_e_values(logs)
    naive = sum(map(math.exp, logs)) / len(logs)
    assert math.exp(log_mean) == pytest.approx(naive, rel=1e-9)
    assert p_value == pytest.approx(min(1, 1 / naive), rel=1e-9)
    assert p_value >= min(1, 1 / naive) * (1 - 1e-15)


@settings(derandomize=True, deadline=None, max_examples=80)
@given(LOGS, st.floats(0.01, 0.9))
def test_e_bh_is_the_naive_e_bh(logs, q):
    """Twin: the largest set whose every member has e ≥ m / (q · size), over all subsets."""
    listed = stats.e_bh(logs, q)
    m, best = len(logs), set()
    for size in range(1, m + 1):
        for subset in itertools.combinations(range(m), size):
            if all(logs[i] >= math.log(m / (q * size)) for i in subset):
                best = set(subset)
    assert listed.sum() == len(best)
    if listed.any():
        assert min(np.array(logs)[listed]) >= max(np.array(logs)[~listed], default=-np.inf)


def test_edges():
    assert stats.mean_of_e_values([-np.inf, -np.inf]) == (-np.inf, 1.0)
    assert stats.e_bh([-np.inf, 0.0], 0.5).tolist() == [False, False]
    assert stats.e_bh([5.0, 5.0], 0.5).tolist() == [True, True]
    assert stats.bonferroni([1.0], 0.5).tolist() == [False]
    assert stats.mean_of_e_values([2_000.0])[1] > 0  # beyond floats, never 0


@pytest.mark.parametrize("bad", [[], [np.nan], [np.inf], [[0.0]]])
def test_what_is_no_e_value_is_refused(bad):
    for correct in (stats.mean_of_e_values, lambda logs: stats.e_bh(logs, 0.1)):
        with pytest.raises(ValueError, match="log_e_values must be a non-empty vector"):
            correct(bad)


def test_what_is_no_p_value_is_refused():
    for bad in ([], [1.1], [np.nan]):
        with pytest.raises(ValueError, match="p_values must be a non-empty vector in"):
            stats.bonferroni(bad, 0.05)
    with pytest.raises(ValueError, match="p_value must be above 0, got 0"):
        stats.log_e_from_p(0.0)
    with pytest.raises(ValueError, match=r"q must lie strictly between 0.0 and 1.0, got 1"):
        stats.e_bh([0.0], 1)


def test_a_calibrated_p_value_has_mean_one():
    """∫ κ p^(κ - 1) dp = 1, by midpoints in the variable p^κ."""
    for kappa in (0.3, 0.5, 0.9):
        u = (np.arange(10_000) + 0.5) / 10_000
        p_values = u ** (1 / kappa)
        e_values = [math.exp(stats.log_e_from_p(p, kappa)) for p in p_values]
        density = u ** (1 / kappa - 1) / kappa  # dp / du
        assert (np.array(e_values) * density).mean() == pytest.approx(1, rel=1e-6)


def _null_e_values(rng, num_runs, num_tests, num_steps=20):
    """Wealths at the end of the default bet; tests share rows and slots in part."""
    scores = rng.normal(size=(num_steps, 11))
    own = rng.integers(1, 12, (num_runs, num_tests, num_steps))
    shared = np.where(rng.random((num_runs, 1, num_steps)) < 0.5, own[:, :1], own)
    return stats.mixture_log_wealth(scores, shared)[..., -1]


def test_dependent_innocent_models_are_rarely_named(rng):
    logs = _null_e_values(rng, 1_000, 5)
    any_model = [stats.mean_of_e_values(row)[1] <= 0.05 for row in logs]
    assert np.mean(any_model) <= 0.05 + 3.1 * math.sqrt(0.05 * 0.95 / 1_000)
    listed = [stats.e_bh(row, 0.05).any() for row in logs]
    assert np.mean(listed) <= 0.05 + 3.1 * math.sqrt(0.05 * 0.95 / 1_000)


def test_e_bh_keeps_its_rate_among_true_ones_and_best_of_five_does_not(rng):
    logs = _null_e_values(rng, 500, 5)
    logs[:, :2] = 12.0
    shares = [stats.e_bh(row, 0.2)[2:].sum() / 5 for row in logs]
    assert np.mean(shares) <= 0.2
    # Near lie: the largest of five e-values, uncorrected, with the best time to stop.
    scores, slots = rng.normal(size=(40, 11)), rng.integers(1, 12, (1_000, 5, 40))
    best = stats.mixture_log_wealth(scores, slots).max(axis=(1, 2))
    assert (best >= math.log(20)).mean() > 0.05


def test_no_rounding_is_on_the_unsafe_side(rng):
    """Against 60 digits: e-values and their mean never too large, p never too small."""
    decimal.getcontext().prec = 60
    for _ in range(300):
        logs = rng.uniform(-690, 690, rng.integers(1, 6))
        truth = sum(decimal.Decimal(x).exp() for x in logs) / len(logs)
        log_mean, p_value = stats.mean_of_e_values(logs)
        assert decimal.Decimal(log_mean) <= truth.ln()
        assert decimal.Decimal(log_mean) > truth.ln() - decimal.Decimal("1e-11")
        assert decimal.Decimal(p_value) >= min(1, 1 / truth)
        p, kappa = float(np.exp(-rng.uniform(0, 690))), rng.uniform(0.01, 0.99)
        e = decimal.Decimal(kappa) * decimal.Decimal(p) ** (decimal.Decimal(kappa) - 1)
        assert decimal.Decimal(stats.log_e_from_p(p, kappa)) <= e.ln()
        log_p = rng.uniform(-745, -700)  # subnormal numbers, most of them
        assert decimal.Decimal(exp_up(log_p)) >= decimal.Decimal(log_p).exp()


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.lists(st.floats(-8, 0), min_size=1, max_size=8), st.integers(0, 5))
def test_holm_is_the_naive_step_down(logs, more):
    num_tests, named = len(logs) + more, set()
    for step, place in enumerate(sorted(range(len(logs)), key=lambda n: logs[n])):
        if logs[place] > math.log10(0.05) - math.log10(num_tests - step) - 1e-9:
            break
        named.add(place)
    assert set(np.flatnonzero(stats.holm(logs, 0.05, num_tests))) == named


def test_holm_keeps_its_rate_and_more_than_it_would_not():
    rng = np.random.default_rng(5)
    logs = np.log10(rng.random((4000, 10)))
    logs[:, :3] = -9.0  # false hypotheses, which are named
    honest = np.mean([stats.holm(row, 0.05, 10)[3:].any() for row in logs])
    assert honest < 0.05 + 3.3 * math.sqrt(0.05 * 0.95 / 4000)
    uncorrected = np.mean((logs[:, 3:] <= math.log10(0.05)).any(axis=1))
    assert uncorrected > 0.2


@pytest.mark.parametrize(
    ("logs", "num_tests", "text"),
    [
        ([0.1], 1, "log10_p must be a vector of numbers up to 0"),
        ([math.nan], 1, "log10_p must be"),
        ([-1.0, -2.0], 1, "num_tests must be at least 2"),
    ],
)
def test_bad_input_of_holm_is_one_error(logs, num_tests, text):
    with pytest.raises(ValueError, match=text):
        stats.holm(logs, 0.05, num_tests)
    assert stats.holm([], 0.05, 3).tolist() == []
