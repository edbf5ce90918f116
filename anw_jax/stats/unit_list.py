"""Which photos? A list whose expected share of wrong entries is at most q.

No single unit can be proved: its e-value is at most N - 1. But wrong guesses count the lucky
ones: where the model knows nothing of a unit, its blind guess misses N - 2 times for each time
it hits. Selective SeqStep+ (Barber & Candès 2015,
theorem 3, https://doi.org/10.1214/15-AOS1337; multiple decoys: Emery et al. 2020,
https://doi.org/10.1007/978-3-030-45257-5_32) turns that into false-discovery control.
"""

import dataclasses

import numpy as np

from anw_jax import _check
from anw_jax.keys import Assignment
from anw_jax.stats.scores import (
    DEFAULT_STATISTIC,
    blind_argmin,
    score_units,
    unit_losses,
)


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


def confidence(loss_table: np.ndarray, assignment: Assignment, statistic: str) -> np.ndarray:
    """How far each unit's best score is ahead of its second best; never looks at slots.

    Returns:
      float64 `[num_units]`, at least 0; -1 for units without usable answers.
    """
    scores = np.sort(score_units(loss_table, assignment, statistic), axis=1)
    unusable = np.isnan(unit_losses(loss_table, assignment)[:, 0])
    return np.where(unusable, -1.0, scores[:, -1] - scores[:, -2])


def which_units(
    loss_table: np.ndarray,
    assignment: Assignment,
    *,
    q: float = 0.05,
    statistic: str = DEFAULT_STATISTIC,
) -> UnitList:
    """Lists units that the model learned from, with expected share of wrong ones ≤ q.

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

    Returns:
      A `UnitList`, possibly empty.

    Raises:
      TypeError, ValueError: see `exact_test`; N = 2, where a guess cannot miss.

    Example:
      >>> from anw_jax.keys import SignatureSpace
      >>> slots = np.array([3, 1, 7, 9])
      >>> table = np.ones((4, 12))
      >>> table[np.arange(3), slots[:3]] = [0.1, 0.2, 0.3]  # the last left no imprint
      >>> print(which_units(table, Assignment(np.arange(4), slots, SignatureSpace()), q=0.1))
      3 of 4 units listed as used; the expected share of wrong entries is at most 0.1; no
      single entry is proved
    """
    q = _check.in_open_interval(0.0, 1.0, q=q)
    losses = unit_losses(loss_table, assignment)
    num_valid = losses.shape[1]
    if num_valid < 2:
        raise ValueError(
            "which_units needs at least 2 valid slots: a guess must be able to miss"
        )
    order = np.argsort(-confidence(loss_table, assignment, statistic), kind="stable")
    hit = (blind_argmin(losses) == assignment.slot_of_unit) & ~np.isnan(losses[:, 0])
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
    """Length of the longest prefix with (1 + misses) / ((num_valid - 1) · hits) ≤ q; or 0.

    Example:
      >>> longest_prefix(np.array([True, True, True, False, True, False]), 11, 0.05)
      5
    """
    hits = np.cumsum(hits_in_order)
    misses = np.arange(1, len(hits) + 1) - hits
    passing = np.flatnonzero(1 + misses <= q * (num_valid - 1) * hits)
    return int(passing[-1]) + 1 if len(passing) else 0
