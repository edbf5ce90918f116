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

import numpy as np
import scipy.optimize


def calibrated_scores(scores: np.ndarray, *references: np.ndarray) -> np.ndarray:
    """Subtract a non-negative linear combination of reference scores from a suspect's scores.

    All rows are first centred. The coefficients minimise the sum of squared residuals and are
    non-negative.

    Args:
      scores: float64 `[num_units, N - 1]`, as `score_units` gives; higher is evidence.
      references: the scores of each reference on the same units, by the same statistic.

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
    suspect = _finite(scores=scores)
    others = [_finite(references=each) for each in references]
    if any(other.shape != suspect.shape for other in others):
        raise ValueError(
            f"references must have the shape of the scores, {suspect.shape}, got "
            f"{', '.join(str(other.shape) for other in others)}"
        )
    answered = np.ptp(suspect, axis=1) > 0
    centred = [each - each.mean(axis=1, keepdims=True) for each in (suspect, *others)]
    wanted, *columns = (each[answered].ravel() for each in centred)
    coefficients = _least_squares(np.stack(columns, axis=1), wanted)
    calibrated = suspect.copy()
    for coefficient, reference in zip(coefficients, centred[1:], strict=True):
        calibrated[answered] -= coefficient * reference[answered]
    return calibrated


def _least_squares(columns: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Fit non-negative coefficients; return zeros if there is no data."""
    if not wanted.size or not columns.any():
        return np.zeros(columns.shape[1])
    return scipy.optimize.nnls(columns, wanted)[0]


def _finite(**named: np.ndarray) -> np.ndarray:
    ((name, values),) = named.items()
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, of shape [num_units, num_valid]")
    return values
