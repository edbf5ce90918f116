"""Whether a picture gets one answer, and every batch and size of photo is taken."""

from collections.abc import Sequence

import numpy as np

from anw_jax.errors import SuspectError
from anw_jax.suspects.answers import Answers
from anw_jax.suspects.pictures import asked_size
from anw_jax.suspects.probing.findings import Finding
from anw_jax.suspects.probing.photos import ProbePhotos
from anw_jax.suspects.protocol import Suspect

# Rounding in float32 moves an answer by 1e-6 of its size, half precision by 1e-3.
_TOLERANCE = 5e-3


def findings_on_stability(
    suspect: Suspect, photos: ProbePhotos, first: Answers
) -> list[Finding]:
    """Asks again, and asks about half of the batch alone."""
    half = max(1, len(photos) // 2)
    try:
        again = photos.answers(suspect)
        alone = photos.answers(suspect, range(half))
    except (SuspectError, ValueError) as error:
        seen = f"it answered once and then not: {error}"
        return [Finding("unstable", "error", seen, "correct this, then probe again")]
    moved = num_moved(first, again)
    if moved:
        return [_changes(moved, len(first), suspect.declaration.deterministic)]
    moved = num_moved(first.rows(slice(half)), alone)
    return [batch_mates(moved, half)] if moved else []


def batch_mates(moved: int, number: int) -> Finding:
    """What to say of answers that depend on what is asked beside them."""
    return Finding(
        "batch_mates",
        "error",
        f"{moved} of {number} answers depend on the other pictures of the batch",
        "put the model into evaluation mode (batch norm uses the batch's own statistics); "
        "a dynamically quantised model has none: ask it one picture at a time, "
        "options.together = 1 (http: request.images_per_request = 1)",
    )


def _changes(moved: int, number: int, is_declared_steady: bool) -> Finding:
    if not is_declared_steady:
        return Finding(
            "changes",
            "warning",
            f"{moved} of {number} photos got another answer when asked again, as declared",
            "expect to need more images; the first answer to a picture counts",
        )
    return Finding(
        "changes",
        "error",
        f"{moved} of {number} photos got another answer when asked again",
        "put the model into evaluation mode (dropout, batch norm); if the service adds noise "
        "on purpose, declare deterministic=False",
    )


def num_moved(first: Answers, second: Answers) -> int:
    """How many of the answers differ by more than rounding."""
    moved = np.zeros(len(first), bool)
    if first.scores is not None:
        a, b = first.scores.astype(np.float64), second.scores.astype(np.float64)
        with np.errstate(invalid="ignore"):
            size = np.nan_to_num(np.abs(a), posinf=0.0, neginf=0.0).max(initial=0.0)
            differ = ~((np.abs(a - b) <= _TOLERANCE * size) | (a == b))
        moved |= (differ & ~(np.isnan(a) & np.isnan(b))).any(axis=1)
    elif first.labels is not None:
        moved |= first.labels != second.labels
    return int(moved.sum())


# Answers that moved already are not compared once more.
_MOVED = ("changes", "batch_mates")


def findings_on_batches(
    suspect: Suspect,
    photos: ProbePhotos,
    first: Answers,
    sizes: Sequence[int],
    found: Sequence[Finding],
) -> list[Finding]:
    """Asks batches of each size, photos repeated; tells the first that fails or moves."""
    names = {finding.name for finding in found}
    if "unstable" in names:
        return []
    for size in sorted(sizes):
        # From the last photo back: with the first half, which was asked alone, no one photo is
        # in every batch, and so none can give all of them its scale.
        order = (-1 - np.arange(size)) % len(photos)
        try:
            answers = photos.answers(suspect, order, together=size)
        except (SuspectError, ValueError) as error:
            return [_cannot_take(size, error)]
        moved = num_moved(first.rows(order), answers)
        if moved and not names.intersection(_MOVED):
            return [batch_mates(moved, size)]
    return []


def _cannot_take(size: int, error: Exception) -> Finding:
    many = "one picture alone" if size == 1 else f"{size} pictures together"
    return Finding(
        "batch_size",
        "error",
        f"it does not answer {many}: {error}",
        "an audit asks batches of this size too: correct the model (such as a squeeze that "
        "drops the axis of a batch of one), then probe again",
    )


def findings_on_sizes(
    suspect: Suspect, other_sizes: Sequence[Sequence[np.ndarray]]
) -> list[Finding]:
    """Asks some photos of each further size."""
    failed = []
    for pictures in other_sizes:
        height, width = pictures[0].shape[:2]
        try:
            answers = ProbePhotos(pictures, asked_size(suspect)).answers(suspect)
        except (SuspectError, ValueError) as error:
            failed.append((f"{height}x{width}", str(error)))
            continue
        if answers.scores is not None and not np.isfinite(answers.scores).all():
            failed.append((f"{height}x{width}", "an answer holds NaN or infinity"))
    if not failed:
        return []
    size, why = failed[0]
    others = f" (the first of {len(failed)} sizes)" if len(failed) > 1 else ""
    return [
        Finding(
            "photo_size",
            "error",
            f"it does not answer photos of {size}{others}: {why}",
            "declare the input_size that the model expects, then probe again",
        )
    ]
