"""Empirical checks that p-values are not too small."""

import math
from collections.abc import Iterable

import numpy as np

from anw_jax import _check
from anw_jax.keys import Assignment
from anw_jax.stats.exact import ExactNull, quantise
from anw_jax.stats.scores import DEFAULT_STATISTIC, score_units
from anw_jax.stats.testing import observed_sum


def fresh_p_values(
    loss_table: np.ndarray,
    assignments: Iterable[Assignment],
    statistic: str = DEFAULT_STATISTIC,
) -> np.ndarray:
    """The p-value of one table under many fresh keys; the null is convolved once.

    Args:
      loss_table: float `[num_images, num_slots]` nats.
      assignments: draws of `assign` for the same images under other keys; they share the
        units of the first.
      statistic: a name of `STATISTICS`.

    Returns:
      float64 `[number of assignments]`, exact to about 1e-11 from above.

    Raises:
      ValueError: no assignment, or assignments with different units or spaces.
    """
    p_values: list[float] = []
    first = integers = survival = None
    for assignment in assignments:
        if first is None:
            first = assignment
            integers = quantise(score_units(loss_table, assignment, statistic))
            survival = ExactNull(integers).survival
        elif not _same_units(first, assignment):
            raise ValueError("assignments must share their units: draw them for one manifest")
        p_values.append(float(survival[observed_sum(integers, assignment)]))
    if first is None:
        raise ValueError("assignments must hold at least one Assignment, got none")
    return np.array(p_values)


def _same_units(first: Assignment, second: Assignment) -> bool:
    """Whether two assignments differ by their slots only."""
    return (
        first.space == second.space
        and np.array_equal(first.unit_of_image, second.unit_of_image)
        and np.array_equal(first.is_copy, second.is_copy)
    )


def super_uniformity(p_values: np.ndarray, confidence: float = 0.999) -> tuple[bool, float]:
    """Whether p-values look super-uniform: #{p ≤ t} / n ≤ t for every t, within chance.

    One-sided Dvoretzky-Kiefer-Wolfowitz band (Massart 1990,
    https://doi.org/10.1214/aop/1176990746): for super-uniform p-values the excess
    max_t (F_n(t) - t) is above sqrt(ln(1 / (1 - confidence)) / (2 n)) with probability at
    most 1 - confidence.

    Args:
      p_values: float `[n]` in [0, 1].
      confidence: of the band, in [0.5, 1).

    Returns:
      Whether the excess lies inside the band, and the excess.

    Raises:
      ValueError: no p-values, not a vector, or some outside [0, 1] or NaN.

    Example:
      >>> super_uniformity(np.linspace(0.001, 1, 1000))[0]
      True
      >>> super_uniformity(np.linspace(0.001, 1, 1000) ** 2)[0]
      False
    """
    _check.in_interval(0.5, 1 - 1e-12, confidence=confidence)
    ordered = np.sort(np.asarray(p_values, np.float64))
    if ordered.ndim != 1 or not len(ordered) or not ((ordered >= 0) & (ordered <= 1)).all():
        raise ValueError(
            "p_values must be a non-empty vector in [0, 1], got "
            f"shape {ordered.shape}, values {ordered!r:.60}"
        )
    num = len(ordered)
    excess = float((np.arange(1, num + 1) / num - ordered).max())
    return excess <= math.sqrt(math.log(1 / (1 - confidence)) / (2 * num)), excess
