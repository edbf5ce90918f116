"""Bound the number of units that a model was trained on, and list which ones.

**How many.** Without assumptions only a lower bound is possible: a photo that was trained on
without effect cannot be distinguished from one that was not.

**Which.** No single unit can be proved: its e-value is at most N - 1. But the number of misses
estimates the number of lucky hits: if the model was not trained on a unit, its blind guess
misses N - 2 times for each hit. Selective SeqStep+ (Barber & Candès 2015, theorem 3,
https://doi.org/10.1214/15-AOS1337; multiple decoys: Emery et al. 2020,
https://doi.org/10.1007/978-3-030-45257-5_32) turns that into false-discovery control.
"""

import dataclasses
import decimal
import math
from collections.abc import Sequence

import numpy as np
import scipy

from anw_jax import _check
from anw_jax.keys import Assignment, Units
from anw_jax.stats.exact import ExactNull
from anw_jax.stats.scores import DEFAULT_STATISTIC, score_units, unit_losses
from anw_jax.stats.testing import check_is_assignment, is_hit

INVERSIONS = ("hits", "ranks")


@dataclasses.dataclass(frozen=True)
class LowerBound:
    """At least so many units were used, with confidence 1 - alpha.

    Attributes:
      num_used: the bound.
      num_units: units in all.
      alpha: the probability that the bound is too high.
      by: "hits" or "ranks".
      observed: hits counted, or the sum of ranks.
    """

    num_used: int
    num_units: int
    alpha: float
    by: str
    observed: int

    def __str__(self) -> str:
        return (
            f"the model depends on at least {self.num_used} of {self.num_units} units "
            f"(confidence {confidence_text(self.alpha)}, by {self.by})"
        )


def confidence_text(alpha: float) -> str:
    """Format 1 - alpha, rounded down, with as many digits as alpha needs; never "1".

    Example:
      >>> confidence_text(0.05), confidence_text(0.05 / 3), confidence_text(1e-7)
      ('0.95', '0.983', '0.9999999')
    """
    num_digits = 1 + max(1, math.ceil(-math.log10(alpha)))
    step = decimal.Decimal(1).scaleb(-num_digits)
    with decimal.localcontext(prec=num_digits + 20):  # of alpha's own digits, at most 17
        exact = 1 - decimal.Decimal(repr(alpha))
        return f"{exact.quantize(step, decimal.ROUND_FLOOR).normalize():f}"


def how_many(
    loss_table: np.ndarray,
    assignment: Assignment,
    *,
    alpha: float = 0.05,
    by: str = "ranks",
    references: Sequence[np.ndarray] = (),
) -> LowerBound:
    """Bound from below how many units the model depends on.

    By hits: the smallest m with P(m + Bin(n - m, 1/(N-1)) ≥ hits) > alpha, that is, even if
    m units hit for sure, the others' luck explains what was seen. By ranks: the same, with
    m units of the best rank and n - m ranks uniform on 1 … N - 1.

    Guarantee: P(bound > true number) ≤ alpha, whatever the model and however answers depend
    on each other, if `alpha` and `by` were fixed before and *all* units of a sealed table
    are in. A unit without usable answers never hits and has the worst rank.

    Args:
      loss_table: float `[num_images, num_slots]` nats.
      assignment: the units and their secret slots.
      alpha: in (0, 1).
      by: "ranks" (strong where imprints are faint, as on the real tables of
        docs/evidence.md) or "hits" (where they are clear).
      references: tables of reference models; see `unit_losses`.

    Returns:
      A `LowerBound`.

    Raises:
      TypeError, ValueError: see `exact_test`; an unknown inversion.

    Example:
      >>> from anw_jax.keys import SignatureSpace
      >>> units, slots = Units(np.arange(20), SignatureSpace()), 1 + np.arange(20) % 11
      >>> table = np.ones((20, 12))
      >>> table[np.arange(10), slots[:10]] = 0.1
      >>> print(how_many(table, Assignment(units, slots)))
      the model depends on at least 7 of 20 units (confidence 0.95, by ranks)
    """
    alpha = _check.in_open_interval(0.0, 1.0, alpha=alpha)
    _check.one_of(INVERSIONS, by=by)
    losses = unit_losses(loss_table, check_is_assignment(assignment).units, references)
    num_units, num_valid = losses.shape
    if by == "hits":
        observed = int(is_hit(losses, assignment).sum())
        num_used = lower_bound_by_hits(observed, num_units, num_valid, alpha)
    else:
        ranks = slot_ranks(losses, assignment.slot_of_unit)
        observed = int(np.where(np.isnan(losses[:, 0]), 1, ranks).sum())
        num_used = lower_bound_by_ranks(observed, num_units, num_valid, alpha)
    return LowerBound(num_used, num_units, alpha, by, observed)


