"""Convert a loss table to one score per unit and valid slot, without access to the slots.

The statistic "bounded_log_losses" is robust to extreme answers on a few photos. A sum of scores
is dominated by its largest terms: losses of 1e29 at some hues of three photos out of fifty
dominate the spread of the null distribution and hide the evidence of the others. So each
image's row of scores -log(loss + 0.3) is centred on its median and clipped on both sides, at
multiples of a scale that a minority of images cannot change: the median, over images, of the
rows' standard deviations, and at most 1. The unit's sum is again centred on its median and
clipped, at √k times the limit for k images, since its random spread grows by that factor. Half
of the other units' mean at each hue is then subtracted, since a preference in all photos is not
evidence for this one. (Subtracting all of it would remove evidence if few units share a slot.)
In the sequential mode the others are the earlier units. The constants were chosen on trainings
that are not part of any result (`benchmarks/bounded_score.py`).

"bounded_log_errors" is the same for errors, with the scores -log(error). Its limits are wider:
those of losses would cost 7 % of the evidence. On trainings that are in no result, absurd
answers to one photo of 25 left nothing of log10 p = -33 (a sum over five owners) without
limits, and -22 of -35 with them (`benchmarks/bounded_errors.py`).

**References** (`calibration`) are loss tables of other models on the same candidates. Their
scores by the same statistic are subtracted. "ranks" and "hits" rank the calibrated "log_losses"
scores: a difference of ranks would lose their size. "bounded_log_losses" calibrates the rows of
images before it cuts them off, with coefficients fitted to rows that are cut off: the limits of
a unit's score hold as without references, and absurd answers cannot move the coefficients.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import scipy

from anw_jax import _check
from anw_jax.keys import Units, plan_fields
from anw_jax.stats.calibration import NOISE, calibrated_scores, with_ties

# Larger losses are numerical failures, and their sums could overflow.
_LARGEST_LOSS = 1e30

# Smaller errors count as this one.
_SMALLEST_ERROR = 1e-12

# Added to losses: differences between losses far below it carry little evidence.
DAMPING_NATS = 0.3

# The largest scale, in nats: the first rows of a sequential audit are compared with few
# others, and a model may answer all of them absurdly.
LARGEST_SCALE = 1.0

# Rows with a smaller spread do not distinguish slots: it is rounding.
LEAST_SPREAD = 1e-6

# The share of the other units' mean that is subtracted.
CENTRING = 0.5


@dataclasses.dataclass(frozen=True)
class Bounds:
    """How a bounded statistic scores an image's row.

    Attributes:
      score: from losses to scores, higher is evidence.
      below, above: how far from its median a row may reach, in units of the scale.
    """

    score: Callable[[np.ndarray], np.ndarray]
    below: float
    above: float


def unit_losses(
    loss_table: np.ndarray, units: Units, references: Sequence[np.ndarray] = ()
) -> np.ndarray:
    """Sum the rows of each unit over its distinct, usable images.

    Args:
      loss_table: `[num_images, num_slots]` nats, slot 0 first; any real dtype.
      units: which unit each image belongs to.
      references: tables of reference models.

    Returns:
      float64 `[num_units, num_slots - 1]`, valid slots only; with references minus the
      calibrated "log_losses" scores. A row of NaN where a unit has no image whose losses are
      all finite.

    Raises:
      TypeError: `units` is no `Units`.
      ValueError: the table's shape does not fit the units.
    """
    rows, unit = usable_rows(loss_table, units)
    sums = sum_by_unit(rows, unit, units.num_units)
    is_silent = np.bincount(unit, minlength=units.num_units) == 0
    if len(references):
        sums = -score_units(loss_table, units, "log_losses", references)
    sums[is_silent] = np.nan
    return sums


def usable_rows(loss_table: np.ndarray, units: Units) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of distinct images whose losses are all usable, and the unit of each.

    Args:
      loss_table: `[num_images, num_slots]` nats, slot 0 first; any real dtype.
      units: which unit each image belongs to.

    Returns:
      float64 `[num_rows, num_slots - 1]`, valid slots only, and int64 `[num_rows]`, ascending
      or not as the images come.

    Raises:
      TypeError, ValueError: see `unit_losses`.
    """
    valid, usable = _valid_slots(loss_table, units)
    return valid[usable], units.unit_of_image[usable]


