"""Whether one picture always gets one answer, whatever is asked beside it."""

import numpy as np

from anw_jax.errors import SuspectError
from anw_jax.suspects.answers import Answers
from anw_jax.suspects.findings import Finding
from anw_jax.suspects.probe_photos import ProbePhotos
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
