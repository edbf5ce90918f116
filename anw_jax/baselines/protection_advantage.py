"""adv^P: how much more often than by chance a method is right (eq. 7 of the paper).

Zou, Gong, Wang 2022, https://arxiv.org/abs/2109.09023: adv^P = (M - N p) / N, with M matches
in N trials and p the probability of a right guess. Sign convention: **higher is better
protection**; 0 is chance. Its maximum is 1 - p: 1/2 for membership inference, where p is 1/2,
and 10/11 for the linear colour map, whose signature is one of 11 (11/12 where "no mark" counts
as an answer too). Membership advantage as defined by Yeom et al. is twice adv^P at p = 1/2.
"""

import dataclasses
from typing import Any

import scipy.stats

from anw_jax import _check

CHANCE_MIA = 1 / 2
CHANCE_LCT = 1 / 11


@dataclasses.dataclass(frozen=True)
class ProtectionAdvantage:
    """adv^P with a confidence interval.

    Attributes:
      num_matches: M.
      num_trials: N.
      chance: p, the probability of a right guess.
      value: (M - N p) / N, in [-p, 1 - p].
      low: lower end of the interval.
      high: upper end.
      confidence: coverage of the interval.
    """

    num_matches: int
    num_trials: int
    chance: float
    value: float
    low: float
    high: float
    confidence: float

    @property
    def ceiling(self) -> float:
        """The largest possible value, 1 - p."""
        return 1.0 - self.chance

    def plain(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return {**dataclasses.asdict(self), "ceiling": self.ceiling}


def protection_advantage(
    num_matches: int, num_trials: int, chance: float, *, confidence: float = 0.95
) -> ProtectionAdvantage:
    """Compute adv^P from counts, with the exact (Clopper and Pearson 1934) binomial interval.

    Trials are treated as independent. Images of one model are not quite independent, so the
    interval is the uncertainty of this model's rate, not the variation between models.

    Args:
      num_matches: M, number of right answers, in [0, num_trials].
      num_trials: N, at least 1.
      chance: p, probability of a right guess, strictly between 0 and 1.
      confidence: coverage of the interval, strictly between 0 and 1.

    Returns:
      The value and its interval.

    Raises:
      ValueError: if a number is out of range.
      TypeError: if a number is not a number.

    Example:
      >>> ten_of_ten = protection_advantage(10, 10, CHANCE_LCT)
      >>> round(ten_of_ten.value, 3), round(ten_of_ten.low, 3), round(ten_of_ten.high, 3)
      (0.909, 0.601, 0.909)
    """
    num_trials = _check.integer_at_least(1, num_trials=num_trials)
    num_matches = _check.integer_at_least(0, num_matches=num_matches)
    if num_matches > num_trials:
        raise ValueError(
            f"num_matches must be at most num_trials = {num_trials}, got {num_matches}"
        )
    _check.in_open_interval(0.0, 1.0, chance=chance)
    _check.in_open_interval(0.0, 1.0, confidence=confidence)
    interval = scipy.stats.binomtest(num_matches, num_trials).proportion_ci(confidence)
    return ProtectionAdvantage(
        num_matches=num_matches,
        num_trials=num_trials,
        chance=float(chance),
        value=(num_matches - num_trials * chance) / num_trials,
        low=float(interval.low) - chance,
        high=float(interval.high) - chance,
        confidence=float(confidence),
    )


def compare(
    methods: dict[str, tuple[int, int, float]], *, confidence: float = 0.95
) -> dict[str, dict[str, Any]]:
    """Compute adv^P of several methods (Fig. 5c of the paper).

    Args:
      methods: name to (matches, trials, chance).
      confidence: coverage of each interval.

    Returns:
      For each name, the fields of a `ProtectionAdvantage` and its ceiling.

    Raises:
      ValueError: if a number is out of range.

    Example:
      >>> table = compare({"ANW": (10, 10, CHANCE_LCT), "MIA-std": (5, 10, CHANCE_MIA)})
      >>> table["MIA-std"]["value"], table["MIA-std"]["ceiling"]
      (0.0, 0.5)
    """
    return {
        name: protection_advantage(*counts, confidence=confidence).plain()
        for name, counts in methods.items()
    }
