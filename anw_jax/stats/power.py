"""Before the first query: how many units and queries an audit will take.

The model behind the numbers: a unit's scores at the wrong slots are independent and Gaussian
with deviation 1, the score at its own slot is raised by d, and d varies from unit to unit
as in the effect given (0 where a photo leaves no imprint). Real scores are smooth in hue,
hence less informative than independent ones: read the answer as an estimate, not a promise.
No p-value rests on it.

Simulated with the very tests that will be made, from a public seed.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from anw_jax import _check
from anw_jax.keys import MODES
from anw_jax.stats.betting import mixture_log_wealth
from anw_jax.stats.exact import ExactNull

# Audits simulated; the standard error of a power near .9 is then 1.5 %.
_NUM_RUNS = 400

# Steps of a standard deviation: coarser than the test's own grid, and faster; its rounding
# adds 1e-4 to the variance.
_GRID = 32

# Floats that one batch of simulated audits may hold.
_BATCH_FLOATS = 2**22


@dataclasses.dataclass(frozen=True)
class AuditPlan:
    """What an audit will take.

    Attributes:
      num_units: the fewest units with which the level is reached with the asked power; None
        if more than `max_units` would be needed.
      num_queries: answers asked for all of them; None with `num_units`.
      median_units: units opened in the median of those audits: fewer in the sequential mode.
      median_queries: answers asked in the median audit.
      power: the share of simulated audits of `num_units` units that reached the level; of
        `max_units` units where `num_units` is None.
      standard_error: of `power`.
      queries_per_unit: images × (N - 1) × augmentations.
      access: the kind of answer the effect was measured with.
      reason: why there is no answer, else "".
    """

    num_units: int | None
    num_queries: int | None
    median_units: int | None
    median_queries: int | None
    power: float
    standard_error: float
    queries_per_unit: int
    access: str
    reason: str


def plan_audit(
    effect: float | Sequence[float] | Mapping[str, float | Sequence[float]],
    *,
    num_slots: int = 12,
    alpha: float = 1e-6,
    power: float = 0.9,
    mode: str = "sealed",
    access: str = "logits",
    images_per_unit: int = 1,
    augmentations: int = 1,
    max_units: int = 2_000,
    seed: int = 0,
) -> AuditPlan:
    """Finds the fewest units that reach a level with a power, and the queries they take.

    Args:
      effect: the separation d of a unit's score at its own slot, in standard deviations of
        the scores at other slots: a number, or a sample of units' d to draw from, or a
        mapping from access kind to either.
      num_slots: N, at least 3.
      alpha: the level, in (0, 1).
      power: in (0, 1): the asked probability of reaching the level.
      mode: "sealed" or "sequential".
      access: the kind of answer; chooses from a mapping, and is printed.
      images_per_unit: photos whose rows one unit sums.
      augmentations: queries for each photo and slot.
      max_units: the search ends there.
      seed: public, at least 0.

    Returns:
      An `AuditPlan`; where `max_units` do not suffice its `reason` says so.

    Raises:
      TypeError, ValueError: an argument out of range, effects that are not finite, or an
        access kind that the mapping lacks.

    Example:
      >>> plan = plan_audit(3.0, alpha=1e-3, mode="sequential")
      >>> plan.num_units <= 10, plan.num_queries == 11 * plan.num_units
      (True, True)
    """
    separations = _separations(effect, access)
    num_valid = _check.integer_at_least(3, num_slots=num_slots) - 1
    alpha = _check.in_open_interval(0.0, 1.0, alpha=alpha)
    power = _check.in_open_interval(0.0, 1.0, power=power)
    _check.one_of(MODES, mode=mode)
    max_units = _check.integer_at_least(1, max_units=max_units)
    rng = np.random.default_rng(_check.integer_at_least(0, seed=seed))
    per_unit = num_valid * _check.integer_at_least(1, images_per_unit=images_per_unit)
    per_unit *= _check.integer_at_least(1, augmentations=augmentations)
    search = _sequential_units if mode == "sequential" else _sealed_units
    num_units, reached, median = search(separations, num_valid, alpha, power, max_units, rng)
    reason = ""
    if num_units is None:
        reason = f"{max_units} units reach level {alpha:g} with power {reached:.2f} only"
    return AuditPlan(
        num_units=num_units,
        num_queries=None if num_units is None else num_units * per_unit,
        median_units=median,
        median_queries=None if median is None else median * per_unit,
        power=reached,
        standard_error=math.sqrt(reached * (1 - reached) / _NUM_RUNS),
        queries_per_unit=per_unit,
        access=access,
        reason=reason,
    )


def _separations(effect: object, access: str) -> np.ndarray:
    if isinstance(effect, Mapping):
        _check.one_of(effect, access=access)
        effect = effect[access]
    values = np.atleast_1d(np.asarray(effect, np.float64))
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"effect must be one or more finite numbers, got {values!r:.60}")
    return values


def simulated_scores(
    separations: np.ndarray,
    num_runs: int,
    num_units: int,
    num_valid: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Scores `[num_runs, num_units, num_valid]` with the secret slot always slot 1."""
    scores = rng.standard_normal((num_runs, num_units, num_valid))
    scores[..., 0] += rng.choice(separations, (num_runs, num_units))
    return scores