def _valid_slots(loss_table: np.ndarray, units: Units) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns of the valid slots, and which rows count: usable, and no copies."""
    if not isinstance(units, Units):
        raise TypeError(
            f"units must be a Units, got {type(units).__name__}: give manifest.units or "
            "assignment.units"
        )
    table = np.asarray(loss_table, np.float64)
    expected = (units.num_images, units.space.num_slots)
    if table.shape != expected:
        raise ValueError(
            f"loss_table must have shape (num_images, num_slots) = {expected}, "
            f"got {table.shape}"
        )
    valid = table[:, 1:]
    return valid, is_usable(valid).all(axis=1) & ~units.is_copy


def sum_by_unit(rows: np.ndarray, unit: np.ndarray, num_units: int) -> np.ndarray:
    """Sum rows `[num_rows, …]` by unit, smallest first: their order changes no bit.

    Returns:
      float64 `[num_units, …]`; zeros where a unit has no row.

    Example:
      >>> sum_by_unit(np.array([[1.0], [2.0], [4.0]]), np.array([2, 0, 2]), 3).tolist()
      [[2.0], [0.0], [5.0]]
    """
    sums = np.zeros((num_units, rows.shape[1]))
    if len(unit):
        filled, counts = np.unique(unit, return_counts=True)
        starts = np.cumsum(counts) - counts
        for column, values in enumerate(rows.T):
            in_order = values[np.lexsort((values, unit))]
            sums[filled, column] = np.add.reduceat(in_order, starts)
    return sums


def is_usable(losses: np.ndarray) -> np.ndarray:
    """Return which losses a test can use: finite, and not larger than `_LARGEST_LOSS`."""
    with np.errstate(invalid="ignore"):
        return np.abs(losses) <= _LARGEST_LOSS


def blind_argmin(losses: np.ndarray) -> np.ndarray:
    """Find the valid slot with the lowest loss in each row, without the key.

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


def bounded_scores(
    losses: np.ndarray,
    unit: np.ndarray,
    num_units: int,
    references: Sequence[np.ndarray] = (),
    bounds: Bounds | None = None,
) -> np.ndarray:
    """Score all units of a sealed table.

    Args:
      losses: usable float64 `[num_rows, N - 1]`, one row for each distinct image.
      unit: int64 `[num_rows]`, in 0 … num_units - 1.
      num_units: units in all.
      references: `log_scores` of reference models for the same images.
      bounds: of the statistic; None for "bounded_log_losses".

    Returns:
      float64 `[num_units, N - 1]`, higher is evidence; zeros for a unit without a row.

    Example:
      >>> table = np.array([[2.0, 2.0, 0.1], [2.0, 1e29, 2.0]])
      >>> bounded_scores(table, np.array([0, 1]), 2).round(2).tolist()
      [[0.0, 0.38, 1.5], [0.0, -0.75, -0.75]]
    """
    bounds = bounds or BOUNDS["bounded_log_losses"]
    logs = log_scores(losses, bounds)
    if references:
        cut_off = [_cut_off(each, bounds) for each in (logs, *references)]
        logs = calibrated_scores(logs, *references, fitted_to=cut_off)
        logs -= np.median(logs, axis=1, keepdims=True)
    rows = bounded_rows(logs, unit, num_units, scale_of(logs.std(axis=1)), bounds)
    answered = np.bincount(unit, minlength=num_units) > 0
    num_answered = int(answered.sum())
    if num_answered > 1:
        own = rows[answered]
        # Sorted, so that the order of the units changes no bit of the sum.
        total = np.sort(own, axis=0).sum(axis=0)
        rows[answered] = own - CENTRING * (total - own) / (num_answered - 1)
    return rows


def log_scores(losses: np.ndarray, bounds: Bounds | None = None) -> np.ndarray:
    """Compute -log(loss + 0.3), or the score of `bounds`, minus the row's median."""
    scores = (bounds or BOUNDS["bounded_log_losses"]).score(losses)
    return scores - np.median(scores, axis=1, keepdims=True)


def scale_of(row_spreads: np.ndarray) -> float:
    """Compute the median spread of the rows that vary, at most `LARGEST_SCALE`.

    Example:
      >>> scale_of(np.array([0.0, 0.2, 0.3, 50.0])), scale_of(np.array([0.0]))
      (0.3, 1.0)
    """
    varied = row_spreads[row_spreads > LEAST_SPREAD]
    return min(LARGEST_SCALE, float(np.median(varied))) if len(varied) else LARGEST_SCALE


def bounded_rows(
    logs: np.ndarray,
    unit: np.ndarray,
    num_units: int,
    scale: float,
    bounds: Bounds | None = None,
) -> np.ndarray:
    """Cut off each image's row, sum by unit, and cut off the sums, `[num_units, N - 1]`."""
    bounds = bounds or BOUNDS["bounded_log_losses"]
    low, high = -bounds.below * scale, bounds.above * scale
    sums = sum_by_unit(np.clip(logs, low, high), unit, num_units)
    sums -= np.median(sums, axis=1, keepdims=True)
    root = np.sqrt(np.bincount(unit, minlength=num_units))[:, None]
    return np.clip(sums, low * root, high * root)


def _cut_off(logs: np.ndarray, bounds: Bounds) -> np.ndarray:
    """Cut off each image's row at the limits of its table."""
    scale = scale_of(logs.std(axis=1))
    return np.clip(logs, -bounds.below * scale, bounds.above * scale)


