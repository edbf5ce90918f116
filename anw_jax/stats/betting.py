"""Testing by betting on secret slots: e-processes and the betting strategy.

For each unit the arbitrator distributes the wealth over the N - 1 valid slots before the unit's
slot is opened; the wealth is then multiplied by e = (N - 1) · w(slot). Under H0 the slot is
uniform given everything so far, so E[e] = 1 and the wealth is a nonnegative martingale: it
ever reaches 1 / α with probability at most α (Ville 1939; Shafer 2021,
https://doi.org/10.1111/rssa.12647). Hence

* running p = min(1, 1 / largest wealth so far), valid at every stopping time;
* e-value = the wealth *at* the stop, never the largest.

**How to bet.** If the law of the scores were known, the posterior of the slot would be the bet
of largest expected log wealth (Kelly 1956,
https://doi.org/10.1002/j.1538-7305.1956.tb03809.x). For scores that are Gaussian with the
true slot raised by d standard deviations the posterior is softmax(d · score). Neither d nor
the share ρ of units that left an imprint is known, so the bet is a mixture

    w = Σ_c π_c [(1 - ρ_c) / (N - 1) + ρ_c softmax(λ_c z)],

over a grid of (λ_c, ρ_c), with π_c proportional to the prior times the wealth that component
c would have made on earlier units. Its wealth is then exactly the prior mean of the
components' wealths (universal portfolio, Cover 1991,
https://doi.org/10.1111/j.1467-9965.1991.tb00002.x): at most log(1 / prior_c) nats behind
the best component, and never below the prior of the component that does not bet at all.

z is the row, centred, over the pooled standard deviation of this and earlier rows; scores
come in as `score_units` gives them, so that a higher score is evidence.
"""

import dataclasses
import functools
import math
import sys

import numpy as np
import scipy

from anw_jax import _check
from anw_jax.stats.printed_p import format_p
from anw_jax.stats.testing import at_most, exp_up, in_words, to_base_10

_EPS = sys.float_info.epsilon

# A sum further from 1 is an error; less is rounding, and divided out.
_SUM_TOLERANCE = 1e-9

# Separations in pooled standard deviations: from coin flips won at 57 % to certainty.
_STRENGTHS = np.geomspace(0.15, 4.0, 7)

# Shares of units with an imprint, and their prior weights.
_SHARES = {1.0: 0.9, 0.25: 0.1}

# Prior of the component that does not bet: a lower bound of the wealth.
_NO_BET = 0.03


def check_bet(num_valid: int, **named) -> np.ndarray:
    """Check a bet: float64 `[num_valid]`, at least 0, with sum 1 to within 1e-9."""
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


def _check_slot(slot: int, num_valid: int) -> int:
    slot = _check.integer_at_least(1, slot=slot)
    if slot > num_valid:
        raise ValueError(f"slot must be at most {num_valid}, got {slot}")
    return slot


