"""Whether scores stand in the order of the classes, or come sorted by their size."""

import contextlib

import numpy as np

from anw_jax.errors import SuspectError
from anw_jax.suspects.access import first_labels
from anw_jax.suspects.answers import Answers
from anw_jax.suspects.findings import Finding
from anw_jax.suspects.probe_photos import ProbePhotos
from anw_jax.suspects.protocol import Suspect

# Of so many photos of other classes a model with any skill gives one its class: 2⁻⁷ < 0.01.
_FEWEST_OTHERS = 7
# Photos asked once more with changed colours.
_NUM_CHANGED = 8


def findings_on_order(
    suspect: Suspect, photos: ProbePhotos, first: Answers, labels: np.ndarray | None
) -> list[Finding]:
    """An error where every answer comes sorted, whatever the photo shows.

    Services list scores best first; read in the order of the classes they tell nothing of the
    class. Photos of one class may have such answers rightly, and so they are asked once more
    with their colours inverted and exchanged: a sorted list stays sorted.
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
    if first.kind == "top_k":
        seen = f"all {len(both)} answers list the same labels in the same order"
    else:
        seen = f"the scores of all {len(both)} answers come sorted, {how}"
    do = 'read each score with the name of its class (declare answer="top_k" with labels)'
    severity = _severity(both, first, labels)
    return [Finding("sorted", severity, seen, do)] if severity else []


def _ranked(answers: Answers) -> np.ndarray:
    """Scores in the order in which the suspect gives its classes; for the top k, its labels."""
    if answers.kind == "top_k":
        return -answers.labels.astype(np.float64)
    return answers.scores.astype(np.float64)


def _is_sorted(answers: Answers) -> bool:
    if answers.kind == "label" or not np.isfinite(answers.scores).all():
        return False
    if answers.kind == "top_k":
        same = bool((answers.labels == answers.labels[:1]).all())
        return same and answers.labels.shape[1] > 1
    table = _ranked(answers)
    return bool((table != table[:1]).any()) and (_falls(table) or _falls(-table))


def _falls(table: np.ndarray) -> bool:
    return bool((np.diff(table, axis=1) <= 0).all())


def _severity(both: Answers, first: Answers, labels: np.ndarray | None) -> str:
    """With two scores, sorted only says that one class is always the best."""
    num_distinct = 1 + int((np.diff(_ranked(both), axis=1) != 0).any(axis=0).sum())
    if num_distinct > 2:
        return "error"
    if labels is None:
        return "warning"
    num_others = int((labels != first_labels(first)).sum())
    return "error" if num_others >= _FEWEST_OTHERS else ""
