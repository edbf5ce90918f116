"""From a loss table to one score per unit and valid slot; never looks at the slots."""

from collections.abc import Callable

import numpy as np
import scipy.stats

from anw_jax import _check
from anw_jax.keys import Assignment, names

# Losses well below this are alike: the model knows the photo, and how well says little.
_DAMPING_NATS = 0.3

# Beyond this a loss is an accident of arithmetic, and sums of it could overflow.
_LARGEST_LOSS = 1e30

# Differences below this share of the numbers they come from are rounding, hence ties.
_NOISE = 1e-12


def unit_losses(loss_table: np.ndarray, assignment: Assignment) -> np.ndarray:
    """Sums the rows of each unit over its distinct, usable images.

    Args:
      loss_table: `[num_images, num_slots]` nats, slot 0 first; any real dtype.
      assignment: only its units and copies are used here, never its slots.

    Returns:
      float64 `[num_units, num_slots - 1]`, valid slots only. A row of NaN where a unit has
      no image whose losses are all finite.

    Raises:
      TypeError: `assignment` is not an `Assignment` (a bare array of slots is refused).
      ValueError: the table's shape does not fit the assignment.
    """
    if not isinstance(assignment, Assignment):
        raise TypeError(
            f"assignment must be an Assignment, got {type(assignment).__name__}: a bare array "
            "of slots would count one draw of the key many times"
        )
    table = np.asarray(loss_table, np.float64)
    expected = (assignment.num_images, assignment.space.num_slots)
    if table.shape != expected:
        raise ValueError(
            f"loss_table must have shape (num_images, num_slots) = {expected}, "
            f"got {table.shape}"
        )
    valid = table[:, 1:]
    usable = is_usable(valid).all(axis=1) & ~assignment.is_copy
    sums = np.full((assignment.num_units, valid.shape[1]), np.nan)
    unit = assignment.unit_of_image[usable]
    if len(unit):
        filled, counts = np.unique(unit, return_counts=True)
        starts = np.cumsum(counts) - counts
        for column, losses in enumerate(valid[usable].T):
            # Smallest first: the order of the images changes no bit of the sum.
            in_order = losses[np.lexsort((losses, unit))]
            sums[filled, column] = np.add.reduceat(in_order, starts)
    return sums


def is_usable(losses: np.ndarray) -> np.ndarray:
    """Which losses a test can use, bool of any shape: neither NaN, infinite nor absurd."""
    with np.errstate(invalid="ignore"):
        return np.abs(losses) <= _LARGEST_LOSS


def blind_argmin(losses: np.ndarray) -> np.ndarray:
    """The valid slot with the lowest loss in each row, found without the key.

    Args:
      losses: `[num_units, num_slots - 1]` as `unit_losses` gives; ties, and rows of NaN,
        go to the lowest slot.

    Returns:
      int64 `[num_units]` in 1 … N - 1.

    Example:
      >>> blind_argmin(np.array([[3.0, 1.0, 1.0], [np.nan, np.nan, np.nan]])).tolist()
      [2, 1]
    """
    return 1 + np.argmin(np.where(np.isnan(losses), np.inf, losses), axis=1)


