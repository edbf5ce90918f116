"""Scores against their naive twins, entry by entry."""

import math

import numpy as np
import pytest

from anw_jax import stats
from anw_jax.keys.plan_fields import IMAGE_STATISTICS


def _naive_scores(losses, statistic):
    """Scores written out entry by entry."""
    units, columns = losses.shape
    column_means = [sum(losses[:, s]) / units for s in range(columns)]
    centred = np.array(
        [[column_means[s] - losses[u, s] for s in range(columns)] for u in range(units)]
    )
    ranks_of = lambda row: [  # noqa: E731
        sum(other < value for other in row) + (sum(other == value for other in row) + 1) / 2
        for value in row
    ]
    ranks = np.array([ranks_of(row) for row in -losses])
    return {
        "log_losses": np.array([[-math.log(max(x, 0) + 0.3) for x in row] for row in losses]),
        "log_errors": np.array([[-math.log(max(x, 1e-12)) for x in row] for row in losses]),
        "losses": -losses,
        "centred": centred,
        "ranks": ranks,
        "hits": np.array(
            [
                np.arange(columns) == min(range(columns), key=list(row).__getitem__)
                for row in losses
            ],
            float,
        ),
    }[statistic]


# The twin of "bounded_log_losses" stands in test_bounded.py.
@pytest.mark.parametrize("statistic", sorted({*stats.STATISTICS} - {*IMAGE_STATISTICS}))
def test_scores_are_the_naive_ones(statistic, rng, plain_assignment):
    table = rng.normal(size=(7, 6)).round(2)
    scores = stats.score_units(table, plain_assignment([1] * 7, 6).units, statistic)
    naive = _naive_scores(table[:, 1:], statistic)
    # A constant added to a row changes neither statistic nor null beyond a shift.
    differences = scores - naive
    np.testing.assert_allclose(differences - differences[:, :1], 0, atol=1e-9)
