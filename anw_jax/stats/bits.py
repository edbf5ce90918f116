"""The exact test of a model watermark's bits.

S = Σ_k a_k y_k, with scores a that a reader computed from a suspect without the bits, and bits
y that are independent and ±1 with equal probability (`keys.draw_bits`). Under H0 (the suspect
was made without anything that depends on the bits) y is uniform given a, whatever the suspect
is, so S is the sum of U independent terms ±a_k: its tail is `ExactNull` with two slots each.
A positive a_k that meets y_k = 1 is evidence.

Scores are bounded, so that one absurd answer cannot hide the others:

* "bit_signs": the sign of each score. S is then a binomial count of right bits.
* "bounded_bits": scores in units of their median magnitude, cut off at ±3.

Exactly balanced labels are not independent bits; testing them as if they were gives a p that is
too small (by a factor of 18 for 200 labels that all match). Balance comes from pairs: one bit
decides which of two inputs has the label 1, and the pair's score is a difference.
"""

import numpy as np

from anw_jax import _check
from anw_jax.keys import Bits, plan_fields
from anw_jax.stats.exact import ExactNull, quantise
from anw_jax.stats.scores import is_usable
from anw_jax.stats.testing import DEFAULT_ALPHA, TestResult, result_of

BIT_STATISTICS = plan_fields.BIT_STATISTICS

# Where "bounded_bits" cuts scores off, in units of their median magnitude.
BIT_LIMIT = 3.0

# Below this p, the error bound of `ExactNull.survival` would be a large part of the value.
_COARSE_TAIL = 1e-6


def bit_test(
    scores: np.ndarray,
    bits: Bits,
    *,
    statistic: str = "bounded_bits",
    alpha: float = DEFAULT_ALPHA,
) -> TestResult:
    """Test whether a suspect's scores depend on the secret bits of a key.

    Guarantee: for any suspect made without the bits, and any scores that are a function of the
    suspect and of things fixed before the bits were drawn, P(p_value ≤ t) ≤ t for every t.

    Edge cases:

    * a score of 0, NaN, an infinity or above 1e30 in magnitude: that bit is constant, no
      evidence, and stays in the test.
    * all scores constant, or too few bits for alpha: inconclusive.
    * n scores of which all match: p is exactly 2^-n with "bit_signs".

    Args:
      scores: float `[num_bits]`, positive where the suspect says y = 1.
      bits: the secret bits, as `keys.draw_bits` returns them.
      statistic: a name of `BIT_STATISTICS`, as the plan says.
      alpha: the level declared in the plan, in (0, 1).

    Returns:
      A `TestResult`; its units are the bits, unusable ones those without a score.

    Raises:
      TypeError: `bits` is no `Bits`.
      ValueError: numbers of scores and bits that differ, an unknown statistic, a level
        outside (0, 1).

    Example:
      >>> bits = Bits(np.array([1, -1, -1, 1, 1, -1, 1, -1] * 4))
      >>> result = bit_test(0.7 * bits.signs, bits, statistic="bit_signs")
      >>> result.outcome, round(result.bits, 6)
      ('shown', 32.0)
    """
    _check.in_open_interval(0.0, 1.0, alpha=alpha)
    integers = bit_integers(scores, statistic)
    observed = observed_bits(integers, bits)
    unusable = ~is_usable(np.asarray(scores, np.float64))
    return result_of(integers, observed, unusable, statistic=statistic, alpha=alpha)


def fresh_bit_p_values(
    scores: np.ndarray, draws: list[Bits], statistic: str = "bounded_bits"
) -> np.ndarray:
    """Compute the p-value of the same scores for many fresh draws of the bits.

    Args:
      scores: float `[num_bits]`.
      draws: bits under other keys, or after other values of the beacon.
      statistic: a name of `BIT_STATISTICS`.

    Returns:
      float64 `[len(draws)]`, exact to about 1e-11 from above; the null is convolved once.
    """
    integers = bit_integers(scores, statistic)
    survival = ExactNull(integers).survival
    return survival[[observed_bits(integers, bits) for bits in draws]]


def bit_log10_p_values(
    scores: np.ndarray, codes: list[Bits], statistic: str = "bounded_bits"
) -> np.ndarray:
    """Compute log10 p of the same scores for the codes of many customers.

    Each is that of `bit_test`, to rounding; the null is computed once, and far tails, which
    need a tilt of their own, only where they occur.

    Args:
      scores: float `[num_bits]`, as a reader returns them; unusable ones count as constant.
      codes: the codes, as `keys.customer_code` returns them.
      statistic: a name of `BIT_STATISTICS`.

    Returns:
      float64 `[len(codes)]`, each at most 0 and never below the true value.

    Example:
      >>> codes = [Bits(np.ones(40)), Bits(-np.ones(40))]
      >>> bit_log10_p_values(np.ones(40), codes).round(3).tolist()
      [-12.041, 0.0]
    """
    if not codes:
        return np.zeros(0)
    integers = bit_integers(scores, statistic)
    null = ExactNull(integers)
    found = np.empty(len(codes))
    for number, code in enumerate(codes):
        observed = observed_bits(integers, code)
        p_value = float(null.survival[observed])
        # Both are upper bounds; that of `survival` is too coarse for far tails.
        near = p_value > _COARSE_TAIL
        found[number] = np.log(p_value) if near else null.log_p_value(observed)
    # Rounded up, as `testing.to_base_10` does.
    return np.minimum(found / np.log(10.0) * (1 - 8 * np.finfo(float).eps), 0.0)


def bit_integers(scores: np.ndarray, statistic: str) -> np.ndarray:
    """Quantise scores to integers `[num_bits, 2]`: what y = -1 and y = 1 add to S.

    Observed and null statistic use the same integers: rounding costs power, no validity.

    Example:
      >>> bit_integers(np.array([0.2, -7.0, 0.0]), "bit_signs").tolist()
      [[0, 1], [1, 0], [0, 0]]
    """
    _check.one_of(BIT_STATISTICS, statistic=statistic)
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 1 or not len(scores):
        raise ValueError(f"scores must be a non-empty vector, got shape {scores.shape}")
    scores = np.where(is_usable(scores), scores, 0.0)
    bounded = np.sign(scores) if statistic == "bit_signs" else _bounded(scores)
    return quantise(np.stack([-bounded, bounded], axis=1))


def observed_bits(integers: np.ndarray, bits: Bits) -> int:
    """Compute S on quantised scores.

    Raises:
      TypeError: `bits` is no `Bits`; the value given is not shown.
      ValueError: another number of bits than of scores.
    """
    if not isinstance(bits, Bits):
        raise TypeError(f"bits must be a Bits, got {type(bits).__name__}: see keys.draw_bits")
    if len(bits) != len(integers):
        raise ValueError(
            f"scores must have one entry for each of the {len(bits)} bits, got {len(integers)}"
        )
    return int(integers[np.arange(len(bits)), (bits.signs + 1) // 2].sum())


def _bounded(scores: np.ndarray) -> np.ndarray:
    """Return scores in units of the median magnitude of those that are not 0, cut off."""
    magnitudes = np.abs(scores[scores != 0.0])
    if not len(magnitudes):
        return scores
    # A division by a subnormal number overflows to an infinity, which is cut off too.
    with np.errstate(over="ignore"):
        return np.clip(scores / np.median(magnitudes), -BIT_LIMIT, BIT_LIMIT)
