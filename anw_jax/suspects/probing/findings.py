"""Detect configuration errors from the answers to some photos."""

import contextlib
import dataclasses

import numpy as np

from anw_jax.errors import SuspectError
from anw_jax.suspects.access import first_labels
from anw_jax.suspects.declaration import Declaration
from anw_jax.suspects.probing.photos import ProbePhotos
from anw_jax.suspects.protocol import Answers, Suspect

# How far the sum of rounded or half-precision probabilities may lie from 1, as a share.
_SUM_TOLERANCE = 0.02
# With fewer answers a sum may seem constant by accident, unless it is a usual one.
_FEWEST_ANSWERS = 10
_LITTLE_TOLERANCE = 1e-3
# Largest ratio of the sum's spread to what it would be for independent scores.
_LARGEST_RATIO = 0.3
_USUAL_SUMS = (1.0, 100.0)
# What rounding may leave below zero, as a share of the largest score.
_SLACK = 1e-3
# Of this many photos of other classes a model with any skill answers one right: 2⁻⁷ < 0.01.
_FEWEST_OTHERS = 7
# Number of photos queried again with changed colours.
_NUM_CHANGED = 8


@dataclasses.dataclass(frozen=True)
class Finding:
    """A confirmed or suspected configuration error.

    Attributes:
      name: machine-readable.
      severity: "error" (the table would be useless) or "warning".
      seen: the observation.
      do: the remedy.
    """

    name: str
    severity: str
    seen: str
    do: str


def findings_in(
    answers: Answers, declaration: Declaration, labels: np.ndarray | None
) -> list[Finding]:
    """Return the errors that are visible in the answers alone."""
    found = [] if labels is None else findings_on_classes(int(labels.max()), declaration)
    if answers.scores is not None and not np.isfinite(answers.scores).all():
        number = int((~np.isfinite(answers.scores).all(axis=1)).sum())
        seen = f"{number} of {len(answers)} answers hold NaN or infinity"
        do = "check range and normalisation, and whether half precision overflows"
        return [*found, Finding("not_finite", "error", seen, do)]
    parts = [part for part in (answers.scores, answers.labels) if part is not None]
    if all(bool((part == part[:1]).all()) for part in parts):
        seen = f"all {len(answers)} photos get the same answer"
        do = "check whether weights were loaded, and range and normalisation"
        return [*found, Finding("constant", "error", seen, do)]
    if answers.kind in ("label", "error"):
        return found
    scores = answers.scores.astype(np.float64)
    if answers.kind == "logits":
        return found + findings_on_logits(scores)
    if answers.kind == "probabilities":
        return found + _on_probabilities(scores)
    return found + _on_top_k(scores, scores.shape[1] == declaration.num_classes)


def findings_on_classes(largest_label: int, declaration: Declaration) -> list[Finding]:
    """Return an error if a label is not a class of the suspect."""
    if declaration.answer == "error" or largest_label < declaration.num_classes:
        return []
    seen = (
        f"the photos have labels up to {largest_label}, the suspect has "
        f"{declaration.num_classes} classes"
    )
    do = "check whether it is the right model, and whether labels count from 0"
    return [Finding("classes", "error", seen, do)]


def _on_probabilities(scores: np.ndarray) -> list[Finding]:
    sums = scores.sum(axis=1)
    if (scores >= 0).all() and (np.abs(sums - 1) <= _SUM_TOLERANCE).all():
        return []
    do = 'declare answer="logits", or scale what is given in percent'
    if scores.min() >= 0 and scores.max() <= 1:
        do = "give one probability for each class, with a sum of 1 (sigmoids have none)"
    seen = f"answers declared as probabilities {_reach(scores, sums)}"
    return [Finding("answer_kind", "error", seen, do)]


def _on_top_k(scores: np.ndarray, lists_all: bool) -> list[Finding]:
    found, sums = [], scores.sum(axis=1)
    lacks = lists_all and bool((sums < 1 - _SUM_TOLERANCE).any())
    if (scores < 0).any() or (sums > 1 + _SUM_TOLERANCE).any() or lacks:
        do = "give probabilities with the labels: not logits, sigmoids or percent"
        seen = f"scores of the top k {_reach(scores, sums)}"
        found.append(Finding("answer_kind", "error", seen, do))
    if (np.diff(scores, axis=1) > 0).any():
        seen = "the labels of the top k do not come best first"
        found.append(Finding("order", "error", seen, "sort labels and scores by score"))
    return found


def _reach(scores: np.ndarray, sums: np.ndarray) -> str:
    return (
        f"reach from {scores.min():.3g} to {scores.max():.3g} and sum to {sums.min():.3g} at "
        f"least, {sums.max():.3g} at most"
    )


def findings_on_logits(scores: np.ndarray) -> list[Finding]:
    """Return an error for probabilities, percentages, sigmoids and negated scores.

    Logits are defined up to a constant and have both signs unless a ReLU cut them, so scores
    that are non-negative and have a constant sum are probabilities or percentages.
    Log-probabilities are logits and pass.

    Args:
      scores: finite, float64 `[n, C]`, as the suspect gave them for n photos.
    """
    largest = float(np.abs(scores).max())
    if (scores >= -_SLACK * largest).all():
        return _on_positive(scores)
    if (scores <= _SLACK * largest).all():
        return _on_negative(scores)
    return []


