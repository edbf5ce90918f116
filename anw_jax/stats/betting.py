"""How to bet on a unit's slot: a function of its row and of earlier units only.

A bet w spreads the wealth over the N - 1 valid slots. If the bet's owner knew the law of the
scores, the posterior of the slot would be the bet of largest expected log wealth (Kelly 1956,
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

import functools

import numpy as np
import scipy.special

from anw_jax import _check

# Separations in pooled standard deviations: from coin flips won at 57 % to certainty.
_STRENGTHS = np.geomspace(0.15, 4.0, 7)

# Shares of units with an imprint, and what each is trusted beforehand.
_SHARES = {1.0: 0.9, 0.25: 0.1}

# The component that does not bet: the wealth never falls below this.
_NO_BET = 0.03


@functools.cache
def components() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mixture's grid: strengths λ, shares ρ and priors, float64 `[num_components]` each.

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
    """What each component bets on rows of standardised scores.

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
    """Centres each row and divides it by the pooled deviation of it and earlier rows.

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
      TypeError, ValueError: `num_valid` that is no integer of at least 2.

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
        """The bet on the slots 1 … N - 1 of the next unit.

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
        """Learns the opened slot, in 1 … N - 1, of the unit last bet on.

        Raises:
          TypeError, ValueError: no slot, or no bet to settle.
        """
        slot = _check.integer_at_least(1, slot=slot)
        if slot > self._num_valid:
            raise ValueError(f"slot must be at most {self._num_valid}, got {slot}")
        if self._pending is None:
            raise ValueError("there is no bet to settle")
        with np.errstate(divide="ignore"):
            self._log_weights += np.log(self._num_valid * self._pending[:, slot - 1])
        self._pending = None


# The bets a plan can name; a record replays the one it names.
BETTORS = {MixtureBettor.name: MixtureBettor}


def mixture_log_wealth(scores: np.ndarray, slots: np.ndarray) -> np.ndarray:
    """The log wealth of `MixtureBettor` after each unit, many audits at once.

    Args:
      scores: finite float64 `[..., num_units, N - 1]`; higher is evidence.
      slots: the slots 1 … N - 1 opened, `[..., num_units]`; leading axes broadcast, so that
        one table may be asked under many keys.

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
        # Relative to the row's normaliser: one pass for each component keeps memory small.
        normaliser = scipy.special.logsumexp(strength * standard, axis=-1)
        mean = normaliser - np.log(scores.shape[-1])
        gains = (
            np.log1p(share * np.expm1(strength * own - mean))
            if share < 1
            else (strength * own - mean)
        )
        np.logaddexp(total, np.log(prior) + np.cumsum(gains, axis=-1), out=total)
    return total
