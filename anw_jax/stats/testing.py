"""The exact test, a Monte-Carlo version, and empirical checks that p is never too small."""

import dataclasses
import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from anw_jax import _check
from anw_jax.keys import Assignment
from anw_jax.keys.plan_fields import BIT_STATISTICS
from anw_jax.stats.exact import ExactNull, quantise
from anw_jax.stats.printed_p import format_p
from anw_jax.stats.scores import (
    DEFAULT_STATISTIC,
    blind_argmin,
    score_units,
    unit_losses,
)

DEFAULT_ALPHA = 1e-6

MARKED_MODEL = "the marked model or anything derived from it"
MARKED_COPIES = "any customer's copy or anything derived from it"
A_MATCH = "a match this strong or stronger would occur"
MARKED_OUTPUTS = (
    "outputs marked with this key, by whatever path they would have come into its data"
)


@dataclasses.dataclass(frozen=True)
class TestResult:
    """The result of a test, with all numbers for a report.

    Attributes:
      statistic: the name of the statistic used.
      p_value: P(S ≥ s_observed) under H0, rounding errors added; never 0.
      log10_p: its logarithm to base 10, exact where `p_value` underflows.
      alpha: the level declared before.
      outcome: "shown", "not shown" or "inconclusive".
      reason: why it is inconclusive, else "".
      num_units: units in the test, those without usable answers included.
      num_unusable: units without usable answers.
      smallest_log10_p: log10 of the smallest p this table could have given to any key.
      z: (observed - null mean) / null standard deviation; 0 where the null is constant.
        A description, not evidence.
    """

    __test__ = False  # for pytest: not a test class

    statistic: str
    p_value: float
    log10_p: float
    alpha: float
    outcome: str
    reason: str
    num_units: int
    num_unusable: int
    smallest_log10_p: float
    z: float

    @property
    def bits(self) -> float:
        """Evidence in bits: -log2 p.

        Each bit halves the chance that an uninvolved model would match as well.
        """
        return abs(self.log10_p) * math.log2(10.0)

    @property
    def sentence(self) -> str:
        """The result in words a court can read."""
        return in_words(self)

    def __str__(self) -> str:
        verdict = f"{self.outcome}: {self.reason}" if self.reason else self.outcome
        bits = math.floor(self.bits * 10) / 10
        return (
            f"{verdict} at level {self.alpha:g} (p = {format_p(self.log10_p)}, "
            f"{bits:.1f} bits, {self.num_units} units, statistic {self.statistic!r})"
        )


def in_words(result: Any, event: str = A_MATCH, made_of: str = "") -> str:
    """State what the p-value of a result bounds: the probability of an event under H0.

    Args:
      result: of a test.
      event: what would occur.
      made_of: what H0 denies; by default the marked model for a statistic of bits, and marked
        photos for all others.
    """
    if result.outcome == "inconclusive":
        return f"The test is inconclusive: {result.reason}."
    if not made_of:
        is_of_bits = result.statistic in BIT_STATISTICS
        made_of = MARKED_MODEL if is_of_bits else "these marked photos"
    return (
        f"If this model had been made without {made_of}, whatever else it learned "
        f"from, {event} with probability at most {format_p(result.log10_p)}."
    )