def _on_positive(scores: np.ndarray) -> list[Finding]:
    if _has_constant_sum(scores):
        total = float(np.median(scores.sum(axis=1)))
        what = f"positive and sum to {total:.3g}"
        if abs(total - 1.0) <= _SUM_TOLERANCE:
            return [_not_logits(what, "probabilities do", 'declare answer="probabilities"')]
        do = 'divide them by their sum and declare answer="probabilities"'
        return [_not_logits(what, "percentages do", do)]
    if scores.max() <= 1.0 + _SLACK:
        do = "give logits, or probabilities that sum to 1 and are declared so"
        return [_not_logits("all in [0, 1]", "sigmoids and similarities are", do)]
    if _are_log_probabilities(-scores):
        do = "give log-probabilities, which are logits, with their own sign"
        what = "positive with sum(exp(-x)) = 1"
        return [_not_logits(what, "negated log-probabilities are", do)]
    return []


def _on_negative(scores: np.ndarray) -> list[Finding]:
    do = "give probabilities or logits that are larger for a likelier class"
    if _has_constant_sum(-scores):
        what = f"never positive and sum to {np.median(scores.sum(axis=1)):.3g}"
        return [_not_logits(what, "negated probabilities do", do)]
    if _are_log_probabilities(scores):
        return []
    if scores.min() >= -1.0 - _SLACK:
        return [_not_logits("all in [-1, 0]", "negated sigmoids and distances are", do)]
    return []


def _are_log_probabilities(scores: np.ndarray) -> bool:
    with np.errstate(under="ignore"):
        sums = np.exp(scores).sum(axis=1)
    return bool((np.abs(sums - 1.0) <= _SUM_TOLERANCE).all())


def _not_logits(what: str, like: str, do: str) -> Finding:
    seen = f"answers declared as logits are {what}, as {like}"
    return Finding("answer_kind", "error", seen, do)


def _has_constant_sum(scores: np.ndarray) -> bool:
    """Return whether rows of non-negative scores have one sum, except for rounding."""
    sums = scores.sum(axis=1)
    centre = float(np.median(sums))
    if centre <= 0:
        return False
    is_usual = any(abs(centre - usual) <= _SUM_TOLERANCE * usual for usual in _USUAL_SUMS)
    allowed = max(_SUM_TOLERANCE * centre, min(0.1 * centre, _rounding(scores)))
    if len(scores) < _FEWEST_ANSWERS and not is_usual:
        allowed = _LITTLE_TOLERANCE * centre
    # Many independent scores have a steady sum as well.
    is_bound = sums.std() <= _LARGEST_RATIO * np.sqrt(scores.var(axis=0).sum())
    return bool(is_bound and (np.abs(sums - centre) <= allowed).all())


def _rounding(scores: np.ndarray) -> float:
    """Return the largest error of a row's sum if scores were rounded to some digits."""
    for digits in range(4):
        step = 10.0**-digits
        if (np.abs(scores / step - np.rint(scores / step)) <= 1e-4).all():
            return 0.5 * step * scores.shape[1]
    return 0.0


def findings_on_order(
    suspect: Suspect, photos: ProbePhotos, first: Answers, labels: np.ndarray | None
) -> list[Finding]:
    """Return an error if every answer is sorted, whatever the photo shows.

    Services list scores best first; read in the order of the classes they contain no
    information about the class. Photos of one class may legitimately have such answers, so
    they are queried again with inverted and exchanged colours: a sorted list stays sorted.
    """
    if len(first) < 2 or not _is_sorted(first):
        return []
    both = first
    with contextlib.suppress(SuspectError, ValueError):
        changed = photos.with_changed_colours(suspect, _NUM_CHANGED)
        both = Answers.joined([first, changed])
    if not _is_sorted(both):
        return []
    how = "best first" if _falls(_ranked(both)) else "worst first"
    seen = f"the scores of all {len(both)} answers come sorted, {how}"
    if first.kind == "top_k":
        seen = f"all {len(both)} answers list the same labels in the same order"
    do = 'read each score with the name of its class (declare answer="top_k" with labels)'
    severity = _severity(both, first, labels)
    return [Finding("sorted", severity, seen, do)] if severity else []


def findings_on_noise(suspect: Suspect, photos: ProbePhotos, first: Answers) -> list[Finding]:
    """Return a warning if pictures of random pixels have no larger errors than photos.

    Whatever its loss is, a model of photos fits photos better.
    """
    try:
        noise = photos.of_random_pixels(suspect, _NUM_CHANGED)
    except (SuspectError, ValueError):  # a model may refuse them
        return []
    of_noise, of_photos = np.median(noise.scores), np.median(first.scores)
    if not of_noise <= of_photos:
        return []
    seen = f"photos have an error of {of_photos:.3g}, random pixels one of {of_noise:.3g}"
    do = (
        "check range, layout and scheduler, and whether a lower number means a better fit; a "
        "model without weights does not fit photos either"
    )
    return [Finding("no_fit", "warning", seen, do)]


def _ranked(answers: Answers) -> np.ndarray:
    """Return the scores in the order of the classes given; for the top k, of the labels."""
    if answers.kind == "top_k":
        return -answers.labels.astype(np.float64)
    return answers.scores.astype(np.float64)


def _is_sorted(answers: Answers) -> bool:
    if answers.kind in ("label", "error") or not np.isfinite(answers.scores).all():
        return False
    if answers.kind == "top_k":
        same = bool((answers.labels == answers.labels[:1]).all())
        return same and answers.labels.shape[1] > 1
    table = _ranked(answers)
    return bool((table != table[:1]).any()) and (_falls(table) or _falls(-table))


def _falls(table: np.ndarray) -> bool:
    return bool((np.diff(table, axis=1) <= 0).all())


def _severity(both: Answers, first: Answers, labels: np.ndarray | None) -> str:
    """With two scores, sorted only means that one class is always the best."""
    num_distinct = 1 + int((np.diff(_ranked(both), axis=1) != 0).any(axis=0).sum())
    if num_distinct > 2:
        return "error"
    if labels is None:
        return "warning"
    num_others = int((labels != first_labels(first)).sum())
    return "error" if num_others >= _FEWEST_OTHERS else ""