class EProcess:
    """The wealth of a sequential test, in logarithms.

    Args:
      num_valid: N - 1, at least 2.

    Attributes:
      log_wealth: natural log of the wealth now; -inf once everything was lost.
      largest_log_wealth: of the largest wealth so far, the start (0) included.
      num_steps: units opened.

    Raises:
      TypeError, ValueError: `num_valid` is not an integer of at least 2.

    Example:
      >>> wealth = EProcess(num_valid=11)
      >>> wealth.multiply(np.eye(11)[4], slot=5)  # all on the true slot
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
        """Settle one bet, made before the slot was opened.

        Args:
          bet: w over the slots 1 … N - 1, `[N - 1]`.
          slot: the opened slot.

        Raises:
          TypeError, ValueError: a bet below 0 or not of sum 1, or no valid slot.
        """
        bet = check_bet(self._num_valid, bet=bet)
        slot = _check_slot(slot, self._num_valid)
        share = float(bet[slot - 1]) / math.fsum(bet.tolist())
        self.num_steps += 1
        if share == 0.0:
            self.log_wealth = -math.inf
            return
        log_e = math.log(share) + math.log(self._num_valid)
        # Rounding must not create evidence: each step's error bound is subtracted.
        self.log_wealth += log_e - 4 * _EPS * (2 + abs(log_e) + abs(self.log_wealth))
        self.largest_log_wealth = max(self.largest_log_wealth, self.log_wealth)

    def forfeit(self) -> None:
        """Lose all wealth: the owner did not open the leaf that is due."""
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
        """Return whether the running p is at most alpha."""
        return at_most(self.log_p, _check.in_open_interval(0.0, 1.0, alpha=alpha))

    def can_reach(self, alpha: float, num_left: int) -> bool:
        """Return whether alpha is reached, or `num_left` more perfect bets would reach it.

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
      num_opened: number of units queried and opened before the stop.
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
        return in_words(self, "bets on their hues would at any time reach a wealth this large")

    def __str__(self) -> str:
        verdict = f"{self.outcome}: {self.reason}" if self.reason else self.outcome
        log10_e = self.log_e_value / math.log(10.0)
        if math.isfinite(log10_e):
            log10_e = math.floor(log10_e * 10) / 10  # rounded down
        return (
            f"{verdict} at level {self.alpha:g} (running p = {format_p(self.log10_p)}, "
            f"e-value 10^{log10_e:.1f}, {self.num_opened} of {self.num_units} units, "
            f"statistic {self.statistic!r})"
        )


def sequential_result(
    wealth: EProcess, *, statistic: str, alpha: float, num_units: int
) -> SequentialResult:
    """State the result of an e-process that has stopped.

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


@functools.cache
def components() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mixture's strengths λ, shares ρ and priors, float64 `[num_components]` each.

    The first component does not bet (λ = 0); the priors sum to 1.

    Example:
      >>> strengths, shares, priors = components()
      >>> len(priors), float(strengths[0]), round(float(priors.sum()), 12)
      (15, 0.0, 1.0)
    """
    grid = [
        (strength, share, (1 - _NO_BET) * trust / len(_STRENGTHS))
        for strength in _STRENGTHS
        for share, trust in _SHARES.items()
    ]
    columns = np.array([(0.0, 1.0, _NO_BET), *grid]).T
    columns.setflags(write=False)
    return columns[0], columns[1], columns[2]


def component_bets(standard_scores: np.ndarray) -> np.ndarray:
    """Compute each component's bets on rows of standardised scores.

    Args:
      standard_scores: float64 `[..., N - 1]`.

    Returns:
      float64 `[num_components, ..., N - 1]`; every row at least 0, with sum 1.
    """
    strengths, shares, _ = components()
    shape = (-1,) + (1,) * np.ndim(standard_scores)
    exponents = strengths.reshape(shape) * standard_scores
    bets = scipy.special.softmax(exponents, axis=-1)
    shares = shares.reshape(shape)
    return (1 - shares) / standard_scores.shape[-1] + shares * bets


def standardise(scores: np.ndarray) -> np.ndarray:
    """Centre each row and divides it by the pooled deviation of it and earlier rows.

    Constant rows count neither as evidence nor as spread.

    Args:
      scores: finite float64 `[..., num_units, N - 1]`, units in the order of the audit.

    Returns:
      float64, same shape; zeros as long as every row was constant.

    Example:
      >>> standardise(np.array([[1.0, 1.0], [0.0, 2.0], [0.0, 4.0]])).round(3).tolist()
      [[0.0, 0.0], [-1.0, 1.0], [-1.265, 1.265]]
    """
    centred = scores - scores.mean(axis=-1, keepdims=True)
    centred = np.where(np.ptp(scores, axis=-1, keepdims=True) > 0, centred, 0.0)
    variances = np.square(centred).mean(axis=-1)
    counts = np.cumsum(variances > 0, axis=-1)
    pooled = np.sqrt(np.cumsum(variances, axis=-1) / np.maximum(counts, 1))
    pooled = np.where(pooled > 0, pooled, 1.0)
    return centred / pooled[..., None]