def slot_ranks(losses: np.ndarray, slots: np.ndarray) -> np.ndarray:
    """Rank the loss at each unit's slot: N - 1 is the lowest loss, 1 the highest.

    Ties go to the lower slot, by a fixed rule, so that a rank is uniform under H0.

    Returns:
      int64 `[num_units]`.

    Example:
      >>> slot_ranks(np.array([[2.0, 1.0, 1.0], [5.0, 5.0, 5.0]]), np.array([2, 3])).tolist()
      [3, 1]
    """
    order = np.argsort(losses, axis=1, kind="stable")
    place = np.argsort(order, axis=1, kind="stable")
    return losses.shape[1] - place[np.arange(len(losses)), np.asarray(slots) - 1]


def lower_bound_by_hits(hits: int, num_units: int, num_valid: int, alpha: float) -> int:
    """Find the smallest m with P(m + Bin(n - m, 1/num_valid) ≥ hits) > alpha.

    Example:
      >>> lower_bound_by_hits(10, 20, 11, 0.05), lower_bound_by_hits(2, 20, 11, 0.05)
      (7, 0)
    """
    numbers = np.arange(num_units + 1)
    tails = scipy.stats.binom.sf(hits - numbers - 1, num_units - numbers, 1 / num_valid)
    # A tail within rounding of alpha counts as above it.
    return int(np.argmax(tails > alpha * (1 - 1e-12)))


def lower_bound_by_ranks(rank_sum: int, num_units: int, num_valid: int, alpha: float) -> int:
    """Find the smallest m with P(m (N-1) + n - m uniform ranks ≥ rank_sum) > alpha.

    The tail grows with m, so m is found by bisection; the convolution is that of the exact
    test, whose added error bound can only lower the bound.

    Example:
      >>> lower_bound_by_ranks(20 * 11, 20, 11, 0.05), lower_bound_by_ranks(120, 20, 11, 0.05)
      (19, 0)
    """
    low, high = 0, num_units
    while low < high:
        middle = (low + high) // 2
        others = num_units - middle
        excess = rank_sum - middle * num_valid - others  # ranks counted from 0
        integers = np.tile(np.arange(num_valid), (others, 1))
        if ExactNull(integers).log_p_value(excess) > np.log(alpha):
            high = middle
        else:
            low = middle + 1
    return low


@dataclasses.dataclass(frozen=True, eq=False)
class UnitList:
    """Units listed as used, with the error rate of the list.

    Attributes:
      units: int64, their numbers, most confident first.
      q: the bound on the expected share of wrong entries.
      num_examined: length of the prefix that the list was taken from.
      num_misses: units of that prefix whose guess was wrong.
      num_units: units in all.
    """

    units: np.ndarray
    q: float
    num_examined: int
    num_misses: int
    num_units: int

    def __str__(self) -> str:
        return (
            f"{len(self.units)} of {self.num_units} units listed as used; the expected share "
            f"of wrong entries is at most {self.q:g}; no single entry is proved"
        )


