"""Corrections for several tests at once.

The plan names one claim (`keys.Plan.claim`) before the first query:

* "any model", at least one of these models used the photos → `mean_of_e_values`;
* "each model", every named one did → `bonferroni`;
* "list of models", a list with an expected share of false names ≤ q → `e_bh`.

All three hold under any dependence between the tests. Products of e-values hold only for
independently drawn keys and are not offered. E-values come from the stop of a sequential test
(`EProcess.log_wealth`), or from a sealed test's p-value by `log_e_from_p`.

A selection before the test is corrected by a factor, by which p is multiplied (`multiplied`)
and a wealth divided (`divided`): if there were K commitments to choose from, T models tried,
and M possible declarations, the smallest of K · T · M p-values is below t with probability at
most K · T · M · t, whatever their dependence (Bonferroni).
"""

import dataclasses
import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy

from anw_jax import _check
from anw_jax.stats.betting import SequentialResult
from anw_jax.stats.printed_p import format_p
from anw_jax.stats.testing import TestResult, decide_outcome, exp_up, to_base_10

# Bounds the relative rounding error of a few operations on logarithms.
_ROUNDING = 8 * np.finfo(float).eps
_FACTOR_ROUNDING = 4 * sys.float_info.epsilon


def log_e_from_p(p_value: float, kappa: float = 0.5) -> float:
    """Compute the natural log of the e-value κ p^(κ - 1) of a valid p-value.

    Its integral over uniform p is 1 (Vovk & Wang 2021, eq. 1,
    https://doi.org/10.1214/20-AOS2020). κ is fixed before the test.

    Args:
      p_value: in (0, 1].
      kappa: in (0, 1).

    Example:
      >>> round(math.exp(log_e_from_p(1e-6)), 6)
      500.0
    """
    p_value = _check.in_interval(0.0, 1.0, p_value=p_value)
    kappa = _check.in_open_interval(0.0, 1.0, kappa=kappa)
    if p_value == 0.0:
        raise ValueError("p_value must be above 0, got 0: no test has a p-value of 0")
    log_kappa, log_p = math.log(kappa), math.log(p_value)
    log_e = log_kappa + (kappa - 1) * log_p
    # Rounded down, as an e-value may be too small but never too large.
    return log_e - _ROUNDING * (1 + abs(log_kappa) + abs(log_p))


def mean_of_e_values(log_e_values: Sequence[float]) -> tuple[float, float]:
    """Test "at least one of these" by the mean of the e-values.

    The mean of e-values is one under any dependence, and P(mean ≥ 1/α) ≤ α (Markov).

    Args:
      log_e_values: natural logs, each the wealth *at the stop* of its test.

    Returns:
      The log of the mean, and its p-value min(1, 1 / mean).

    Raises:
      ValueError: none given, NaN or +inf.

    Example:
      >>> log_mean, p_value = mean_of_e_values([math.log(39.0), math.log(1.0)])
      >>> round(math.exp(log_mean), 9), round(p_value, 9)
      (20.0, 0.05)
    """
    logs = _logs(log_e_values)
    log_mean = float(scipy.special.logsumexp(logs)) - math.log(len(logs))
    if log_mean > -math.inf:
        # Each log may be half a unit in its last place too large, so their size counts.
        largest = np.abs(logs[np.isfinite(logs)]).max()
        log_mean -= _ROUNDING * (1 + len(logs) + largest)
    return log_mean, exp_up(min(0.0, -log_mean))


def bonferroni(p_values: Sequence[float], alpha: float) -> np.ndarray:
    """Test "each named one": where p ≤ alpha / number of tests.

    The probability that any false one is named is at most alpha, under any dependence.

    Returns:
      bool `[num_tests]`.

    Raises:
      ValueError: no p-value, or some outside [0, 1] or NaN, alpha outside (0, 1).

    Example:
      >>> bonferroni([0.02, 0.03], 0.05).tolist()
      [True, False]
    """
    alpha = _check.in_open_interval(0.0, 1.0, alpha=alpha)
    values = np.asarray(p_values, np.float64)
    if values.ndim != 1 or not len(values) or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p_values must be a non-empty vector in [0, 1], got {values!r:.60}")
    return values <= alpha / len(values)


def holm(log10_p: Sequence[float], alpha: float, num_tests: int) -> np.ndarray:
    """Name hypotheses so that any false one is named with probability at most alpha.

    The step-down rule of Holm (1979): in increasing order, the k-th p-value is compared with
    alpha / (num_tests - k + 1), up to the first that is larger. Holds under any dependence.

    Args:
      log10_p: logarithms to base 10 of valid p-values, at most 0.
      alpha: the level, in (0, 1).
      num_tests: hypotheses, with those whose p-value is not given and counts as 1.

    Returns:
      bool `[len(log10_p)]`: which are named.

    Raises:
      ValueError: a logarithm above 0 or NaN, fewer tests than p-values, alpha outside (0, 1).

    Example:
      >>> holm([-2.0, -1.6, -0.3], 0.05, num_tests=3).tolist()
      [True, False, False]
      >>> holm([-2.0, -1.9, -0.3], 0.05, num_tests=3).tolist()
      [True, True, False]
    """
    alpha = _check.in_open_interval(0.0, 1.0, alpha=alpha)
    logs = np.asarray(log10_p, np.float64)
    if logs.ndim != 1 or not (logs <= 0.0).all():
        raise ValueError(f"log10_p must be a vector of numbers up to 0, got {log10_p!r:.60}")
    num_tests = _check.integer_at_least(max(1, len(logs)), num_tests=num_tests)
    order = np.argsort(logs, kind="stable")
    limits = math.log10(alpha) - np.log10(num_tests - np.arange(len(logs))) - _ROUNDING
    passing = np.logical_and.accumulate(logs[order] <= limits)
    named = np.zeros(len(logs), bool)
    named[order] = passing
    return named


