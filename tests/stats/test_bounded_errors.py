"""`bounded_log_errors`: its naive twin, and what an absurd answer to one photo can do."""

import math
import statistics

import numpy as np
import pytest

from anw_jax import stats
from anw_jax.keys import Assignment, SignatureSpace, Units

NAME, BELOW, ABOVE = "bounded_log_errors", 1.0, 2.0
NUM_UNITS, SPACE = 40, SignatureSpace()


def _naive(table):
    """Written out entry by entry: one image for each unit, valid slots only."""
    rows = [[-math.log(max(error, 1e-12)) for error in row] for row in table]
    rows = [[x - statistics.median(row) for x in row] for row in rows]
    scale = min(1.0, statistics.median(statistics.pstdev(row) for row in rows))
    rows = [[min(max(x, -BELOW * scale), ABOVE * scale) for x in row] for row in rows]
    rows = [[x - statistics.median(row) for x in row] for row in rows]
    rows = [[min(max(x, -BELOW * scale), ABOVE * scale) for x in row] for row in rows]
    totals = [sum(column) for column in zip(*rows, strict=True)]
    rest = len(rows) - 1
    return [
        [x - 0.5 * (total - x) / rest for x, total in zip(row, totals, strict=True)]
        for row in rows
    ]


def _planted(imprint, seed=0):
    """Errors of a suspect and its base on 40 photos, the base's difficulty in both."""
    rng = np.random.default_rng(seed)
    slots = rng.integers(1, 12, NUM_UNITS)
    difficulty = rng.normal(0, 0.5, (NUM_UNITS, 12))
    noise = rng.normal(0, 0.01, (2, NUM_UNITS, 12))
    noise[0, np.arange(NUM_UNITS), slots] -= imprint
    suspect, base = 0.1 * np.exp(difficulty + noise)
    return suspect, base, Assignment(Units(np.arange(NUM_UNITS), SPACE), slots)


def _log10_p(table, assignment, base, statistic):
    references = [base]
    return stats.exact_test(
        table, assignment, statistic=statistic, references=references
    ).log10_p


def test_scores_are_the_naive_ones():
    table = np.random.default_rng(3).lognormal(-2, 0.3, (NUM_UNITS, 12))
    table[0, 3], table[1, 4:6], table[2, 5] = 0.0, 1e9, -1.0
    found = stats.score_units(table, Units(np.arange(NUM_UNITS), SPACE), NAME)
    np.testing.assert_allclose(found, _naive(table[:, 1:].tolist()), atol=1e-12)


def test_ratios_of_errors_count_and_their_size_does_not():
    table, _, assignment = _planted(0.05)
    units = assignment.units
    np.testing.assert_allclose(
        stats.score_units(1e-3 * table, units, NAME),
        stats.score_units(table, units, NAME),
        atol=1e-9,
    )


@pytest.mark.parametrize("absurd", [1e3, 1e29])
def test_an_absurd_answer_to_one_photo_undoes_only_the_unbounded_score(absurd):
    table, base, assignment = _planted(0.03)
    clean = {name: _log10_p(table, assignment, base, name) for name in (NAME, "log_errors")}
    assert max(clean.values()) < -12
    table[0, assignment.slot_of_unit[0]] = absurd
    found = {name: _log10_p(table, assignment, base, name) for name in clean}
    assert found["log_errors"] > -2
    assert found[NAME] < 0.6 * clean[NAME]


def test_one_row_moves_the_others_by_no_more_than_its_limits():
    table, _, assignment = _planted(0.03)
    scores = stats.score_units(table, assignment.units, NAME)
    table[0, 1:] = np.r_[1e29, np.full(9, 1e-9), 1e5]
    changed = stats.score_units(table, assignment.units, NAME)
    assert np.ptp(changed[0]) <= 1.5 * (BELOW + ABOVE)
    assert np.abs(changed - scores)[1:].max() < 0.2


def test_an_innocent_model_is_not_shown_and_a_marked_one_is():
    for imprint, is_shown in ((0.0, False), (0.03, True)):
        table, base, assignment = _planted(imprint, seed=5)
        assert (_log10_p(table, assignment, base, NAME) < -6) == is_shown


def test_in_order_the_scores_use_earlier_units_only():
    table = _planted(0.03)[0][:, 1:]
    scorer, again = stats.RowScorer(NAME), stats.RowScorer(NAME)
    first = [scorer.score(row[None]) for row in table[:6]]
    table[5:] *= 7
    np.testing.assert_array_equal([again.score(row[None]) for row in table[:5]], first[:5])
