"""From a loss table to one score per unit and valid slot; never looks at the slots."""

from collections.abc import Callable

import numpy as np
import scipy.stats

from anw_jax import _check
from anw_jax.keys import Assignment

# Beyond this a loss is an accident of arithmetic, and sums of it could overflow.
_LARGEST_LOSS = 1e30


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
    with np.errstate(invalid="ignore"):
        usable = (np.abs(valid) <= _LARGEST_LOSS).all(axis=1) & ~assignment.is_copy
    sums = np.zeros((assignment.num_units, valid.shape[1]))
    np.add.at(sums, assignment.unit_of_image[usable], valid[usable])
    counts = np.bincount(assignment.unit_of_image[usable], minlength=assignment.num_units)
    sums[counts == 0] = np.nan
    return sums


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


def _without_column_means(values: np.ndarray) -> np.ndarray:
    """Removes what all units share: the model's general liking for some hues."""
    return values - values.mean(axis=0, keepdims=True)


def _losses(losses: np.ndarray) -> np.ndarray:
    return -losses


def _centred(losses: np.ndarray) -> np.ndarray:
    return -_without_column_means(losses)


def _ranks(losses: np.ndarray) -> np.ndarray:
    return scipy.stats.rankdata(-losses, axis=1)


def _centred_ranks(losses: np.ndarray) -> np.ndarray:
    return _ranks(_without_column_means(losses - losses.mean(axis=1, keepdims=True)))


def _hits(losses: np.ndarray) -> np.ndarray:
    return (np.arange(1, losses.shape[1] + 1) == blind_argmin(losses)[:, None]).astype(float)


def _null_scaled(scores: np.ndarray) -> np.ndarray:
    """Scales scores so that their sum has standard deviation 1 under H0."""
    scale = np.sqrt(scores.var(axis=1).sum())
    return scores / scale if scale > 0 else scores


def _mixed(losses: np.ndarray) -> np.ndarray:
    return _null_scaled(_centred(losses)) + _null_scaled(_centred_ranks(losses))


ScoreFn = Callable[[np.ndarray], np.ndarray]

# Each maps unit losses [U, N - 1] to scores of the same shape; higher is evidence.
STATISTICS: dict[str, ScoreFn] = {
    "losses": _losses,
    "centred": _centred,
    "ranks": _ranks,
    "centred_ranks": _centred_ranks,
    "mixed": _mixed,
    "hits": _hits,
}

DEFAULT_STATISTIC = "mixed"


def score_units(
    loss_table: np.ndarray, assignment: Assignment, statistic: str = DEFAULT_STATISTIC
) -> np.ndarray:
    """Scores every valid slot of every unit; a function of the table and the units alone.

    Statistics: "losses" (the negative loss), "centred" (each column's mean removed),
    "ranks" (rank within the row, mid-ranks for ties), "centred_ranks" (ranks of the two-way
    centred losses), "mixed" (the sum of "centred" and "centred_ranks", each scaled to null
    standard deviation 1), "hits" (1 for the blind argmin, else 0).

    Args:
      loss_table: `[num_images, num_slots]` nats.
      assignment: gives the units; its slots are not looked at.
      statistic: a name of `STATISTICS`.

    Returns:
      float64 `[num_units, num_slots - 1]`; a constant row of zeros where a unit has no
      usable answers ("hits" gives such a unit to slot 1).
    """
    _check.one_of(STATISTICS, statistic=statistic)
    losses = unit_losses(loss_table, assignment)
    usable = ~np.isnan(losses[:, 0])
    scores = np.zeros_like(losses)
    if usable.any():
        scores[usable] = STATISTICS[statistic](losses[usable])
    if statistic == "hits":
        scores[~usable, 0] = 1.0
    return scores
