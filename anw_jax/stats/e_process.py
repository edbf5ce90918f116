"""Wealth from bets on secret slots, and what it proves at any stopping time.

Unit by unit the arbitrator spreads his wealth over the N - 1 valid slots, before the unit's
slot is opened; the wealth is multiplied by e = (N - 1) · w(slot). Under H0 the slot is
uniform given everything so far, so E[e] = 1 and the wealth is a nonnegative martingale: it
ever reaches 1 / α with probability at most α (Ville 1939; Shafer 2021,
https://doi.org/10.1111/rssa.12647). Hence

* running p = min(1, 1 / largest wealth so far), valid at every stopping time;
* e-value = the wealth *at* the stop, never the largest.
"""

import dataclasses
import math
import sys

import numpy as np

from anw_jax import _check
from anw_jax.stats.testing import at_most, exp_up, format_p, to_base_10

_EPS = sys.float_info.epsilon

# A bet whose sum misses 1 by more is a mistake; less is rounding, and divided out.
_SUM_TOLERANCE = 1e-9


def check_bet(num_valid: int, **named) -> np.ndarray:
    """A bet: float64 `[num_valid]`, at least 0, with sum 1 to within 1e-9."""
    ((name, value),) = named.items()
    bet = np.asarray(value, np.float64)
    if bet.shape != (num_valid,):
        raise ValueError(f"{name} must have shape ({num_valid},), got {bet.shape}")
    if not (bet >= 0).all():  # NaN is not
        raise ValueError(f"{name} must be at least 0 on every slot, got {bet.min()}")
    total = math.fsum(bet.tolist())
    if not abs(total - 1.0) <= _SUM_TOLERANCE:
        raise ValueError(f"{name} must sum to 1, got {total!r}")
    return bet


class EProcess:
    """The wealth of a sequential test, in logarithms.

    Args:
      num_valid: N - 1, at least 2.

    Attributes:
      log_wealth: natural log of the wealth now; -inf once everything was lost.
      largest_log_wealth: of the largest wealth so far, the start (0) included.
      num_steps: units opened.

    Raises:
      TypeError, ValueError: `num_valid` that is no integer of at least 2.

    Example:
      >>> wealth = EProcess(num_valid=11)
      >>> wealth.multiply(np.eye(11)[4], slot=5)  # all on the slot that came
      >>> round(wealth.e_value, 9), round(wealth.p_value, 4)
      (11.0, 0.0909)
      >>> wealth.multiply(np.eye(11)[4], slot=1)
      >>> wealth.e_value, round(wealth.p_value, 4)
      (0.0, 0.0909)
    """

    def __init__(self, num_valid: int):
        self._num_valid = _check.integer_at_least(2, num_valid=num_valid)
        self.log_wealth = self.largest_log_wealth = 0.0
        self.num_steps = 0

    def multiply(self, bet: np.ndarray, slot: int) -> None:
        """Settles one bet, made before the slot was opened.

        Args:
          bet: w over the slots 1 … N - 1, `[N - 1]`.
          slot: the opened slot.

        Raises:
          TypeError, ValueError: a bet below 0 or not of sum 1, or no valid slot.
        """
        bet = check_bet(self._num_valid, bet=bet)
        slot = _check.integer_at_least(1, slot=slot)
        if slot > self._num_valid:
            raise ValueError(f"slot must be at most {self._num_valid}, got {slot}")
        share = float(bet[slot - 1]) / math.fsum(bet.tolist())
        self.num_steps += 1
        if share == 0.0:
            self.log_wealth = -math.inf
            return
        log_e = math.log(share) + math.log(self._num_valid)
        # Rounding must never make evidence: each step's error is taken off.
        self.log_wealth += log_e - 4 * _EPS * (2 + abs(log_e) + abs(self.log_wealth))
        self.largest_log_wealth = max(self.largest_log_wealth, self.log_wealth)

    def forfeit(self) -> None:
        """An owner who does not open the leaf that is due loses what was staked: all."""
        self.num_steps += 1
        self.log_wealth = -math.inf

    @property
    def e_value(self) -> float:
        """The wealth now; read it at the stop. Infinite beyond 1e308: see `log_wealth`."""
        return math.exp(self.log_wealth) if self.log_wealth < 709.0 else math.inf

    @property
    def log_p(self) -> float:
        """Natural log of the running p; at most 0."""
        return -max(self.largest_log_wealth, 0.0)

    @property
    def p_value(self) -> float:
        """min(1, 1 / largest wealth so far), rounded up."""
        return exp_up(self.log_p)

    def has_reached(self, alpha: float) -> bool:
        """Whether the running p is at most alpha."""
        return at_most(self.log_p, _check.in_open_interval(0.0, 1.0, alpha=alpha))

    def can_reach(self, alpha: float, num_left: int) -> bool:
        """Whether alpha is reached or `num_left` more perfect bets would reach it.

        One unit multiplies the wealth by at most N - 1.
        """
        if self.has_reached(alpha):
            return True
        best = self.log_wealth + num_left * math.log(self._num_valid)
        return best >= -math.log(alpha) - 1e-9