def exact_test(
    loss_table: np.ndarray,
    assignment: Assignment,
    *,
    statistic: str = DEFAULT_STATISTIC,
    alpha: float = DEFAULT_ALPHA,
    references: Sequence[np.ndarray] = (),
) -> TestResult:
    """Test whether the model's answers depend on the secret slots.

    Guarantee: for any model and any table fixed before the slots were looked at,
    P(p_value ≤ t) ≤ t for every t, if the slots came from `assign` under a key that was
    drawn at random and fixed before training.

    Edge cases:

    * NaN, infinite or absurd loss: that image is left out of its unit; a unit without any
      usable image is constant and stays in.
    * constant or tied losses: equal scores, and ties count against the claim; "hits" alone
      gives a tie to its lowest slot.
    * the same image twice: counted once.
    * one unit: p is at least 1 / (N - 1). Nothing is left of a single row when what all
      units share is removed: "centred" cannot test it.
    * all rows constant, or N = 2: inconclusive, since no outcome could be evidence.

    Args:
      loss_table: float `[num_images, num_slots]` nats; slot 0 is never tested.
      assignment: the units and their secret slots.
      statistic: the one statistic named in the plan.
      alpha: the level declared in the plan, in (0, 1).
      references: tables of reference models, which must not depend on the slots; see
        `score_units`.

    Returns:
      A `TestResult`: *shown* if p ≤ alpha, else *not shown* (never "innocent"), or
      *inconclusive* where even a perfect match would have p above alpha.

    Raises:
      TypeError, ValueError: not an `Assignment`, a shape that does not fit, an unknown
        statistic, alpha outside (0, 1).

    Example:
      >>> from anw_jax.keys import SignatureSpace, Units
      >>> units = Units(np.arange(8), SignatureSpace())
      >>> slots = np.array([3, 1, 7, 7, 9, 2, 11, 5])
      >>> table = np.ones((8, 12))
      >>> table[np.arange(8), slots] = 0.1  # the model knows each photo at its secret hue
      >>> result = exact_test(table, Assignment(units, slots))
      >>> print(result)
      shown at level 1e-06 (p = 4.7e-9, 27.6 bits, 8 units, statistic 'log_losses')
    """
    _check.in_open_interval(0.0, 1.0, alpha=alpha)
    units = check_is_assignment(assignment).units
    integers = quantise(score_units(loss_table, units, statistic, references))
    unusable = np.isnan(unit_losses(loss_table, units)[:, 0])
    observed = observed_sum(integers, assignment)
    return result_of(integers, observed, unusable, statistic=statistic, alpha=alpha)


def result_of(
    integers: np.ndarray,
    observed: int,
    unusable: np.ndarray,
    *,
    statistic: str,
    alpha: float,
) -> TestResult:
    """Compare the observed sum with its exact distribution, and decide.

    Args:
      integers: quantised scores `[num_units, num_valid]`.
      observed: the sum of those at the secret slots.
      unusable: which units have no score, bool `[num_units]`; they are constant.
      statistic: its name.
      alpha: the level declared in the plan.
    """
    null = ExactNull(integers)
    log_p = null.log_p_value(observed)
    smallest_log_p = null.log_p_value(null.largest)
    outcome, reason = decide_outcome(log_p, smallest_log_p, alpha)
    return TestResult(
        statistic=statistic,
        p_value=exp_up(log_p),
        log10_p=to_base_10(log_p),
        alpha=alpha,
        outcome=outcome,
        reason=reason,
        num_units=len(integers),
        num_unusable=int(unusable.sum()),
        smallest_log10_p=to_base_10(smallest_log_p),
        z=(observed - null.mean) / null.std if null.std > 0 else 0.0,
    )


def count_hits(
    loss_table: np.ndarray, assignment: Assignment, references: Sequence[np.ndarray] = ()
) -> int:
    """Count the units whose blind argmin is their secret slot.

    The argmin is over valid slots, ties to the lowest slot, so that a unit hits with
    probability exactly 1 / (N - 1) under H0: `exact_test(…, statistic="hits")` has the binomial
    tail. A unit without usable answers never hits. References are those of `unit_losses`.
    """
    losses = unit_losses(loss_table, check_is_assignment(assignment).units, references)
    return int(is_hit(losses, assignment).sum())


def is_hit(losses: np.ndarray, assignment: Assignment) -> np.ndarray:
    """Return whether each unit's lowest-loss slot is its true slot: bool `[num_units]`."""
    return (blind_argmin(losses) == assignment.slot_of_unit) & ~np.isnan(losses[:, 0])


def check_is_assignment(assignment: Assignment) -> Assignment:
    """Raise TypeError if this is not an `Assignment`, without printing the value."""
    if not isinstance(assignment, Assignment):
        raise TypeError(
            f"assignment must be an Assignment, got {type(assignment).__name__}: a bare array "
            "of slots would count one draw of the key many times"
        )
    return assignment


def observed_sum(integers: np.ndarray, assignment: Assignment) -> int:
    """Compute the observed statistic on quantised scores."""
    return int(integers[np.arange(len(integers)), assignment.slot_of_unit - 1].sum())


