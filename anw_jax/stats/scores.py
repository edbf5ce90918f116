"""From a loss table to one score per unit and valid slot; never looks at the slots."""

import functools
from collections.abc import Callable

import numpy as np
import scipy.stats

from anw_jax import _check
from anw_jax.keys import Units, plan_fields
from anw_jax.stats.bounded import DAMPING_NATS, BoundedRows, bounded_scores
from anw_jax.stats.unit_rows import is_usable, unit_losses, usable_rows

# Differences below this share of the numbers they come from are rounding, hence ties.
_NOISE = 1e-12


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
    return -np.log(np.maximum(losses, 0.0) + DAMPING_NATS)


ScoreFn = Callable[[np.ndarray], np.ndarray]

_SCORE_FNS: dict[str, ScoreFn] = {
    "log_losses": _log_losses,
    "losses": _losses,
    "centred": _centred,
    "ranks": _ranks,
    "hits": _hits,
}

# Those above map unit losses [U, N - 1] to scores of the same shape; these map the rows of
# images, since each is bounded before the unit's sum. Higher is evidence.
_IMAGE_SCORE_FNS = {"bounded_log_losses": bounded_scores}

# The names are those that a plan can hold: `keys` refuses any other before it is committed to.
STATISTICS = plan_fields.STATISTICS
ROW_STATISTICS = plan_fields.ROW_STATISTICS
SEQUENTIAL_STATISTICS = plan_fields.SEQUENTIAL_STATISTICS

# Chosen on seeds >= 100, which stand in no result (`benchmarks/score_study.py` made
# results/score_study.json). A memorised photo's loss is near 0 and the others' spread over
# decades: raw losses let a few photos with huge losses rule the null's variance, ranks throw
# the size of the gap away, and removing column means removes evidence where few photos
# share a slot. The damped logarithm was first in 7 of 10 comparisons and within 0.2 decades
# of the first in the others; centred ranks and sums of scores were behind in all.
DEFAULT_STATISTIC = "log_losses"


def score_units(
    loss_table: np.ndarray, units: Units, statistic: str = DEFAULT_STATISTIC
) -> np.ndarray:
    """Scores every valid slot of every unit; a function of the table and the units alone.

    Statistics: "log_losses" (minus the logarithm of loss + 0.3 nats), "losses" (the negative
    loss), "centred" (each column's mean removed), "ranks" (rank within the row, mid-ranks for
    ties), "hits" (1 for the blind argmin, else 0), "bounded_log_losses" (each image's row of
    "log_losses" cut off on both sides of its median: absurd answers to a few photos cannot
    undo what the others show).

    Args:
      loss_table: `[num_images, num_slots]` nats.
      units: which unit each image belongs to.
      statistic: a name of `STATISTICS`.

    Returns:
      float64 `[num_units, num_slots - 1]`; a constant row of zeros where a unit has no
      usable answers.
    """
    _check.one_of(STATISTICS, statistic=statistic)
    if statistic in plan_fields.IMAGE_STATISTICS:
        rows, unit = usable_rows(loss_table, units)
        return _IMAGE_SCORE_FNS[statistic](rows, unit, units.num_units)
    losses = unit_losses(loss_table, units)
    usable = ~np.isnan(losses[:, 0])
    scores = np.zeros_like(losses)
    if usable.any():
        scores[usable] = _SCORE_FNS[statistic](losses[usable])
    return scores


def score_row(losses: np.ndarray, statistic: str = DEFAULT_STATISTIC) -> np.ndarray:
    """Scores one unit's finished row, as `score_units` does where rows are scored alone.

    Args:
      losses: float `[N - 1]`, the unit's losses at the valid slots, summed over its images.
      statistic: a name of `ROW_STATISTICS`; "centred" needs the whole table, and
        "bounded_log_losses" earlier rows (see `RowScorer`).

    Returns:
      float64 `[N - 1]`, higher is evidence; zeros where a loss is NaN, infinite or absurd.

    Raises:
      ValueError: an unknown statistic, or one that needs other rows; not a vector.

    Example:
      >>> score_row([2.0, 1.0, 3.0], "ranks").tolist()
      [2.0, 3.0, 1.0]
    """
    _check.one_of(ROW_STATISTICS, statistic=statistic)
    row = np.asarray(losses, np.float64)
    if row.ndim != 1 or not len(row):
        raise ValueError(f"losses must be a non-empty vector, got shape {row.shape}")
    usable = is_usable(row).all()
    return _SCORE_FNS[statistic](row[None])[0] if usable else np.zeros(len(row))


class RowScorer:
    """Scores the units of a sequential audit in its order, never looking ahead.

    Args:
      statistic: a name of `SEQUENTIAL_STATISTICS`.

    Attributes:
      takes_images: whether `score` takes the rows of a unit's images, not their sum.

    Example:
      >>> RowScorer("ranks").score([2.0, 1.0, 3.0]).tolist()
      [2.0, 3.0, 1.0]
      >>> RowScorer("bounded_log_losses").score([[2.0, 2.0, 0.1]]).round(2).tolist()
      [0.0, 0.0, 1.24]
    """

    def __init__(self, statistic: str):
        _check.one_of(SEQUENTIAL_STATISTICS, statistic=statistic)
        self.takes_images = statistic in plan_fields.IMAGE_STATISTICS
        self._score = (
            BoundedRows().score
            if self.takes_images
            else functools.partial(score_row, statistic=statistic)
        )

    def score(self, losses: np.ndarray) -> np.ndarray:
        """The next unit's scores, float64 `[N - 1]`: of its row and of earlier units only.

        Args:
          losses: float `[N - 1]`, summed over the unit's images (see `unit_losses`); of a
            statistic that `takes_images`, `[num_images, N - 1]`, its distinct images.
        """
        return self._score(losses)


def row_shapes(units: Units, statistic: str) -> list[tuple[int, ...]]:
    """What `RowScorer` takes of each unit: `(N - 1,)`, or `(number of distinct images, N - 1)`.

    Example:
      >>> from anw_jax.keys import SignatureSpace
      >>> copies = [False, False, False, True]
      >>> albums = Units([0, 0, 1, 0], SignatureSpace(), "per_group", copies)
      >>> row_shapes(albums, "losses"), row_shapes(albums, "bounded_log_losses")
      ([(11,), (11,)], [(2, 11), (1, 11)])
    """
    num_valid = units.space.num_valid
    if statistic not in plan_fields.IMAGE_STATISTICS:
        return [(num_valid,)] * units.num_units
    return [(int(size), num_valid) for size in units.sizes]
