"""Scores that are declared as logits and are none."""

import numpy as np

from anw_jax.suspects.findings import Finding

# How far a constant sum may vary, of itself: rounding and half precision.
_SUM_TOLERANCE = 0.02
# With fewer answers a sum may seem constant by accident, unless it is a usual one.
_FEWEST_ANSWERS = 10
_LITTLE_TOLERANCE = 1e-3
# Of the sum's spread to what it would be if the scores were independent.
_LARGEST_RATIO = 0.3
_USUAL_SUMS = (1.0, 100.0)
# What rounding may leave below zero, of the largest score.
_SLACK = 1e-3


def findings_on_logits(scores: np.ndarray) -> list[Finding]:
    """Probabilities, percentages, sigmoids, negated scores: an error for each.

    Logits are shifted at will, and take both signs unless a ReLU cut them: scores that
    are never negative and always have one sum are shares of it. Log-probabilities are
    logits and pass.

    Args:
      scores: finite, float64 `[n, C]`, as the suspect gave them to n photos.
    """
    largest = float(np.abs(scores).max())
    if (scores >= -_SLACK * largest).all():
        return _on_positive(scores)
    if (scores <= _SLACK * largest).all():
        return _on_negative(scores)
    return []


def _on_positive(scores: np.ndarray) -> list[Finding]:
    if _constant_sum(scores):
        total = float(np.median(scores.sum(axis=1)))
        what = f"positive and sum to {_shown(total)}"
        if abs(total - 1.0) <= _SUM_TOLERANCE:
            return [_finding(what, "probabilities do", 'declare answer="probabilities"')]
        do = 'divide them by their sum and declare answer="probabilities"'
        return [_finding(what, "percentages do", do)]
    if scores.max() <= 1.0 + _SLACK:
        do = "give logits, or probabilities that sum to 1 and are declared so"
        return [_finding("all in [0, 1]", "sigmoids and similarities are", do)]
    if _are_log_probabilities(-scores):
        do = "give log-probabilities, which are logits, with their own sign"
        return [_finding("positive with sum(exp(-x)) = 1", "negated log-probabilities are", do)]
    return []


def _on_negative(scores: np.ndarray) -> list[Finding]:
    do = "give probabilities or logits that are larger for a likelier class"
    if _constant_sum(-scores):
        what = f"never positive and sum to {_shown(np.median(scores.sum(axis=1)))}"
        return [_finding(what, "negated probabilities do", do)]
    if _are_log_probabilities(scores):
        return []
    if scores.min() >= -1.0 - _SLACK:
        return [_finding("all in [-1, 0]", "negated sigmoids and distances are", do)]
    return []


def _are_log_probabilities(scores: np.ndarray) -> bool:
    with np.errstate(under="ignore"):
        sums = np.exp(scores).sum(axis=1)
    return bool((np.abs(sums - 1.0) <= _SUM_TOLERANCE).all())


def _finding(what: str, like: str, do: str) -> Finding:
    seen = f"answers declared as logits are {what}, as {like}"
    return Finding("answer_kind", "error", seen, do)


def _constant_sum(scores: np.ndarray) -> bool:
    """Whether rows of scores that are not negative have one sum, but for rounding."""
    sums = scores.sum(axis=1)
    centre = float(np.median(sums))
    if centre <= 0:
        return False
    is_usual = any(abs(centre - usual) <= _SUM_TOLERANCE * usual for usual in _USUAL_SUMS)
    allowed = max(_SUM_TOLERANCE * centre, min(0.1 * centre, _rounding(scores)))
    if len(scores) < _FEWEST_ANSWERS and not is_usual:
        allowed = _LITTLE_TOLERANCE * centre
    # Many scores that have nothing to do with each other have a steady sum as well.
    is_bound = sums.std() <= _LARGEST_RATIO * np.sqrt(scores.var(axis=0).sum())
    return bool(is_bound and (np.abs(sums - centre) <= allowed).all())


def _rounding(scores: np.ndarray) -> float:
    """By how much a row's sum may be off where scores were rounded to some digits."""
    for digits in range(4):
        step = 10.0**-digits
        if (np.abs(scores / step - np.rint(scores / step)) <= 1e-4).all():
            return 0.5 * step * scores.shape[1]
    return 0.0


def _shown(total: float) -> str:
    return f"{total:.3g}"
