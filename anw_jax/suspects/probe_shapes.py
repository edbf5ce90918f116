"""Whether a suspect takes every batch and every size of photo that an audit will ask."""

from collections.abc import Sequence

import numpy as np

from anw_jax.errors import SuspectError
from anw_jax.suspects.answers import Answers
from anw_jax.suspects.batches import asked_size
from anw_jax.suspects.findings import Finding
from anw_jax.suspects.probe_photos import ProbePhotos
from anw_jax.suspects.probe_stability import batch_mates, num_moved
from anw_jax.suspects.protocol import Suspect

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