def _without_column_means(values: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Remove what all units share: the model's general liking for some hues.

    Entries of a row that differ by less than the rounding of `losses` become equal, so that
    ties stay ties: what is left of equal rows is nothing, not noise scaled up.
    """
    column_means = np.sort(values, axis=0).mean(axis=0, keepdims=True)
    centred = values - column_means
    noise = NOISE * (np.abs(losses).max(axis=1, keepdims=True) + np.abs(column_means).max())
    return with_ties(centred, noise)


def _log_losses(losses: np.ndarray) -> np.ndarray:
    """-log(loss + 0.3); negative losses count as 0."""
    return -np.log(np.maximum(losses, 0.0) + DAMPING_NATS)


def _log_errors(errors: np.ndarray) -> np.ndarray:
    return -np.log(np.maximum(errors, _SMALLEST_ERROR))


BOUNDS = {
    "bounded_log_losses": Bounds(_log_losses, 0.75, 1.5),
    "bounded_log_errors": Bounds(_log_errors, 1.0, 2.0),
}

# From unit losses [U, N - 1] to scores of the same shape. Higher is evidence.
_SCORE_FNS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "log_losses": _log_losses,
    "losses": np.negative,
    "centred": lambda losses: -_without_column_means(losses, losses),
    "ranks": lambda losses: scipy.stats.rankdata(-losses, axis=1),
    "hits": lambda losses: (
        np.arange(1, losses.shape[1] + 1) == blind_argmin(losses)[:, None]
    ).astype(float),
    "log_errors": _log_errors,
}

# Statistics of the order within a row.
_RANKED = ("ranks", "hits")

# The names that a plan accepts: `keys` raises an error for any other.
STATISTICS = plan_fields.STATISTICS
ROW_STATISTICS = plan_fields.ROW_STATISTICS
SEQUENTIAL_STATISTICS = plan_fields.SEQUENTIAL_STATISTICS

# Chosen on seeds >= 100, which are not part of any result (`benchmarks/score_study.py` made
# results/score_study.json). A memorised photo's loss is near 0 and the others' spread over
# decades: raw losses let a few photos with huge losses dominate the null's variance, ranks
# discard the size of the gap, and removing column means removes evidence where few photos
# share a slot. The damped logarithm was first in 7 of 10 comparisons and within 0.2 decades
# of the first in the others; centred ranks and sums of scores were behind in all.
DEFAULT_STATISTIC = "log_losses"


def score_units(
    loss_table: np.ndarray,
    units: Units,
    statistic: str = DEFAULT_STATISTIC,
    references: Sequence[np.ndarray] = (),
) -> np.ndarray:
    """Score every valid slot of every unit; a function of the table and the units alone.

    Statistics: "log_losses" (minus the logarithm of loss + 0.3 nats), "losses" (the negative
    loss), "centred" (each column's mean removed), "ranks" (rank within the row, mid-ranks for
    ties), "hits" (1 for the blind argmin, else 0), "bounded_log_losses" (each image's row of
    "log_losses" cut off on both sides of its median: absurd answers to a few photos cannot
    undo what the others show), "log_errors" (minus the logarithm, for squared and denoising
    errors, whose ratios count), "bounded_log_errors" (the same, cut off).

    Args:
      loss_table: `[num_images, num_slots]` nats.
      units: which unit each image belongs to.
      statistic: a name of `STATISTICS`.
      references: tables of reference models of the same shape, which must not depend on the
        slots; a reference's row of NaN has no effect.

    Returns:
      float64 `[num_units, num_slots - 1]`; a constant row of zeros where a unit has no
      usable answers.

    Raises:
      TypeError, ValueError: see `unit_losses`; a reference of another shape than the table.
    """
    _check.one_of(STATISTICS, statistic=statistic)
    shape = np.shape(loss_table)
    for each in references:
        if np.shape(each) != shape:
            raise ValueError(
                f"references must be tables of the shape of loss_table, {shape}, got "
                f"{np.shape(each)}"
            )
    if statistic in plan_fields.IMAGE_STATISTICS:
        counted, bounds = _valid_slots(loss_table, units)[1], BOUNDS[statistic]
        logs = [_image_logs(each, units, bounds)[counted] for each in references]
        return bounded_scores(*usable_rows(loss_table, units), units.num_units, logs, bounds)
    ranked = references if statistic in _RANKED else ()
    losses = unit_losses(loss_table, units, ranked)
    usable = ~np.isnan(losses[:, 0])
    scores = np.zeros_like(losses)
    if usable.any():
        scores[usable] = _SCORE_FNS[statistic](losses[usable])
    if len(references) and not ranked:
        others = (score_units(each, units, statistic) for each in references)
        scores = calibrated_scores(scores, *others)
    return scores


def _image_logs(loss_table: np.ndarray, units: Units, bounds: Bounds) -> np.ndarray:
    """Compute `log_scores` of every image; zeros where its losses are unusable."""
    valid, usable = _valid_slots(loss_table, units)
    logs = np.zeros_like(valid)
    logs[usable] = log_scores(valid[usable], bounds)
    return logs


def score_row(losses: np.ndarray, statistic: str = DEFAULT_STATISTIC) -> np.ndarray:
    """Score one unit's finished row, as `score_units` does where rows are scored alone.

    Args:
      losses: float `[N - 1]`, the unit's losses at the valid slots, summed over its images.
      statistic: a name of `ROW_STATISTICS`; "centred" needs the whole table, and the
        bounded ones earlier rows (see `RowScorer`).

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
