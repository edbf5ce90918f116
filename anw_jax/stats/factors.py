"""What a selection costs: p is multiplied by a factor, a wealth or e-value divided by it.

Where K commitments could have been brought, T models were tried, or M declarations were open,
the smallest of K · T · M p-values is below t with probability at most K · T · M · t, whatever
their dependence (Bonferroni).
"""

import dataclasses
import math
import sys

from anw_jax import _check
from anw_jax.stats.e_process import SequentialResult
from anw_jax.stats.testing import TestResult, decide_outcome, exp_up, format_p, to_base_10

_ROUNDING = 4 * sys.float_info.epsilon


def multiplied(result: TestResult, factor: float) -> TestResult:
    """The result of an exact test whose p, and smallest attainable p, cost a factor.

    Args:
      result: uncorrected.
      factor: at least 1.

    Returns:
      The same test with both p-values multiplied, at most 1, and the outcome at its level.
    """
    log_factor = _log_factor(factor)
    if log_factor == 0.0:
        return result
    log_p = _raised(result.log10_p, log_factor)
    smallest = _raised(result.smallest_log10_p, log_factor)
    # A table that can give no evidence stays so; a factor alone makes no test impossible.
    untestable = result.smallest_log10_p == 0.0
    outcome, reason = decide_outcome(log_p, 0.0 if untestable else smallest, result.alpha)
    if not untestable and smallest == 0.0:
        reason = (
            f"the smallest p these units can give, times {factor:g}, is 1, above the level "
            f"{result.alpha:g}"
        )
    return dataclasses.replace(
        result,
        p_value=exp_up(log_p),
        log10_p=to_base_10(log_p),
        smallest_log10_p=to_base_10(smallest),
        outcome=outcome,
        reason=reason,
    )


def divided(result: SequentialResult, factor: float, num_valid: int) -> SequentialResult:
    """The result of a sequential test whose wealth is divided by a factor.

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
    log_p = _raised(result.log10_p, log_factor)
    smallest = min(0.0, log_factor - result.num_units * math.log(num_valid))
    outcome, reason = decide_outcome(log_p, smallest, result.alpha)
    if outcome == "inconclusive":
        smallest_p = format_p(to_base_10(smallest))
        reason = (
            f"the smallest p these units can give, times {factor:g}, is {smallest_p}, above "
            f"the level {result.alpha:g}"
        )
    log_e = result.log_e_value
    if math.isfinite(log_e):
        log_e -= log_factor + _ROUNDING * (1 + abs(log_e))
    return dataclasses.replace(
        result,
        p_value=exp_up(log_p),
        log10_p=to_base_10(log_p),
        log_e_value=log_e,
        outcome=outcome,
        reason=reason,
    )


def _log_factor(factor: float) -> float:
    factor = _check.finite(factor=factor)
    if factor < 1.0:
        raise ValueError(f"factor must be at least 1, got {factor}")
    return math.log(factor)


def _raised(log10_p: float, log_factor: float) -> float:
    """Natural log of p times the factor, at most 0, rounded up."""
    log_p = log10_p * math.log(10.0)
    return min(0.0, log_p + log_factor + _ROUNDING * (1 + abs(log_p) + log_factor))
