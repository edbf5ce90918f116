"""What a reference model knows about the candidates is taken out of a suspect's scores.

One candidate of an image is harder than another for any model, trained on it or not. A
reference that never met the marks (the base that a suspect was fine-tuned from, or a model of
the same kind trained on other images) shows which; what remains after its scores are subtracted
is the imprint. The difference of losses between a suspect and a reference is the "difficulty
calibration" of Watson et al., "On the Importance of Difficulty Calibration in Membership
Inference Attacks" (2022), https://arxiv.org/abs/2111.08440.

The coefficient is fitted to the scores of all valid slots, so it says nothing of the secret
ones, and the exact test of the calibrated scores holds as for any others. That needs a
reference whose rows do not depend on the secret slots: a model that may have been trained on
the marked images is none.
"""

import numpy as np
import scipy.optimize


def calibrated_scores(scores: np.ndarray, *references: np.ndarray) -> np.ndarray:
    """Subtract what references predict of a suspect's scores.

    Rows are compared after their means are taken out. The coefficients minimise the sum of
    squares of what is left, and none is negative: a reference never adds its own dislikes.

    Args:
      scores: float64 `[num_units, N - 1]`, as `score_units` gives; higher is evidence.
      references: the scores of each reference on the same units, by the same statistic.

    Returns:
      float64 `[num_units, N - 1]`. A unit to which the suspect gave no usable answer keeps its
      row of zeros; of a reference such a row predicts nothing.

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
    """Fit non-negative coefficients; zeros where there is nothing to fit."""
    if not wanted.size or not columns.any():
        return np.zeros(columns.shape[1])
    return scipy.optimize.nnls(columns, wanted)[0]


def _finite(**named: np.ndarray) -> np.ndarray:
    ((name, values),) = named.items()
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, of shape [num_units, num_valid]")
    return values
