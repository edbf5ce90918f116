"""Coarse-to-fine rows: fewer queries, first around the hue circle, then beside the best.

The rule looks at answers, never at slots, and every unit still ends with a full row of N - 1
losses: slots that were not asked are interpolated between the asked ones beside them, around
the circle. The finished row is as valid as any other: it was written before its slot was
opened. On real tables losses are smooth in hue, and high losses carry most evidence: filled
with the worst asked loss instead, a row gives less evidence per query than one that was asked
in full (`benchmarks/coin_flip_real.py`).
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from anw_jax import _check

# Maps units and slots, int64 `[n]` each, to their losses in nats, `[n]`.
AskFn = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class CompletedRows:
    """Full rows, and which of their entries were asked.

    Attributes:
      losses: float64 `[num_units, N - 1]`; column s - 1 is slot s. Lower is evidence.
      asked: bool, same shape.
    """

    losses: np.ndarray
    asked: np.ndarray

    @property
    def num_queries(self) -> int:
        """How many answers were asked."""
        return int(self.asked.sum())

    def table(self) -> np.ndarray:
        """Return a loss table `[num_units, N]`; slot 0, which is never tested, is NaN."""
        return np.insert(self.losses, 0, np.nan, axis=1)


def coarse_to_fine(
    ask: AskFn, num_units: int, num_slots: int, *, stride: int = 3, num_best: int = 1
) -> CompletedRows:
    """Complete rows with few queries, all units side by side.

    Slot 1 and every `stride`-th after it are asked first. Then, until nothing new is to be
    asked: the neighbours of each unit's `num_best` lowest losses so far. Slots that stay
    unasked are filled linearly between the nearest asked ones on either side, slots N - 1 and
    1 being two steps apart (slot 0, unmarked, lies between them). A unit with an answer that
    is NaN or infinite is asked no further, and its row is NaN, hence constant in every test.

    Args:
      ask: answers units and slots with losses; called a few times with long lists.
      num_units: rows to complete.
      num_slots: N, at least 2.
      stride: declared in the plan; 1 asks every slot.
      num_best: declared in the plan; 0 asks the first slots only, which takes the fewest
        queries and more units.

    Returns:
      `CompletedRows`: a function of the asked answers alone.

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
      row: float64 `[N - 1]`, finite where asked.
      asked: bool `[N - 1]`, somewhere True.

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
            f"ask must answer with one loss for each of {len(units)} questions, "
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
