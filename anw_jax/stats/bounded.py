"""Scores that absurd answers to a few photos cannot undo.

A sum of scores is only as good as its largest terms: a model that answers three of fifty
photos with losses of 1e29 at some hues rules the null's spread, and hides what the other
photos show. So each image's row of scores -log(loss + 0.3) is counted from its own median and
cut off on both sides, at multiples of a scale that a minority of images cannot move: the
median, over images, of the rows' standard deviations, and at most 1. The unit's sum is counted
from its median and cut off again, √k times as far out for k images, as chance makes it spread.

Half of what the other units show on average at each hue is then taken away: what a model
likes or dislikes in all photos is no imprint of this one. (All of it would take away evidence
where few units share a slot.) In the sequential mode the others are the earlier units.

Nothing here sees a slot. The numbers were chosen on trainings that stand in no result
(`benchmarks/bounded_score.py`).
"""

import numpy as np

from anw_jax.stats.unit_rows import is_usable, sum_by_unit

# Losses well below this are alike: the model knows the photo, and how well says little.
DAMPING_NATS = 0.3

# How far below and above its median a row may reach, in units of the scale.
BELOW, ABOVE = 0.75, 1.5

# The scale's upper end, in nats of the logarithm: the first rows of a sequential audit have
# few others beside them, and a model may answer all of them absurdly.
LARGEST_SCALE = 1.0

# Rows that vary by less do not tell their slots apart: rounding.
LEAST_SPREAD = 1e-6

# The share of the others' mean that is taken away.
CENTRING = 0.5


def bounded_scores(losses: np.ndarray, unit: np.ndarray, num_units: int) -> np.ndarray:
    """Scores all units of a sealed table.

    Args:
      losses: usable float64 `[num_rows, N - 1]`, one row for each distinct image.
      unit: int64 `[num_rows]`, in 0 … num_units - 1.
      num_units: units in all.

    Returns:
      float64 `[num_units, N - 1]`, higher is evidence; zeros for a unit without a row.

    Example:
      >>> table = np.array([[2.0, 2.0, 0.1], [2.0, 1e29, 2.0]])
      >>> bounded_scores(table, np.array([0, 1]), 2).round(2).tolist()
      [[0.0, 0.38, 1.5], [0.0, -0.75, -0.75]]
    """
    logs = log_scores(losses)
    rows = bounded_rows(logs, unit, num_units, scale_of(spreads(logs)))
    answered = np.bincount(unit, minlength=num_units) > 0
    num_answered = int(answered.sum())
    if num_answered > 1:
        own = rows[answered]
        # Sorted, so that the order of the units changes no bit of the sum.
        total = np.sort(own, axis=0).sum(axis=0)
        rows[answered] = own - CENTRING * (total - own) / (num_answered - 1)
    return rows


class BoundedRows:
    """Scores units one after another, each from its own rows and those of earlier units.

    Example:
      >>> scorer = BoundedRows()
      >>> scorer.score(np.array([[2.0, 2.0, 0.1]])).round(2).tolist()
      [0.0, 0.0, 1.24]
      >>> scorer.score(np.array([[2.0, 1e29, 2.0]])).round(2).tolist()
      [0.0, -0.75, -0.62]
    """

    def __init__(self):
        self._spreads: list[float] = []
        self._sum_of_rows: np.ndarray | float = 0.0
        self._num_units = 0

    def score(self, losses: np.ndarray) -> np.ndarray:
        """The next unit's scores, float64 `[N - 1]`; zeros where no image is usable.

        Args:
          losses: float `[num_images, N - 1]`, the rows of its distinct images; images with
            a loss that is NaN, infinite or absurd are left out.
        """
        table = np.asarray(losses, np.float64)
        table = table[is_usable(table).all(axis=1)]
        if not len(table):
            return np.zeros(np.shape(losses)[1])
        logs = log_scores(table)
        self._spreads += spreads(logs).tolist()
        unit = np.zeros(len(table), np.int64)
        row = bounded_rows(logs, unit, 1, scale_of(np.array(self._spreads)))[0]
        scores = row - CENTRING * self._sum_of_rows / max(1, self._num_units)
        self._sum_of_rows = self._sum_of_rows + row
        self._num_units += 1
        return scores


def log_scores(losses: np.ndarray) -> np.ndarray:
    """-log(loss + 0.3) of each entry, less the row's median; negative losses count as 0."""
    scores = -np.log(np.maximum(losses, 0.0) + DAMPING_NATS)
    return scores - np.median(scores, axis=1, keepdims=True)


def spreads(logs: np.ndarray) -> np.ndarray:
    """The standard deviation of each row."""
    return logs.std(axis=1)


def scale_of(row_spreads: np.ndarray) -> float:
    """The median spread of the rows that vary, at most `LARGEST_SCALE`.

    Example:
      >>> scale_of(np.array([0.0, 0.2, 0.3, 50.0])), scale_of(np.array([0.0]))
      (0.3, 1.0)
    """
    varied = row_spreads[row_spreads > LEAST_SPREAD]
    return min(LARGEST_SCALE, float(np.median(varied))) if len(varied) else LARGEST_SCALE


def bounded_rows(
    logs: np.ndarray, unit: np.ndarray, num_units: int, scale: float
) -> np.ndarray:
    """Cuts off each image's row, sums by unit, and cuts off the sums, `[num_units, N - 1]`."""
    low, high = -BELOW * scale, ABOVE * scale
    sums = sum_by_unit(np.clip(logs, low, high), unit, num_units)
    sums -= np.median(sums, axis=1, keepdims=True)
    root = np.sqrt(np.bincount(unit, minlength=num_units))[:, None]
    return np.clip(sums, low * root, high * root)