def _without_column_means(values: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Removes what all units share: the model's general liking for some hues.

    Entries of a row that differ by less than the rounding of `losses` become equal, so that
    ties stay ties: what is left of equal rows is nothing, not noise scaled up.
    """
    column_means = np.sort(values, axis=0).mean(axis=0, keepdims=True)
    centred = values - column_means
    noise = _NOISE * (np.abs(losses).max(axis=1, keepdims=True) + np.abs(column_means).max())
    order = np.argsort(centred, axis=1, kind="stable")
    ordered = np.take_along_axis(centred, order, axis=1)
    starts = np.diff(ordered, axis=1, prepend=-np.inf) > noise
    first_of_tie = np.maximum.accumulate(np.where(starts, np.arange(ordered.shape[1]), 0), 1)
    np.put_along_axis(centred, order, np.take_along_axis(ordered, first_of_tie, axis=1), axis=1)
    return centred


def _losses(losses: np.ndarray) -> np.ndarray:
    return -losses


def _centred(losses: np.ndarray) -> np.ndarray:
    return -_without_column_means(losses, losses)


def _ranks(losses: np.ndarray) -> np.ndarray:
    return scipy.stats.rankdata(-losses, axis=1)


def _hits(losses: np.ndarray) -> np.ndarray:
    return (np.arange(1, losses.shape[1] + 1) == blind_argmin(losses)[:, None]).astype(float)


def _log_losses(losses: np.ndarray) -> np.ndarray:
    return -np.log(np.maximum(losses, 0.0) + _DAMPING_NATS)


ScoreFn = Callable[[np.ndarray], np.ndarray]

_SCORE_FNS: dict[str, ScoreFn] = {
    "log_losses": _log_losses,
    "losses": _losses,
    "centred": _centred,
    "ranks": _ranks,
    "hits": _hits,
}

# Each maps unit losses [U, N - 1] to scores of the same shape; higher is evidence. The names
# are those that a plan can hold: `keys` refuses any other before it is committed to.
STATISTICS: dict[str, ScoreFn] = {name: _SCORE_FNS[name] for name in names.STATISTICS}

ROW_STATISTICS = names.ROW_STATISTICS

# Chosen on seeds >= 100, which stand in no result (`benchmarks/score_study.py` made
# results/score_study.json). A memorised photo's loss is near 0 and the others' spread over
# decades: raw losses let a few photos with huge losses rule the null's variance, ranks throw
# the size of the gap away, and removing column means removes evidence where few photos
# share a slot. The damped logarithm was first in 7 of 10 comparisons and within 0.2 decades
# of the first in the others; centred ranks and sums of scores were behind in all.
DEFAULT_STATISTIC = "log_losses"


def score_units(
    loss_table: np.ndarray, assignment: Assignment, statistic: str = DEFAULT_STATISTIC
) -> np.ndarray:
    """Scores every valid slot of every unit; a function of the table and the units alone.

    Statistics: "log_losses" (minus the logarithm of loss + 0.3 nats), "losses" (the negative
    loss), "centred" (each column's mean removed), "ranks" (rank within the row, mid-ranks for
    ties), "hits" (1 for the blind argmin, else 0).

    Args:
      loss_table: `[num_images, num_slots]` nats.
      assignment: gives the units; its slots are not looked at.
      statistic: a name of `STATISTICS`.

    Returns:
      float64 `[num_units, num_slots - 1]`; a constant row of zeros where a unit has no
      usable answers.
    """
    _check.one_of(STATISTICS, statistic=statistic)
    losses = unit_losses(loss_table, assignment)
    usable = ~np.isnan(losses[:, 0])
    scores = np.zeros_like(losses)
    if usable.any():
        scores[usable] = STATISTICS[statistic](losses[usable])
    return scores


def score_row(losses: np.ndarray, statistic: str = DEFAULT_STATISTIC) -> np.ndarray:
    """Scores one unit's finished row, as `score_units` does where rows are scored alone.

    Args:
      losses: float `[N - 1]`, the unit's losses at the valid slots, summed over its images.
      statistic: a name of `ROW_STATISTICS`; "centred" needs the whole table.

    Returns:
      float64 `[N - 1]`, higher is evidence; zeros where a loss is NaN, infinite or absurd.

    Raises:
      ValueError: an unknown statistic, or one that needs the whole table; not a vector.

    Example:
      >>> score_row([2.0, 1.0, 3.0], "ranks").tolist()
      [2.0, 3.0, 1.0]
    """
    _check.one_of(ROW_STATISTICS, statistic=statistic)
    row = np.asarray(losses, np.float64)
    if row.ndim != 1 or not len(row):
        raise ValueError(f"losses must be a non-empty vector, got shape {row.shape}")
    usable = is_usable(row).all()
    return STATISTICS[statistic](row[None])[0] if usable else np.zeros(len(row))
