"""Coarse-to-fine querying: fewer queries, first a coarse grid, then the neighbours of the best.

The rule uses answers, never slots, and every unit still ends with a full row of N - 1 losses:
slots that were not queried are interpolated between the nearest queried ones, around the
circle. The finished row is as valid as any other, since it is written before its slot is
opened. On real tables losses are smooth in hue, and high losses carry most of the evidence: a
row filled with the worst queried loss instead gives less evidence per query than a fully
queried one (`benchmarks/coin_flip_real.py`).
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from anw_jax import _check

# Maps units and slots, int64 `[n]` each, to their losses in nats, `[n]`.
AskFn = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class CompletedRows:
    """Full rows, and which of their entries were queried.

    Attributes:
      losses: float64 `[num_units, N - 1]`; column s - 1 is slot s. Lower values are evidence.
      asked: bool, same shape; True if the entry was queried.
    """

    losses: np.ndarray
    asked: np.ndarray

    @property
    def num_queries(self) -> int:
        """Number of queries."""
        return int(self.asked.sum())

    def table(self) -> np.ndarray:
        """Return a loss table `[num_units, N]`; slot 0, which is never tested, is NaN."""
        return np.insert(self.losses, 0, np.nan, axis=1)


def coarse_to_fine(
    ask: AskFn, num_units: int, num_slots: int, *, stride: int = 3, num_best: int = 1
) -> CompletedRows:
    """Complete rows with few queries, for all units at once.

    Slot 1 and every `stride`-th after it are queried first. Then the neighbours of each unit's
    `num_best` lowest losses so far are queried, until there are no new ones. The remaining
    slots are interpolated linearly between the nearest queried ones on either side; slots N - 1
    and 1 are two steps apart (slot 0, unmarked, is between them). A unit with a NaN or infinite
    answer is not queried further, and its row is NaN, hence constant in every test.

    Args:
      ask: maps units and slots to losses; called a few times with long lists.
      num_units: number of rows to complete.
      num_slots: N, at least 2.
      stride: declared in the plan; 1 queries every slot.
      num_best: declared in the plan; 0 queries only the first slots, which needs the fewest
        queries but more units.

    Returns:
      `CompletedRows`, a function of the answers only.

    Raises:
      TypeError, ValueError: a number out of range, or answers of another shape.

    Example:
      >>> def ask(units, slots):  # a valley around slot 5
      ...     return np.abs(slots - 5.0)
      >>> rows = coarse_to_fine(ask, num_units=1, num_slots=12)
      >>> rows.losses[0].round(2).tolist(), rows.num_queries
      ([4.0, 3.0, 2.0, 1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 4.67], 7)
    """
    num_units = _check.integer_at_least(1, num_units=num_units)
    num_valid = _check.integer_at_least(2, num_slots=num_slots) - 1
    stride = _check.integer_at_least(1, stride=stride)
    num_best = _check.integer_at_least(0, num_best=num_best)
    losses = np.full((num_units, num_valid), np.nan)
    asked = np.zeros(losses.shape, bool)
    wanted = asked.copy()
    # From slot 1: with 12 slots, steps of 2, 3 and 4 are then even all around the circle.
    wanted[:, ::stride] = True
    while wanted.any():
        units, columns = np.nonzero(wanted)
        losses[units, columns] = _answers(ask, units, columns + 1)
        asked |= wanted
        wanted = _neighbours_of_best(losses, asked, num_best) & ~asked
    bad = (asked & ~np.isfinite(losses)).any(axis=1)
    losses[bad] = np.nan
    for unit in np.flatnonzero(~bad):
        losses[unit] = fill_between(losses[unit], asked[unit])
    return CompletedRows(losses, asked)


def fill_between(row: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Interpolate the unasked entries of a row linearly, around the circle.

    Args:
      row: float64 `[N - 1]`, finite where `asked` is True.
      asked: bool `[N - 1]`, with at least one True.

    Example:
      >>> row, asked = np.array([1.0, 0.0, 3.0]), np.array([True, False, True])
      >>> fill_between(row, asked).tolist()
      [1.0, 2.0, 3.0]
    """
    slots = np.arange(1, len(row) + 1)
    line = np.interp(slots, slots[asked], row[asked], period=len(row) + 1)
    return np.where(asked, row, line)


def _answers(ask: AskFn, units: np.ndarray, slots: np.ndarray) -> np.ndarray:
    answers = np.asarray(ask(units, slots), np.float64)
    if answers.shape != units.shape:
        raise ValueError(
            f"ask must return one loss for each of {len(units)} queries, "
            f"got shape {answers.shape}"
        )
    return answers


def _neighbours_of_best(losses: np.ndarray, asked: np.ndarray, num_best: int) -> np.ndarray:
    """Mark the slots beside each row's lowest losses; slot 0 lies between the two ends."""
    num_units, num_valid = losses.shape
    known = np.where(asked & np.isfinite(losses), losses, np.inf)
    best = np.argsort(known, axis=1, kind="stable")[:, :num_best]
    is_best = np.zeros(losses.shape, bool)
    np.put_along_axis(is_best, best, True, axis=1)
    is_best &= known < np.inf
    padded = np.zeros((num_units, num_valid + 2), bool)
    padded[:, :-2] |= is_best
    padded[:, 2:] |= is_best
    broken = (asked & ~np.isfinite(losses)).any(axis=1, keepdims=True)
    return padded[:, 1:-1] & ~broken
