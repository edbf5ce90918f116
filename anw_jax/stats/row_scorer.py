"""Score the units of a sequential audit in order, each from its row and earlier units."""

import numpy as np

from anw_jax import _check
from anw_jax.keys import Units, plan_fields
from anw_jax.stats.scores import (
    BOUNDS,
    CENTRING,
    SEQUENTIAL_STATISTICS,
    bounded_rows,
    is_usable,
    log_scores,
    scale_of,
    score_row,
)


class RowScorer:
    """Scores the units of a sequential audit in order, without using later ones.

    Args:
      statistic: a name of `SEQUENTIAL_STATISTICS`.

    Attributes:
      takes_images: whether `score` takes the rows of a unit's images, not their sum.

    Example:
      >>> RowScorer("ranks").score([2.0, 1.0, 3.0]).tolist()
      [2.0, 3.0, 1.0]
      >>> scorer = RowScorer("bounded_log_losses")
      >>> scorer.score([[2.0, 2.0, 0.1]]).round(2).tolist()
      [0.0, 0.0, 1.24]
      >>> scorer.score([[2.0, 1e29, 2.0]]).round(2).tolist()
      [0.0, -0.75, -0.62]
    """

    def __init__(self, statistic: str):
        self._statistic = _check.one_of(SEQUENTIAL_STATISTICS, statistic=statistic)
        self.takes_images = statistic in plan_fields.IMAGE_STATISTICS
        self._bounds = BOUNDS.get(statistic)
        # Of earlier units: spreads for the scale, and the sum for the mean of bounded rows.
        self._spreads: list[float] = []
        self._sum_of_rows: np.ndarray | float = 0.0
        self._num_units = 0

    def score(self, losses: np.ndarray) -> np.ndarray:
        """Score the next unit, float64 `[N - 1]`, from its row and earlier units only.

        Args:
          losses: float `[N - 1]`, summed over the unit's images (see `unit_losses`); of a
            statistic that `takes_images`, `[num_images, N - 1]`, its distinct images, of which
            those with a loss that is NaN, infinite or absurd are left out.
        """
        if not self.takes_images:
            return score_row(losses, self._statistic)
        table = np.asarray(losses, np.float64)
        logs = log_scores(table[is_usable(table).all(axis=1)], self._bounds)
        if not len(logs):
            return np.zeros(table.shape[1])
        self._spreads += logs.std(axis=1).tolist()
        unit = np.zeros(len(logs), np.int64)
        scale = scale_of(np.array(self._spreads))
        row = bounded_rows(logs, unit, 1, scale, self._bounds)[0]
        scores = row - CENTRING * self._sum_of_rows / max(1, self._num_units)
        self._sum_of_rows = self._sum_of_rows + row
        self._num_units += 1
        return scores


def row_shapes(units: Units, statistic: str) -> list[tuple[int, ...]]:
    """Return the shape of each unit's rows in `RowScorer`: `(N - 1,)` or `(images, N - 1)`.

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
