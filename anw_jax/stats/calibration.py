"""Subtract from a suspect's scores what reference models predict about them.

Some candidates of an image are harder than others for any model, trained on it or not. A
reference that was not trained on the marks (the base that a suspect was fine-tuned from, or a
model of the same kind trained on other images) estimates this difficulty; subtracting its
scores leaves the effect of training. The loss difference of a suspect and a reference is the
"difficulty
calibration" of Watson et al., "On the Importance of Difficulty Calibration in Membership
Inference Attacks" (2022), https://arxiv.org/abs/2111.08440.

The coefficient is fitted to the scores of all valid slots, so it is independent of the secret
ones, and the exact test is valid for the calibrated scores as for any others. The rows of a
reference must not depend on the secret slots: a model that may have been trained on the marked
images must not be used.
"""

from collections.abc import Sequence

import numpy as np
import scipy

# Relative differences below this are rounding errors and count as ties.
NOISE = 1e-12

# Digits of a coefficient: the last bits of one machine's solver change nothing.
_DIGITS = 13


def calibrated_scores(
    scores: np.ndarray, *references: np.ndarray, fitted_to: Sequence[np.ndarray] = ()
) -> np.ndarray:
    """Subtract a non-negative linear combination of reference scores from a suspect's scores.

    All rows are first centred. The coefficients minimise the sum of squared residuals and are
    non-negative. Entries of a row that differ by rounding errors become equal: nothing is left
    of rows that are proportional to those of a reference.

    Args:
      scores: float64 `[num_units, N - 1]`, as `score_units` gives; higher is evidence.
      references: the scores of each reference on the same units, by the same statistic.
      fitted_to: scores and references with outliers cut off, in the same order, to which the
        coefficients are fitted instead.

    Returns:
      float64 `[num_units, N - 1]`. A unit without usable answers of the suspect keeps its row
      of zeros; such a row of a reference has no effect.

    Raises:
      ValueError: no reference, scores that are not finite, or of different shapes.

    Example:
      >>> reference = np.array([[0.0, 1.0, 5.0], [2.0, 0.0, 1.0]])
      >>> imprint = np.array([[0.0, 0.0, 0.0], [0.0, 3.0, 0.0]])
      >>> calibrated_scores(2 * reference, reference).round(9).tolist()
      [[4.0, 4.0, 4.0], [2.0, 2.0, 2.0]]
      >>> int(calibrated_scores(2 * reference + imprint, reference)[1].argmax())
      1
    """
    if not references:
        raise ValueError("references must hold at least one table of scores, got none")
    tables = [_finite(scores=scores), *(_finite(references=each) for each in references)]
    if any(each.shape != tables[0].shape for each in tables):
        raise ValueError(
            f"references must have the shape of the scores, {tables[0].shape}, got "
            f"{', '.join(str(each.shape) for each in tables[1:])}"
        )
    suspect, answered = tables[0], np.ptp(tables[0], axis=1) > 0
    wanted, *columns = (_centred(each)[answered].ravel() for each in fitted_to or tables)
    coefficients = _least_squares(np.stack(columns, axis=1), wanted)
    calibrated = suspect[answered]
    size = np.abs(calibrated).max(axis=1, keepdims=True, initial=0.0)
    for coefficient, reference in zip(coefficients, tables[1:], strict=True):
        predicted = coefficient * _centred(reference)[answered]
        calibrated = calibrated - predicted
        size += np.abs(predicted).max(axis=1, keepdims=True, initial=0.0)
    result = suspect.copy()
    result[answered] = with_ties(calibrated, NOISE * size)
    return result


def _centred(rows: np.ndarray) -> np.ndarray:
    return rows - rows.mean(axis=1, keepdims=True)


def with_ties(rows: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Make the entries of a row equal where sorted neighbours differ by at most `noise`.

    Args:
      rows: float64 `[n, m]`.
      noise: float64 `[n, 1]`.

    Example:
      >>> with_ties(np.array([[1.0, 3.0, 1.1]]), np.array([[0.2]])).tolist()
      [[1.0, 3.0, 1.0]]
    """
    order = np.argsort(rows, axis=1, kind="stable")
    ordered = np.take_along_axis(rows, order, axis=1)
    starts = np.diff(ordered, axis=1, prepend=-np.inf) > noise
    first_of_tie = np.maximum.accumulate(np.where(starts, np.arange(ordered.shape[1]), 0), 1)
    tied = rows.copy()
    np.put_along_axis(tied, order, np.take_along_axis(ordered, first_of_tie, axis=1), axis=1)
    return tied


def _least_squares(columns: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Fit non-negative coefficients; return zeros if there is no data."""
    norms = np.sqrt(np.square(columns).sum(axis=0))
    if not wanted.size or not norms.any():
        return np.zeros(columns.shape[1])
    norms[norms == 0] = 1.0
    data = np.column_stack([columns / norms, wanted])
    # Sorted, so that the order of the units changes no bit of the sums.
    data = data[np.lexsort(data.T)]
    found = scipy.optimize.nnls(data[:, :-1], data[:, -1], maxiter=100 * columns.shape[1])[0]
    return np.array([float(f"{value:.{_DIGITS}g}") for value in found / norms])


def _finite(**named: np.ndarray) -> np.ndarray:
    ((name, values),) = named.items()
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, of shape [num_units, num_valid]")
    return values