@dataclasses.dataclass(frozen=True)
class SequentialResult:
    """The result of a sequential test, at its stop.

    Attributes:
      statistic: the scores that were bet on.
      outcome: "shown", "not shown" (never "innocent") or "inconclusive".
      reason: why it is inconclusive, else "".
      p_value: the running p at the stop.
      log10_p: its logarithm to base 10.
      log_e_value: natural log of the wealth at the stop; -inf if all was lost.
      alpha: the level declared before.
      num_units: units in the manifest.
      num_opened: units asked and opened until the stop.
    """

    statistic: str
    outcome: str
    reason: str
    p_value: float
    log10_p: float
    log_e_value: float
    alpha: float
    num_units: int
    num_opened: int

    @property
    def sentence(self) -> str:
        """The result in words a court can read."""
        if self.outcome == "inconclusive":
            return f"The test is inconclusive: {self.reason}."
        return (
            "If this model had been made without these marked photos, whatever else it "
            "learned from, bets on their hues would at any time reach a wealth this large "
            f"with probability at most {format_p(self.log10_p)}."
        )

    def __str__(self) -> str:
        verdict = f"{self.outcome}: {self.reason}" if self.reason else self.outcome
        log10_e = self.log_e_value / math.log(10.0)
        if math.isfinite(log10_e):
            log10_e = math.floor(log10_e * 10) / 10  # in words never more than it is
        return (
            f"{verdict} at level {self.alpha:g} (running p = {format_p(self.log10_p)}, "
            f"e-value 10^{log10_e:.1f}, {self.num_opened} of {self.num_units} units, "
            f"statistic {self.statistic!r})"
        )


def sequential_result(
    wealth: EProcess, *, statistic: str, alpha: float, num_units: int
) -> SequentialResult:
    """States the result of an e-process that has stopped.

    Returns:
      *shown* if the running p is at most alpha; *inconclusive* where even perfect bets on all
      units could not have reached it; else *not shown*.
    """
    outcome, reason = "not shown", ""
    if wealth.has_reached(alpha):
        outcome = "shown"
    elif not EProcess(wealth._num_valid).can_reach(alpha, num_units):
        outcome = "inconclusive"
        smallest = format_p(to_base_10(-num_units * math.log(wealth._num_valid)))
        reason = f"the smallest p these units can give is {smallest}, above the level {alpha:g}"
    return SequentialResult(
        statistic=statistic,
        outcome=outcome,
        reason=reason,
        p_value=wealth.p_value,
        log10_p=to_base_10(wealth.log_p),
        log_e_value=wealth.log_wealth,
        alpha=alpha,
        num_units=num_units,
        num_opened=wealth.num_steps,
    )
