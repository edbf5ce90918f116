"""The published coin-flip audit: of two copies of an image one is published, one hidden.

Huang, Gong, Reiter, "A General Framework for Data-Use Auditing of ML Models" (CCS 2024,
https://arxiv.org/abs/2407.15100), as reconstructed from the authors' code. A pair is *won* if
the model's score is higher on the published copy; under H0 wins are fair coin flips. The level
p is split into halves: a threshold T for the wins of *all* N pairs, from a Chernoff bound at
p / 2, and a confidence sequence at p / 2 for that total while pairs are drawn without
replacement (prior-posterior ratio, Waudby-Smith & Ramdas 2020,
https://arxiv.org/abs/2006.04347). The audit accuses as soon as the sequence's lower limit
reaches T.
"""

import dataclasses
import functools

import numpy as np
import scipy.special

from anw_jax import _check


def win_threshold(num_pairs: int, level: float) -> int | None:
    """Return the smallest T with Chernoff bound P(Bin(N, 1/2) ≥ T) ≤ level, or None.

    The bound is (e^δ / (1 + δ)^(1 + δ))^(N/2) with T = (1 + δ) N / 2.

    Args:
      num_pairs: N.
      level: half of the audit's p.

    Example:
      >>> win_threshold(5_000, 0.025), win_threshold(25, 0.025), win_threshold(25, 5e-4)
      (2638, 24, None)
    """
    num_pairs = _check.integer_at_least(1, num_pairs=num_pairs)
    level = _check.in_open_interval(0.0, 1.0, level=level)
    mean = num_pairs / 2
    wins = np.arange(num_pairs // 2 + 1, num_pairs + 1)
    excess = wins / mean - 1
    log_bounds = mean * (excess - (1 + excess) * np.log1p(excess))
    good = np.flatnonzero(log_bounds <= np.log(level))
    return int(wins[good[0]]) if len(good) else None


@dataclasses.dataclass(frozen=True)
class CoinFlipAudit:
    """The audit of N pairs at level p.

    Attributes:
      num_pairs: N, the pairs of the whole publication.
      p: the false-alarm rate, in (0, 1).

    Raises:
      TypeError, ValueError: N below 1, p outside (0, 1).

    Example:
      >>> audit = CoinFlipAudit(num_pairs=100, p=0.05)
      >>> audit.threshold, audit.decided_after(np.ones(100, bool))
      (71, 17)
      >>> CoinFlipAudit(num_pairs=25, p=1e-3).threshold is None  # can never accuse
      True
    """

    num_pairs: int
    p: float

    def __post_init__(self):
        _check.integer_at_least(1, num_pairs=self.num_pairs)
        _check.in_open_interval(0.0, 1.0, p=self.p)

    @functools.cached_property
    def threshold(self) -> int | None:
        """T, the number of wins of all N pairs that accuses; None if no number does."""
        return win_threshold(self.num_pairs, self.p / 2)

    @functools.cached_property
    def wins_needed(self) -> np.ndarray:
        """The fewest wins among the first n pairs that accuse, for n = 1 … N, int64 `[N]`.

        It is n + 1 where no number does. The lower limit reaches T when the prior-posterior
        ratio of T - 1 is at least 2 / p; with the uniform prior it is
        1 / ((n + 1) · hypergeometric pmf(wins; N, T - 1, n)), and grows with the wins above
        their mean, so the fewest are found by bisection, all n at once.
        """
        drawn = np.arange(1, self.num_pairs + 1)
        if self.threshold is None:
            return drawn + 1
        total = self.threshold - 1
        low = np.ceil(drawn * total / self.num_pairs).astype(np.int64) - 1  # do not accuse
        high = drawn + 1  # accuse, or are impossible
        while (high - low > 1).any():
            middle = (low + high) // 2
            log_ratio = -_log_hypergeometric(middle, self.num_pairs, total, drawn)
            accuses = log_ratio - np.log(drawn + 1) >= np.log(2 / self.p)
            high = np.where(accuses & (high - low > 1), middle, high)
            low = np.where(~accuses & (high - low > 1), middle, low)
        return high

    def decided_after(self, wins: np.ndarray) -> np.ndarray | int:
        """Return the number of pairs queried until the audit accuses; N + 1 if it never does.

        Args:
          wins: bool `[..., n]`, pairs in the random order of queries, n at most N.

        Returns:
          int64 `[...]`, or an int for a vector.

        Raises:
          ValueError: more wins than pairs.
        """
        wins = np.asarray(wins, bool)
        num_asked = wins.shape[-1] if wins.ndim else 0
        if not 1 <= num_asked <= self.num_pairs:
            raise ValueError(
                f"wins must hold 1 to {self.num_pairs} pairs in the last axis, got {wins.shape}"
            )
        accuses = np.cumsum(wins, axis=-1) >= self.wins_needed[:num_asked]
        never = self.num_pairs + 1
        after = np.where(accuses.any(axis=-1), accuses.argmax(axis=-1) + 1, never)
        return int(after) if after.ndim == 0 else after


def _log_hypergeometric(wins, num_pairs, total_wins, drawn) -> np.ndarray:
    """Return the log pmf of `wins` among `drawn` of `num_pairs` with `total_wins` in all."""
    losses, all_losses = drawn - wins, num_pairs - total_wins
    possible = (wins >= 0) & (wins <= total_wins) & (losses >= 0) & (losses <= all_losses)
    value = (
        _log_choose(total_wins, np.where(possible, wins, 0))
        + _log_choose(all_losses, np.where(possible, losses, 0))
        - _log_choose(num_pairs, drawn)
    )
    return np.where(possible, value, -np.inf)


def _log_choose(items, chosen) -> np.ndarray:
    gammaln = scipy.special.gammaln
    return gammaln(items + 1.0) - gammaln(chosen + 1.0) - gammaln(items - chosen + 1.0)
