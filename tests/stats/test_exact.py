"""The tilted convolution against exact integers."""

import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.special
import scipy.stats

from anw_jax import stats
from anw_jax.stats.exact import ExactNull, convolve_all, quantise


def _fractions_tail(counts, total_ways):
    """P(S ≥ s) for each attained s, exact."""
    tails, so_far = {}, 0
    for value in sorted(counts, reverse=True):
        so_far += counts[value]
        tails[value] = Fraction(so_far, total_ways)
    return tails


def _integers(name):
    rng = np.random.default_rng(17)
    return {
        "one unit": rng.integers(0, 1000, (1, 11)),
        "continuous": quantise(rng.normal(size=(4, 11))),
        "heavy tails": quantise(rng.standard_cauchy((4, 11))),
        "two slots": rng.integers(0, 300, (40, 2)),
        "one valid slot": quantise(rng.normal(size=(9, 1))),
        "constant rows": quantise(np.repeat(rng.normal(size=(9, 1)), 11, axis=1)),
        "some constant": quantise(rng.normal(size=(5, 4)) * [[1], [0], [0], [1], [0]]),
        "ranks": rng.permuted(np.tile(np.arange(11), (60, 1)), axis=1),
        "hits": quantise((rng.permuted(np.tile(np.arange(11), (60, 1)), axis=1) == 0) * 1.0),
        "dominating": quantise(np.vstack([rng.normal(size=(9, 5)), 1e4 * np.arange(5)])),
        "mixed sizes": rng.integers(0, 60, (60, 11)) * rng.integers(0, 3, (60, 1)),
        "gaps": np.array([[0, 65535, 0, 0]] + [[0, 1, 0, 3]] * 8),
    }[name]


NAMES = (
    "one unit,continuous,heavy tails,two slots,one valid slot,constant rows,some constant,"
    "ranks,hits,dominating,mixed sizes,gaps"
).split(",")


@pytest.mark.parametrize("name", NAMES)
def test_never_below_the_true_p_and_within_1e_9(name, exact_counts):
    integers = _integers(name)
    null = ExactNull(integers - integers.min(axis=1, keepdims=True))
    integers = null.integers
    tails = _fractions_tail(exact_counts(integers), integers.shape[1] ** len(integers))
    attained = sorted(tails)
    chosen = {attained[i] for i in np.linspace(0, len(attained) - 1, 25).astype(int)}
    chosen |= set(attained[-6:]) | set(attained[:3])
    for observed in chosen:
        log_p = null.log_p_value(observed)
        true = tails[observed]
        true_log = math.log(true.numerator) - math.log(true.denominator)
        p = Fraction(min(1.0, math.exp(log_p) * (1 + 1e-15)))
        assert p >= true, (observed, log_p, true_log)
        assert log_p <= true_log + 1e-9, (observed, log_p, true_log)
        assert true <= Fraction(float(null.survival[observed])) <= true + Fraction(1, 10**8)


def test_the_ranks_table_reaches_1e_60():
    assert ExactNull(_integers("ranks")).smallest_log_p < math.log(1e-60)


@pytest.mark.parametrize("name", NAMES)
def test_log_p_falls_with_the_observed_sum(name):
    null = ExactNull(_integers(name) - _integers(name).min(axis=1, keepdims=True))
    sums = np.unique(np.linspace(-1, null.largest + 1, 20).astype(int))
    log_p = np.array([null.log_p_value(int(s)) for s in sums])
    assert (np.diff(log_p) <= 2e-9).all()
    assert log_p[0] == 0.0
    assert (log_p <= 0).all()


@pytest.mark.slow
def test_fifty_thousand_units_stay_close_to_the_binomial():
    integers = np.zeros((50_000, 11), np.int64)
    integers[:, 4] = 1
    null = ExactNull(integers)
    for observed in (4_500, 5_000, 9_000, 49_999, 50_000):
        # logsf underflows at 1e-308, the sum of the masses does not.
        hits = np.arange(observed, 50_001)
        true = scipy.special.logsumexp(scipy.stats.binom.logpmf(hits, 50_000, 1 / 11))
        assert null.log_p_value(observed) == pytest.approx(true, abs=1e-6, rel=1e-11)


def test_the_error_bound_of_the_convolution_holds_and_is_small(exact_counts):
    integers = _integers("mixed sizes")
    rows = [np.bincount(row) / len(row) for row in integers]
    pmf, bound = convolve_all(rows)
    total = integers.shape[1] ** len(integers)
    exact = np.zeros(len(pmf))
    for value, ways in exact_counts(integers).items():
        exact[value] = float(Fraction(ways, total))
    distance = np.abs(pmf - exact).sum()
    assert distance <= bound / 10  # the bound is a worst case
    assert bound < 1e-9


def test_the_bound_is_needed(exact_counts):
    """Without it, and far from the tilted mean, rounding shows: the near lie."""
    integers = _integers("ranks")
    null = ExactNull(integers)
    pmf = null.pmf
    naive = pmf[null.largest - 3 :].sum()
    true = _fractions_tail(exact_counts(integers), 11**60)[null.largest - 3]
    assert abs(naive - true) > true  # plain convolution knows nothing of 1e-60
    assert null.log_p_value(null.largest - 3) == pytest.approx(
        math.log(true.numerator) - math.log(true.denominator), abs=1e-9
    )


@pytest.mark.parametrize(
    "scores",
    [
        np.array([[0.0, 1e-300, 5e-301]]),
        np.array([[0.0, 1e29, 5e28], [0.0, 1.0, 2.0]]),
        np.array([[0.0, 5e-324, 0.0], [0.0, 0.0, 0.0]]),
        np.array([[0.0, 1e-310, 3e-310]]),
        np.full((3, 11), 7.25),
        np.zeros((2, 1)),
        np.array([[1e15, 1e15 + 1, 1e15]]),
    ],
)
def test_quantise_on_the_edge(scores):
    integers = quantise(scores)
    assert (integers.min(axis=1) == 0).all()
    assert integers.dtype == np.int64
    # Order is kept wherever it is resolved; equal scores stay equal.
    for row, ints in zip(scores, integers, strict=True):
        np.testing.assert_array_equal(np.diff(ints[np.argsort(row)]) >= 0, True)
    assert integers.max() <= 2 * 2**16


def test_quantise_is_a_function_of_the_multiset_of_rows():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 5, (200, 11)) / 3
    order = rng.permutation(200)
    np.testing.assert_array_equal(quantise(scores)[order], quantise(scores[order]))


def test_z_and_moments(plain_assignment):
    rng = np.random.default_rng(1)
    integers = quantise(rng.normal(size=(30, 11)))
    null = ExactNull(integers)
    values = np.arange(len(null.pmf))
    assert null.mean == pytest.approx(values @ null.pmf)
    assert null.std == pytest.approx(math.sqrt(values**2 @ null.pmf - null.mean**2))
    assert null.pmf.sum() == pytest.approx(1)
    table = rng.normal(size=(30, 12))
    result = stats.exact_test(table, plain_assignment(rng.integers(1, 12, 30)))
    assert abs(result.z) < 5


@pytest.mark.parametrize("num_valid", [12, 999, 65_535])
@pytest.mark.parametrize("num_worst", [1, 2, 7])
def test_the_best_outcome_has_its_closed_form(num_valid, num_worst):
    integers = np.ones((1, num_valid), np.int64)
    integers[0, :num_worst] = 0
    p = Fraction(math.exp(ExactNull(integers).log_p_value(1)) * (1 + 1e-15))
    true = Fraction(num_valid - num_worst, num_valid)
    assert true <= p <= true * (1 + Fraction(1, 10**12))