def decide_outcome(log_p: float, smallest_log_p: float, alpha: float) -> tuple[str, str]:
    """Name the outcome; "shown" is possible exactly where it is not "inconclusive"."""
    if smallest_log_p == 0.0:
        return "inconclusive", "no test possible: no unit's answers tell its slots apart"
    if not at_most(smallest_log_p, alpha):
        smallest = format_p(to_base_10(smallest_log_p))
        return (
            "inconclusive",
            f"the smallest p these units can give is {smallest}, above the level {alpha:g}",
        )
    return ("shown" if at_most(log_p, alpha) else "not shown"), ""


def at_most(log_p: float, alpha: float) -> bool:
    """Return whether p ≤ alpha, both by its logarithm (no underflow) and as it is printed."""
    return log_p <= math.log(alpha) and exp_up(log_p) <= alpha


def to_base_10(log_p: float) -> float:
    """Convert a natural to a base-10 logarithm, rounded up."""
    return log_p / math.log(10.0) * (1 - 8 * sys.float_info.epsilon)


def exp_up(log_p: float) -> float:
    """Compute exp, rounded up; never 0."""
    # Among subnormal numbers exp errs by up to 5e-324, which no relative factor covers.
    return min(1.0, math.exp(log_p) * (1 + 1e-15) + 5e-324)


def monte_carlo_test(
    loss_table: np.ndarray,
    assignment: Assignment,
    *,
    num_draws: int = 9_999,
    seed: int,
    statistic: str = DEFAULT_STATISTIC,
    references: Sequence[np.ndarray] = (),
) -> float:
    """Estimate the exact p by drawing slots afresh: p = (1 + b) / (1 + B).

    Valid for every B (Phipson and Smyth 2010, https://doi.org/10.2202/1544-6115.1585), and
    never below 1 / (1 + B). A diagnostic: it checks the convolution.

    Args:
      loss_table: float `[num_images, num_slots]` nats.
      assignment: the units and their secret slots.
      num_draws: B, at least 1.
      seed: public seed, at least 0.
      statistic: a name of `STATISTICS`.
      references: tables of reference models; see `score_units`.

    Returns:
      The p-value.
    """
    _check.integer_at_least(1, num_draws=num_draws)
    _check.integer_at_least(0, seed=seed)
    units = check_is_assignment(assignment).units
    integers = quantise(score_units(loss_table, units, statistic, references))
    observed = observed_sum(integers, assignment)
    rng = np.random.default_rng(seed)
    at_least = 0
    batch = max(1, 2**22 // len(integers))
    for start in range(0, num_draws, batch):
        count = min(batch, num_draws - start)
        draws = rng.integers(0, integers.shape[1], (count, len(integers)))
        sums = integers[np.arange(len(integers)), draws].sum(axis=1)
        at_least += int((sums >= observed).sum())
    return (1 + at_least) / (1 + num_draws)


def fresh_p_values(
    loss_table: np.ndarray,
    assignments: Iterable[Assignment],
    statistic: str = DEFAULT_STATISTIC,
    references: Sequence[np.ndarray] = (),
) -> np.ndarray:
    """Compute the p-value of one table under many fresh keys; the null is convolved once.

    Args:
      loss_table: float `[num_images, num_slots]` nats.
      assignments: draws of `assign` for the same images under other keys; they share the
        units of the first.
      statistic: a name of `STATISTICS`.
      references: tables of reference models; see `score_units`.

    Returns:
      float64 `[number of assignments]`, exact to about 1e-11 from above.

    Raises:
      ValueError: no assignment, or assignments with different units or spaces.
    """
    p_values: list[float] = []
    first = integers = survival = None
    for assignment in assignments:
        if first is None:
            first = check_is_assignment(assignment).units
            integers = quantise(score_units(loss_table, first, statistic, references))
            survival = ExactNull(integers).survival
        elif assignment.units != first:
            raise ValueError("assignments must share their units: draw them for one manifest")
        p_values.append(float(survival[observed_sum(integers, assignment)]))
    if first is None:
        raise ValueError("assignments must hold at least one Assignment, got none")
    return np.array(p_values)


def super_uniformity(p_values: np.ndarray, confidence: float = 0.999) -> tuple[bool, float]:
    """Test whether p-values are super-uniform: #{p ≤ t} / n ≤ t for every t, within chance.

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
