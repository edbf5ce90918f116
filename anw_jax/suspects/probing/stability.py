"""Check that each picture gets one answer, in every batch and at every size of an audit."""

from collections.abc import Sequence

import numpy as np

from anw_jax.errors import SuspectError
from anw_jax.suspects.answers import Answers
from anw_jax.suspects.pictures import asked_size
from anw_jax.suspects.probing.findings import Finding
from anw_jax.suspects.probing.photos import ProbePhotos
from anw_jax.suspects.protocol import Suspect

# Rounding in float32 changes an answer by 1e-6 of its size, half precision by 1e-3.
_TOLERANCE = 5e-3
# After these findings answers are not compared again.
_MOVED = ("changes", "batch_mates")


def findings_on_stability(
    suspect: Suspect, photos: ProbePhotos, first: Answers
) -> list[Finding]:
    """Query all photos again, and half of the batch alone."""
    half = max(1, len(photos) // 2)
    try:
        again = photos.answers(suspect)
        alone = photos.answers(suspect, range(half))
    except (SuspectError, ValueError) as error:
        seen = f"it answered once and then not: {error}"
        return [Finding("unstable", "error", seen, "correct this, then probe again")]
    if moved := _num_moved(first, again):
        seen = f"{moved} of {len(first)} photos got another answer when asked again"
        if not suspect.declaration.deterministic:
            do = "expect to need more images; the first answer to a picture counts"
            return [Finding("changes", "warning", f"{seen}, as declared", do)]
        do = (
            "put the model into evaluation mode (dropout, batch norm); if the service adds "
            "noise on purpose, declare deterministic=False"
        )
        return [Finding("changes", "error", seen, do)]
    return _on_batch_mates(first.rows(slice(half)), alone)


def findings_on_batches(
    suspect: Suspect,
    photos: ProbePhotos,
    first: Answers,
    sizes: Sequence[int],
    found: Sequence[Finding],
) -> list[Finding]:
    """Query batches of each size, photos repeated; report the first that fails or differs."""
    names = {finding.name for finding in found}
    if "unstable" in names:
        return []
    for size in sorted(sizes):
        # From the last photo back: the first half was queried alone before, so no photo is in
        # every batch, and none can give all of them its scale.
        order = (-1 - np.arange(size)) % len(photos)
        try:
            answers = photos.answers(suspect, order, together=size)
        except (SuspectError, ValueError) as error:
            many = "one picture alone" if size == 1 else f"{size} pictures together"
            seen = f"it does not answer {many}: {error}"
            do = (
                "an audit asks batches of this size too: correct the model (such as a squeeze "
                "that drops the axis of a batch of one), then probe again"
            )
            return [Finding("batch_size", "error", seen, do)]
        if not names.intersection(_MOVED):
            if moved := _on_batch_mates(first.rows(order), answers):
                return moved
    return []


def findings_on_sizes(
    suspect: Suspect, other_sizes: Sequence[Sequence[np.ndarray]]
) -> list[Finding]:
    """Query some photos of each further size; report the first size that fails."""
    failed = []
    for pictures in other_sizes:
        why = ""
        try:
            scores = ProbePhotos(pictures, asked_size(suspect)).answers(suspect).scores
            if scores is not None and not np.isfinite(scores).all():
                why = "an answer holds NaN or infinity"
        except (SuspectError, ValueError) as error:
            why = str(error)
        if why:
            height, width = pictures[0].shape[:2]
            failed.append((f"{height}x{width}", why))
    if not failed:
        return []
    size, why = failed[0]
    others = f" (the first of {len(failed)} sizes)" if len(failed) > 1 else ""
    seen = f"it does not answer photos of {size}{others}: {why}"
    do = "declare the input_size that the model expects, then probe again"
    return [Finding("photo_size", "error", seen, do)]


def _on_batch_mates(first: Answers, second: Answers) -> list[Finding]:
    """Return an error if answers depend on the other pictures of the batch."""
    moved = _num_moved(first, second)
    if not moved:
        return []
    seen = f"{moved} of {len(first)} answers depend on the other pictures of the batch"
    do = (
        "put the model into evaluation mode (batch norm uses the batch's own statistics); "
        "a dynamically quantised model has none: ask it one picture at a time, "
        "options.together = 1 (http: request.images_per_request = 1)"
    )
    return [Finding("batch_mates", "error", seen, do)]


def _num_moved(first: Answers, second: Answers) -> int:
    """Return how many of the answers differ by more than rounding."""
    if first.scores is None:
        return int((first.labels != second.labels).sum())
    a, b = first.scores.astype(np.float64), second.scores.astype(np.float64)
    with np.errstate(invalid="ignore"):
        size = np.nan_to_num(np.abs(a), posinf=0.0, neginf=0.0).max(initial=0.0)
        differ = ~((np.abs(a - b) <= _TOLERANCE * size) | (a == b))
    return int((differ & ~(np.isnan(a) & np.isnan(b))).any(axis=1).sum())