def e_bh(log_e_values: Sequence[float], q: float) -> np.ndarray:
    """List tests so that the expected share of false ones among them is at most q.

    The k largest are listed for the largest k with e_(k) ≥ m / (q k). Holds under any
    dependence (Wang & Ramdas 2022, theorem 5.1, https://doi.org/10.1111/rssb.12489).

    Args:
      log_e_values: natural logs, each the wealth *at the stop* of its test.
      q: the false-discovery rate, in (0, 1).

    Returns:
      bool `[num_tests]`: who is listed.

    Raises:
      ValueError: none given, NaN or +inf, q outside (0, 1).

    Example:
      >>> e_bh(np.log([100.0, 21.0, 3.0]), 0.1).tolist()
      [True, True, False]
    """
    q = _check.in_open_interval(0.0, 1.0, q=q)
    logs = _logs(log_e_values)
    largest_first = np.sort(logs)[::-1]
    ranks = np.arange(1, len(logs) + 1)
    passing = np.flatnonzero(largest_first >= np.log(len(logs) / (q * ranks)))
    if not len(passing):
        return np.zeros(len(logs), bool)
    # Equal e-values are listed together: both reach the bar of the higher rank.
    return logs >= largest_first[passing[-1]]


def _logs(log_e_values: Sequence[float]) -> np.ndarray:
    logs = np.asarray(log_e_values, np.float64)
    if logs.ndim != 1 or not len(logs) or not (logs < np.inf).all():
        raise ValueError(
            f"log_e_values must be a non-empty vector of logarithms below inf, got {logs!r:.60}"
        )
    return logs


def multiplied(result: TestResult, factor: float) -> TestResult:
    """Multiply p, and the smallest attainable p, of an exact test by a factor.

    Args:
      result: uncorrected.
      factor: at least 1.

    Returns:
      The same test with both p-values multiplied, at most 1, and the outcome at its level.
    """
    log_factor = _log_factor(factor)
    if log_factor == 0.0:
        return result
    smallest = _raised(result.smallest_log10_p, log_factor)
    # A table that can give no evidence stays so; a factor alone makes no test impossible.
    is_testable = result.smallest_log10_p < 0.0
    fields = _corrected(result, factor, smallest if is_testable else None)
    return dataclasses.replace(result, smallest_log10_p=to_base_10(smallest), **fields)


def divided(result: SequentialResult, factor: float, num_valid: int) -> SequentialResult:
    """Divide the wealth of a sequential test by a factor.

    Args:
      result: uncorrected, at its stop.
      factor: at least 1.
      num_valid: N - 1.

    Returns:
      The same with running p multiplied and e-value divided, and the outcome at its level.
    """
    log_factor = _log_factor(factor)
    if log_factor == 0.0:
        return result
    smallest = min(0.0, log_factor - result.num_units * math.log(num_valid))
    log_e = result.log_e_value
    if math.isfinite(log_e):
        log_e -= log_factor + _FACTOR_ROUNDING * (1 + abs(log_e))
    return dataclasses.replace(
        result, log_e_value=log_e, **_corrected(result, factor, smallest)
    )


def _corrected(
    result: TestResult | SequentialResult, factor: float, smallest_log_p: float | None
) -> dict[str, Any]:
    """Return p and outcome of a result with p times the factor; None: no test possible."""
    log_p = _raised(result.log10_p, math.log(factor))
    outcome, reason = decide_outcome(log_p, smallest_log_p or 0.0, result.alpha)
    if outcome == "inconclusive" and smallest_log_p is not None:
        smallest = format_p(to_base_10(smallest_log_p))
        reason = (
            f"the smallest p these units can give, times {factor:g}, is {smallest}, above "
            f"the level {result.alpha:g}"
        )
    return {
        "p_value": exp_up(log_p),
        "log10_p": to_base_10(log_p),
        "outcome": outcome,
        "reason": reason,
    }


def _log_factor(factor: float) -> float:
    factor = _check.finite(factor=factor)
    if factor < 1.0:
        raise ValueError(f"factor must be at least 1, got {factor}")
    return math.log(factor)


def _raised(log10_p: float, log_factor: float) -> float:
    """Compute the natural log of p times the factor, at most 0, rounded up."""
    log_p = log10_p * math.log(10.0)
    return min(0.0, log_p + log_factor + _FACTOR_ROUNDING * (1 + abs(log_p) + log_factor))
