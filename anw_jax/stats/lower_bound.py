"""How many? A lower confidence bound on the number of units the model depends on.

Only a lower bound can be had without assumptions: a photo that was trained on and left no
imprint answers like one that was not.
"""

import dataclasses
import decimal
import math

import numpy as np
import scipy.stats

from anw_jax import _check
from anw_jax.keys import Assignment
from anw_jax.stats.exact import ExactNull
from anw_jax.stats.scores import blind_argmin, unit_losses

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
    """1 - alpha as text, rounded down, with as many digits as alpha needs; never "1".

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
    loss_table: np.ndarray, assignment: Assignment, *, alpha: float = 0.05, by: str = "ranks"
) -> LowerBound:
    """Bounds from below how many units the model depends on.

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

    Returns:
      A `LowerBound`.

    Raises:
      TypeError, ValueError: see `exact_test`; an unknown inversion.

    Example:
      >>> from anw_jax.keys import SignatureSpace
      >>> slots = 1 + np.arange(20) % 11
      >>> table = np.ones((20, 12))
      >>> table[np.arange(10), slots[:10]] = 0.1
      >>> print(how_many(table, Assignment(np.arange(20), slots, SignatureSpace())))
      the model depends on at least 7 of 20 units (confidence 0.95, by ranks)
    """
    alpha = _check.in_open_interval(0.0, 1.0, alpha=alpha)
    _check.one_of(INVERSIONS, by=by)
    losses = unit_losses(loss_table, assignment)
    num_units, num_valid = losses.shape
    unusable = np.isnan(losses[:, 0])
    if by == "hits":
        hit = (blind_argmin(losses) == assignment.slot_of_unit) & ~unusable
        observed = int(hit.sum())
        num_used = lower_bound_by_hits(observed, num_units, num_valid, alpha)
    else:
        ranks = slot_ranks(losses, assignment.slot_of_unit)
        observed = int(np.where(unusable, 1, ranks).sum())
        num_used = lower_bound_by_ranks(observed, num_units, num_valid, alpha)
    return LowerBound(num_used, num_units, alpha, by, observed)


def slot_ranks(losses: np.ndarray, slots: np.ndarray) -> np.ndarray:
    """Each unit's rank of its slot's loss: N - 1 is the lowest loss, 1 the highest.

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
    """The smallest m with P(m + Bin(n - m, 1/num_valid) ≥ hits) > alpha.

    Example:
      >>> lower_bound_by_hits(10, 20, 11, 0.05), lower_bound_by_hits(2, 20, 11, 0.05)
      (7, 0)
    """
    numbers = np.arange(num_units + 1)
    tails = scipy.stats.binom.sf(hits - numbers - 1, num_units - numbers, 1 / num_valid)
    # A tail that rounding may have put on either side of alpha counts as above it.
    return int(np.argmax(tails > alpha * (1 - 1e-12)))


def lower_bound_by_ranks(rank_sum: int, num_units: int, num_valid: int, alpha: float) -> int:
    """The smallest m with P(m (N-1) + n - m uniform ranks ≥ rank_sum) > alpha.

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
