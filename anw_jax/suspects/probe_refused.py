"""Photos of a probe that get no usable answer: a few are left out, and named."""

from collections.abc import Sequence

import numpy as np

from anw_jax.errors import SuspectError
from anw_jax.suspects.answers import Answers
from anw_jax.suspects.findings import Finding
from anw_jax.suspects.pictures import Pictures
from anw_jax.suspects.probe_photos import ProbePhotos
from anw_jax.suspects.protocol import Suspect

# One photo in so many may be refused before the suspect counts as asked in a wrong way.
ONE_IN = 10


def _without_numbers(answers: Answers) -> dict[int, str]:
    """Answers that hold NaN or infinity, and that."""
    if answers.scores is None:
        return {}
    bad = np.flatnonzero(~np.isfinite(answers.scores).all(axis=1))
    return dict.fromkeys(bad.tolist(), "its answer holds NaN or infinity")


def refused_alone(suspect: Suspect, pictures: ProbePhotos) -> dict[int, str]:
    """Asks photo by photo which have no answer, and why; ends once they are too many."""
    refused: dict[int, str] = {}
    for index in range(len(pictures)):
        try:
            for why in _without_numbers(pictures.answers(suspect, [index])).values():
                refused[index] = why
        except (SuspectError, ValueError) as error:
            refused[index] = str(error)
        if not are_few(refused, pictures):
            break
    return refused


def are_few(refused: dict[int, str], pictures: Sequence | ProbePhotos) -> bool:
    """Whether the photos refused are so few that it is they, not the way of asking."""
    return len(refused) * ONE_IN <= len(pictures)


def others(images: Sequence[np.ndarray], refused: dict[int, str]) -> Sequence[np.ndarray]:
    """The photos that are not refused; a lazy sequence stays one."""
    left = [index for index in range(len(images)) if index not in refused]
    if isinstance(images, Pictures):
        shapes = [images.shapes[index] for index in left]
        return Pictures(shapes, lambda number: images[left[number]])
    return images[left] if isinstance(images, np.ndarray) else [images[i] for i in left]


def finding_on(refused: dict[int, str], number: int) -> Finding:
    """What to say of them, with the rule that an audit keeps."""
    first = min(refused)
    return Finding(
        "refused",
        "warning",
        f"{len(refused)} of {number} photos get no usable answer, first number {first} "
        f"({refused[first]})",
        "check whether that is intended; an audit leaves out an image if a picture of it gets "
        "no usable answer (status 4xx, no reply after all attempts, too few numbers, NaN), "
        "names it, and is inconclusive if their share is above the declared limit",
    )