def confidence(
    loss_table: np.ndarray,
    units: Units,
    statistic: str,
    references: Sequence[np.ndarray] = (),
) -> np.ndarray:
    """Compute how far each unit's best score is above its second best.

    Returns:
      float64 `[num_units]`, at least 0; -1 for units without usable answers.
    """
    scores = np.sort(score_units(loss_table, units, statistic, references), axis=1)
    unusable = np.isnan(unit_losses(loss_table, units)[:, 0])
    # Where a single slot can be drawn there is no second best, and nothing to be sure of.
    return np.where(unusable, -1.0, scores[:, -1] - scores[:, -2:][:, 0])


def which_units(
    loss_table: np.ndarray,
    assignment: Assignment,
    *,
    q: float = 0.05,
    statistic: str = DEFAULT_STATISTIC,
    references: Sequence[np.ndarray] = (),
) -> UnitList:
    """List units that the model learned from, with expected share of wrong ones ≤ q.

    Units are ordered by `confidence`, a function of the table alone. A hit is a unit whose
    blind argmin is its slot. The longest prefix with (1 + misses) / ((N - 2) · hits) ≤ q is
    taken, and its hits are listed.

    Guarantee: for units whose answers are independent of their slot, given all other units'
    answers and slots, the expected share of such units in the list is at most q. It needs
    *all* units of the sealed table: on a prefix that was stopped by looking at slots it
    does not hold. The shortest list that is not empty has 1 / ((N - 2) q) entries, rounded up:
    2 with N = 12 and q = .05.

    Args:
      loss_table: float `[num_images, num_slots]` nats.
      assignment: the units and their secret slots.
      q: the false-discovery rate, in (0, 1).
      statistic: a row-by-row name of `STATISTICS`, whose gap orders the units.
      references: tables of reference models; see `unit_losses`.

    Returns:
      A `UnitList`, possibly empty.

    Raises:
      TypeError, ValueError: see `exact_test`; N = 2, where a guess cannot miss.

    Example:
      >>> from anw_jax.keys import SignatureSpace
      >>> units, slots = Units(np.arange(4), SignatureSpace()), np.array([3, 1, 7, 9])
      >>> table = np.ones((4, 12))
      >>> table[np.arange(3), slots[:3]] = [0.1, 0.2, 0.3]  # the last left no imprint
      >>> print(which_units(table, Assignment(units, slots), q=0.1))
      3 of 4 units listed as used; the expected share of wrong entries is at most 0.1; no
      single entry is proved
    """
    q = _check.in_open_interval(0.0, 1.0, q=q)
    losses = unit_losses(loss_table, check_is_assignment(assignment).units, references)
    num_valid = losses.shape[1]
    if num_valid < 2:
        raise ValueError(
            "which_units needs at least 2 valid slots: a guess must be able to miss"
        )
    lead = confidence(loss_table, assignment.units, statistic, references)
    order = np.argsort(-lead, kind="stable")
    hit = is_hit(losses, assignment)
    length = longest_prefix(hit[order], num_valid, q)
    prefix = order[:length]
    return UnitList(
        units=prefix[hit[prefix]],
        q=q,
        num_examined=length,
        num_misses=int((~hit[prefix]).sum()),
        num_units=len(hit),
    )


def longest_prefix(hits_in_order: np.ndarray, num_valid: int, q: float) -> int:
    """Find the longest prefix with (1 + misses) / ((num_valid - 1) · hits) ≤ q; or 0.

    Example:
      >>> longest_prefix(np.array([True, True, True, False, True, False]), 11, 0.05)
      5
    """
    hits = np.cumsum(hits_in_order)
    misses = np.arange(1, len(hits) + 1) - hits
    passing = np.flatnonzero(1 + misses <= q * (num_valid - 1) * hits)
    return int(passing[-1]) + 1 if len(passing) else 0