def stopping_times(
    separations: np.ndarray,
    num_valid: int,
    alpha: float,
    num_units: int,
    num_runs: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Units until the default bet's wealth reaches 1 / alpha; num_units + 1 if it does not."""
    batch = max(1, _BATCH_FLOATS // (num_units * num_valid))
    times = []
    for start in range(0, num_runs, batch):
        count = min(batch, num_runs - start)
        scores = simulated_scores(separations, count, num_units, num_valid, rng)
        wealth = mixture_log_wealth(scores, np.ones((count, num_units), np.int64))
        reached = wealth >= -math.log(alpha)
        times.append(np.where(reached.any(1), reached.argmax(1) + 1, num_units + 1))
    return np.concatenate(times)


def _sequential_units(separations, num_valid, alpha, power, max_units, rng):
    """(fewest units or None, power reached, median units): quantiles of the stopping times."""
    num_units = min(64, max_units)
    while True:
        times = np.sort(
            stopping_times(separations, num_valid, alpha, num_units, _NUM_RUNS, rng)
        )
        reached = float((times <= num_units).mean())
        if reached >= power or num_units == max_units:
            break
        num_units = min(2 * num_units, max_units)
    median = int(times[_NUM_RUNS // 2])
    median = median if median <= num_units else None
    if reached < power:
        return None, reached, median
    needed = int(times[math.ceil(power * _NUM_RUNS) - 1])
    return needed, float((times <= needed).mean()), median


def _sealed_units(separations, num_valid, alpha, power, max_units, rng):
    """(fewest units or None, power reached, the same units), by bisection over the units."""

    def power_of(num_units: int) -> float:
        return sealed_power(separations, num_valid, alpha, num_units, rng)

    low = max(0, math.ceil(-math.log(alpha) / math.log(num_valid)) - 1)  # too few for any key
    high = min(max(2 * low, 8), max_units)
    reached = power_of(high)
    while reached < power and high < max_units:
        low, high = high, min(2 * high, max_units)
        reached = power_of(high)
    if reached < power:
        return None, reached, None
    while high - low > max(1, high // 64):
        middle = (low + high) // 2
        at_middle = power_of(middle)
        if at_middle >= power:
            high, reached = middle, at_middle
        else:
            low = middle
    return high, reached, high


def sealed_power(separations, num_valid, alpha, num_units, rng) -> float:
    """The share of simulated tables whose exact test reaches alpha."""
    shown = 0
    for _ in range(_NUM_RUNS):
        scores = simulated_scores(separations, 1, num_units, num_valid, rng)[0]
        shifted = scores - scores.min(axis=1, keepdims=True)
        integers = np.rint(shifted * _GRID).astype(np.int64)
        shown += ExactNull(integers).log_p_value(int(integers[:, 0].sum())) <= math.log(alpha)
    return shown / _NUM_RUNS
