"""A claim of the paper as an interval for a measured number, and the verdict that follows.

Intervals stand in an experiment before its first run; no verdict can be filled in by hand.
"""

import dataclasses
import math

from anw_jax import _check
from tools.reproduction.runs import Measured

NOT_YET_RUN = "not yet run"
# Shown instead of a missing number.
NO_RESULT = "–"
# Units in which shares, and differences of shares, are shown times 100.
_IN_HUNDREDTHS = ("%", "points")


@dataclasses.dataclass(frozen=True)
class Interval:
    """A closed interval on the scale of a measure (shares in [0, 1], not percent).

    Attributes:
      low: lower end; -inf for none.
      high: upper end; inf for none.
    """

    low: float = -math.inf
    high: float = math.inf

    def contains(self, value: float) -> bool:
        """Return whether a value lies inside; NaN never does."""
        return self.low <= value <= self.high

    def lies_in(self, other: "Interval") -> bool:
        """Return whether every value of this interval is one of `other`."""
        return other.low <= self.low and self.high <= other.high


def at_least(low: float) -> Interval:
    """Make the interval from `low` upwards.

    Example:
      >>> at_least(0.8).contains(0.8), at_least(0.8).contains(float("nan"))
      (True, False)
    """
    return Interval(low=_check.finite(at_least=low))


def at_most(high: float) -> Interval:
    """Make the interval up to `high`."""
    return Interval(high=_check.finite(at_most=high))


def between(low: float, high: float) -> Interval:
    """Make the interval from `low` to `high`.

    Raises:
      ValueError: `low` is above `high`.
    """
    interval = Interval(_check.finite(between=low), _check.finite(between=high))
    if interval.low > interval.high:
        raise ValueError(f"between must be given low and high, got {low} and {high}")
    return interval


@dataclasses.dataclass(frozen=True, eq=False)
class Claim:
    """One sentence of the paper, made checkable.

    Attributes:
      text: the claim.
      paper: the paper's value, as text.
      measured: what our runs gave.
      confirm: the paper's value with its tolerance.
      direction: where at least the direction is the paper's; contains `confirm`.
      unit: shown after numbers; with "%" shares are shown times 100, and with "points"
        differences of shares.
      every_seed: whether every seed must lie in an interval, not only the mean over seeds.
        p-values are judged so: one very small p would carry the mean of their logarithms.
    """

    text: str
    paper: str
    measured: Measured
    confirm: Interval
    direction: Interval
    unit: str = ""
    every_seed: bool = False

    def __post_init__(self):
        for name in ("text", "paper", "unit"):
            _check.is_instance(str, **{name: getattr(self, name)})
        if not self.confirm.lies_in(self.direction):
            raise ValueError(f"{self.text!r}: direction must hold wherever confirm does")
        both = (self.confirm, self.direction)
        ends = [end for i in both for end in (i.low, i.high) if math.isfinite(end)]
        if self.unit in _IN_HUNDREDTHS and any(abs(end) > 2.0 for end in ends):
            raise ValueError(
                f"{self.text!r}: with unit {self.unit!r} intervals are shares (0.8, not 80), "
                f"got {ends}"
            )

    def holds(self, interval: Interval) -> bool:
        """Return whether what was measured lies in an interval."""
        if self.every_seed:
            return all(map(interval.contains, self.measured.values))
        return interval.contains(self.measured.mean)

    @property
    def measured_text(self) -> str:
        """Mean ± deviation, unit and number of seeds; a dash without results."""
        values, std = self.measured.values, self.measured.std
        if not values:
            return NO_RESULT
        num = f" (n = {len(values)})"
        if not math.isfinite(self.measured.mean):
            return "not finite" + num
        spread = "" if std is None else f" ± {self._rounded(std)}"
        return self._rounded(self.measured.mean) + spread + self._suffix + num

    def interval_text(self, interval: Interval) -> str:
        """Say an interval in words, in the claim's unit."""
        low, high = (self._bound(end) for end in (interval.low, interval.high))
        if math.isinf(interval.high):
            return f"at least {low}{self._suffix}"
        if math.isinf(interval.low):
            return f"at most {high}{self._suffix}"
        return f"{low} to {high}{self._suffix}"

    @property
    def _suffix(self) -> str:
        """The unit after a number; a degree sign follows without a space."""
        return self.unit if self.unit in ("", "°") else f" {self.unit}"

    def _scaled(self, value: float) -> float:
        return 100.0 * value if self.unit in _IN_HUNDREDTHS else value

    def _rounded(self, value: float) -> str:
        digits = 1 if self.unit in (*_IN_HUNDREDTHS, "°") else 2
        # "-0.00" is 0.
        return f"{round(self._scaled(value), digits) + 0.0:.{digits}f}".replace("-", "−")

    def _bound(self, value: float) -> str:
        """A bound with as many digits as it has: a rounded rule would be another rule."""
        return f"{self._scaled(value):.6g}".replace("-", "−")


def verdict(claim: Claim, quick: Claim) -> str:
    """Say what the results mean for a claim.

    Results at paper scale decide if there are any; quick ones can only show the direction.
    Fewer seeds than declared are mentioned.

    Args:
      claim: as stated and measured at paper scale.
      quick: the same at quick scale.

    Returns:
      "confirmed", "direction only", "not confirmed", "direction only (quick)",
      "not confirmed (quick)" or "not yet run"; then, say, ", 1 of 3 seeds".

    Example:
      >>> def rises(*values):
      ...     measured = Measured(values, 3)
      ...     return Claim("rises", "1.5", measured, at_least(1.0), at_least(0.0))
      >>> verdict(rises(), rises(1.2, 1.4, 1.6)), verdict(rises(0.5), rises(1.2, 1.4, 1.6))
      ('direction only (quick)', 'direction only, 1 of 3 seeds')
    """
    if claim.measured.values:
        if claim.holds(claim.confirm):
            text = "confirmed"
        elif claim.holds(claim.direction):
            text = "direction only"
        else:
            text = "not confirmed"
        return text + _seeds(claim.measured)
    if quick.measured.values:
        text = "direction only" if quick.holds(quick.direction) else "not confirmed"
        return f"{text} (quick){_seeds(quick.measured)}"
    return NOT_YET_RUN


def _seeds(measured: Measured) -> str:
    num = len(measured.values)
    return "" if num >= measured.num_seeds else f", {num} of {measured.num_seeds} seeds"