class MixtureBettor:
    """Bets unit after unit by the mixture above; learns from each opened slot.

    Args:
      num_valid: N - 1, at least 2.

    Raises:
      TypeError, ValueError: `num_valid` is not an integer of at least 2.

    Example:
      >>> bettor = MixtureBettor(num_valid=3)
      >>> bet = bettor.bet([0.0, 0.0, 1.0])
      >>> bool(bet[2] > bet[0] == bet[1]), round(float(bet.sum()), 12)
      (True, 1.0)
      >>> bettor.settle(3)
    """

    name = "mixture"

    def __init__(self, num_valid: int):
        self._num_valid = _check.integer_at_least(2, num_valid=num_valid)
        self._log_weights = np.log(components()[2])
        self._sum_of_variances = 0.0
        self._num_varied = 0
        self._pending: np.ndarray | None = None

    def bet(self, scores: np.ndarray) -> np.ndarray:
        """Compute the bet on the slots 1 … N - 1 of the next unit.

        Args:
          scores: its finished row, finite float64 `[N - 1]`; higher is evidence.

        Returns:
          float64 `[N - 1]`, at least 0, with sum 1.

        Raises:
          ValueError: a row of another length, or with entries that are not finite, or the
            slot of the unit before was not settled.
        """
        row = np.asarray(scores, np.float64)
        if row.shape != (self._num_valid,) or not np.isfinite(row).all():
            raise ValueError(
                f"scores must be {self._num_valid} finite numbers, got {row!r:.80}"
            )
        if self._pending is not None:
            raise ValueError("the slot of the unit before must be settled before the next bet")
        centred = row - row.mean() if np.ptp(row) > 0 else np.zeros_like(row)
        variance = float(np.square(centred).mean())
        self._sum_of_variances += variance
        self._num_varied += variance > 0
        pooled = np.sqrt(self._sum_of_variances / max(self._num_varied, 1))
        self._pending = component_bets(centred / (pooled if pooled > 0 else 1.0))
        weights = scipy.special.softmax(self._log_weights)
        bet = weights @ self._pending
        return bet / bet.sum()

    def settle(self, slot: int) -> None:
        """Learn the opened slot, in 1 … N - 1, of the unit last bet on.

        Raises:
          TypeError, ValueError: no slot, or no bet to settle.
        """
        slot = _check_slot(slot, self._num_valid)
        if self._pending is None:
            raise ValueError("there is no bet to settle")
        with np.errstate(divide="ignore"):
            self._log_weights += np.log(self._num_valid * self._pending[:, slot - 1])
        self._pending = None


def mixture_log_wealth(scores: np.ndarray, slots: np.ndarray) -> np.ndarray:
    """Compute the log wealth of `MixtureBettor` after each unit, of many audits at once.

    Args:
      scores: finite float64 `[..., num_units, N - 1]`; higher is evidence.
      slots: the slots 1 … N - 1 opened, `[..., num_units]`; leading axes broadcast, so that
        one table can be evaluated under many keys.

    Returns:
      float64 `[..., num_units]`: nats; what an e-process after each unit is worth.

    Example:
      >>> bool(np.abs(mixture_log_wealth(np.zeros((2, 11)), np.array([3, 5]))).max() < 1e-15)
      True
    """
    scores, slots = np.asarray(scores, np.float64), np.asarray(slots)
    standard = standardise(scores)
    index = np.broadcast_to(slots - 1, np.broadcast_shapes(slots.shape, scores.shape[:-1]))
    own = np.take_along_axis(
        np.broadcast_to(standard, (*index.shape, scores.shape[-1])), index[..., None], -1
    )[..., 0]
    total = np.full(index.shape, -np.inf)
    for strength, share, prior in zip(*components(), strict=True):
        # One pass for each component keeps memory small.
        normaliser = scipy.special.logsumexp(strength * standard, axis=-1)
        mean = normaliser - np.log(scores.shape[-1])
        gains = (
            np.log1p(share * np.expm1(strength * own - mean))
            if share < 1
            else (strength * own - mean)
        )
        np.logaddexp(total, np.log(prior) + np.cumsum(gains, axis=-1), out=total)
    return total
