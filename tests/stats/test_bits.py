"""The exact test of a model watermark's bits, against enumeration and near lies."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats

from anw_jax import stats
from anw_jax.keys import Bits, MarkKey, Plan, draw_bits
from anw_jax.stats.bits import bit_integers

PLAN = Plan("bit_signs", 1e-6, mark="multitask:" + "0f" * 32, beacon="arbitrator:A")


def fresh_bits(count: int, num_bits: int, tag: str) -> list[Bits]:
    """Draws through HMAC, not through a generator of random numbers."""
    key = MarkKey.for_experiment(0, tag)
    return [
        draw_bits(key, PLAN, num_bits, beacon=number.to_bytes(32, "big"))
        for number in range(count)
    ]


def twin_p(scores: np.ndarray, bits: Bits, statistic: str) -> Fraction:
    """P(S ≥ s), by enumeration of all 2^n bits on the same integers."""
    integers = bit_integers(scores, statistic)
    rows = [tuple(map(int, row)) for row in integers]
    observed = sum(row[int(y == 1)] for row, y in zip(rows, bits.signs, strict=True))
    sums = [sum(choice) for choice in itertools.product(*rows)]
    return Fraction(sum(total >= observed for total in sums), len(sums))


TABLES = {
    "one bit": [0.3],
    "equal": [1.0] * 9,
    "signs": [1.0, -2.0, 0.5, -0.1, 4.0, -4.0],
    "one absurd": [1e29, 1.0, -1.0, 0.5, 2.0, -3.0],
    "unusable": [math.nan, math.inf, -math.inf, 1e31, 0.4, -2.0, 0.0],
    "tiny": [5e-324, -5e-324, 1e-310],
    "spread": [0.1, 10.0, -0.01, 100.0, -3.0, 0.7, 1.3, -1.1],
    "all zero": [0.0, 0.0, 0.0],
}


@pytest.mark.parametrize("statistic", stats.BIT_STATISTICS)
@pytest.mark.parametrize("name", TABLES)
def test_p_is_that_of_enumeration(name, statistic):
    scores = np.array(TABLES[name])
    for signs in itertools.product((-1, 1), repeat=min(len(scores), 6)):
        bits = Bits(np.array([*signs, *[1] * (len(scores) - len(signs))]))
        result = stats.bit_test(scores, bits, statistic=statistic, alpha=0.05)
        true = twin_p(scores, bits, statistic)
        assert true <= Fraction(result.p_value) <= true * Fraction(1 + 10**-9)


@pytest.mark.parametrize("statistic", stats.BIT_STATISTICS)
@pytest.mark.parametrize("name", TABLES)
def test_p_is_valid_at_every_level_it_attains(name, statistic):
    scores = np.array(TABLES[name])
    every = [Bits(np.array(signs)) for signs in itertools.product((-1, 1), repeat=len(scores))]
    p_values = stats.fresh_bit_p_values(scores, every, statistic)
    for level in np.unique(p_values):
        assert (p_values <= level).mean() <= level


def test_signs_have_the_binomial_tail(rng):
    scores = rng.normal(size=300)
    for num_right in (120, 150, 151, 211, 299, 300):
        signs = np.sign(scores).astype(int)
        signs[num_right:] *= -1
        result = stats.bit_test(scores, Bits(signs), statistic="bit_signs")
        expected = scipy.stats.binom.logsf(num_right - 1, 300, 0.5) / math.log(10)
        assert result.log10_p == pytest.approx(expected, abs=1e-9)
        assert result.log10_p >= expected - 1e-12


@pytest.mark.parametrize(
    ("scores", "outcome", "reason"),
    [
        (np.zeros(50), "inconclusive", "no test possible"),
        (np.full(50, math.nan), "inconclusive", "no test possible"),
        (np.ones(5), "inconclusive", "the smallest p these units can give is 0.0313"),
        (np.ones(50), "shown", ""),
        (-np.ones(50), "not shown", ""),
    ],
)
@pytest.mark.parametrize("statistic", stats.BIT_STATISTICS)
def test_outcomes_on_the_edge(scores, outcome, reason, statistic):
    bits = Bits(np.ones(len(scores), int))
    result = stats.bit_test(scores, bits, statistic=statistic, alpha=1e-6)
    assert result.outcome == outcome
    assert result.reason.startswith(reason)
    assert result.num_units == len(scores)
    assert result.num_unusable == np.isnan(scores).sum()


@pytest.mark.parametrize("statistic", stats.BIT_STATISTICS)
def test_one_absurd_answer_does_not_hide_the_others(statistic):
    bits = fresh_bits(1, 100, "absurd")[0]
    scores = bits.signs * 1.0
    scores[0] *= -1e29
    result = stats.bit_test(scores, bits, statistic=statistic)
    assert result.log10_p < -25


def test_scores_scale_without_effect(rng):
    """A property: multiplying all scores by a power of 2 changes no p."""
    bits = fresh_bits(1, 64, "scale")[0]
    for _ in range(20):
        scores = rng.standard_cauchy(64)
        for statistic in stats.BIT_STATISTICS:
            first = stats.bit_test(scores, bits, statistic=statistic)
            again = stats.bit_test(scores * 2.0**40, bits, statistic=statistic)
            assert first == again


def test_order_of_bits_has_no_effect(rng):
    bits = fresh_bits(1, 64, "order")[0]
    for _ in range(20):
        scores, order = rng.normal(size=64), rng.permutation(64)
        moved = stats.bit_test(scores[order], Bits(bits.signs[order]))
        assert moved.log10_p == pytest.approx(stats.bit_test(scores, bits).log10_p, abs=1e-9)


@pytest.fixture(scope="module")
def many_draws():
    """20,000 draws of 100 bits."""
    return fresh_bits(20_000, 100, "fresh")


@pytest.mark.parametrize("statistic", stats.BIT_STATISTICS)
def test_p_is_super_uniform_under_fresh_bits(statistic, many_draws, looks_valid, rng):
    for scores in (rng.normal(size=100), rng.standard_cauchy(100), np.arange(100.0)):
        assert looks_valid(stats.fresh_bit_p_values(scores, many_draws, statistic))


def test_balanced_labels_tested_as_independent_are_a_lie():
    """p is too small: by 17.8 where all 200 match, and 3 of 6 labels show it in full."""
    rng = np.random.default_rng(4)
    labels = np.repeat([-1, 1], 100)
    result = stats.bit_test(labels * 1.0, Bits(labels), statistic="bit_signs")
    true = -math.log10(math.comb(200, 100))
    assert true - result.log10_p == pytest.approx(math.log10(17.77), abs=0.001)
    scores = np.array([1.0, 1, 1, -1, -1, -1])
    balanced = [
        Bits(np.array(signs))
        for signs in itertools.product((-1, 1), repeat=6)
        if sum(signs) == 0
    ]
    p_values = stats.fresh_bit_p_values(scores, balanced, "bit_signs")
    assert (p_values <= p_values.min()).mean() > 3 * p_values.min()
    # Large samples: scores that are balanced too.
    scores = np.where(np.arange(200) < 100, 1.0, -1.0)
    draws = [Bits(rng.permutation(labels)) for _ in range(20_000)]
    p_values = stats.fresh_bit_p_values(scores, draws, "bit_signs")
    assert not stats.super_uniformity(p_values)[0]


def test_pairs_restore_independence(looks_valid):
    """The balanced labels of pairs, tested pair by pair."""
    rng = np.random.default_rng(5)
    answers = rng.normal(size=(100, 2)) + np.array([3.0, 0.0])  # likes the first of each pair
    draws = fresh_bits(20_000, 100, "pairs")
    p_values = stats.fresh_bit_p_values(answers[:, 0] - answers[:, 1], draws)
    assert looks_valid(p_values)


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ({"bits": np.ones(3)}, TypeError, "bits must be a Bits, got ndarray"),
        ({"scores": np.ones(4)}, ValueError, "each of the 3 bits, got 4"),
        ({"scores": np.ones((3, 1))}, ValueError, "non-empty vector, got shape"),
        ({"statistic": "bit_sign"}, ValueError, "did you mean 'bit_signs'"),
        ({"alpha": 1.0}, ValueError, "alpha must lie strictly between"),
    ],
)
def test_bad_input_is_one_clear_error(arguments, kind, text):
    whole = {"scores": np.ones(3), "bits": Bits(np.ones(3, int)), **arguments}
    with pytest.raises(kind, match=text):
        stats.bit_test(whole.pop("scores"), whole.pop("bits"), **whole)
