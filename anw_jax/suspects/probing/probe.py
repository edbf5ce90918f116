"""A look at a suspect before any evidence is gathered: is it asked correctly?"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from anw_jax import _check
from anw_jax.errors import SuspectError
from anw_jax.suspects.access import FITS
from anw_jax.suspects.answers import Answers
from anw_jax.suspects.pictures import Pictures, asked_size
from anw_jax.suspects.probing.findings import Finding, findings_in, findings_on_order
from anw_jax.suspects.probing.photos import ProbePhotos
from anw_jax.suspects.probing.readings import find_better_reading, find_working_readings
from anw_jax.suspects.probing.stability import (
    findings_on_batches,
    findings_on_sizes,
    findings_on_stability,
)
from anw_jax.suspects.protocol import Suspect

__all__ = ["Finding", "Report", "probe"]


@dataclasses.dataclass(frozen=True)
class Report:
    """What a probe found.

    Attributes:
      findings: the worst first; empty where nothing is wrong.
      num_queries: pictures asked.
      accuracy: share of the photos answered with their label; None without labels or answers.
    """

    findings: tuple[Finding, ...]
    num_queries: int
    accuracy: float | None

    @property
    def is_fit(self) -> bool:
        """Whether no finding is an error."""
        return all(finding.severity != "error" for finding in self.findings)

    def has(self, *names: str) -> bool:
        """Whether there is a finding of any of these names."""
        return any(finding.name in names for finding in self.findings)


class _Counting:
    """Counts the pictures that go through to a suspect."""

    def __init__(self, suspect: Suspect, counts: list[int]):
        self._suspect, self._counts = suspect, counts
        self.declaration = suspect.declaration

    def answers(self, images: np.ndarray):
        self._counts.append(len(images))
        return self._suspect.answers(images)

    @property
    def asked_size(self) -> tuple[int, int] | None:
        return asked_size(self._suspect)

    @property
    def num_together(self) -> int:
        return getattr(self._suspect, "num_together", 1)

    @property
    def can_be_read_otherwise(self) -> bool:
        return hasattr(self._suspect, "with_declaration")

    def with_declaration(self, declaration) -> "_Counting":
        return _Counting(self._suspect.with_declaration(declaration), self._counts)

    def as_trial(self) -> "_Counting":
        as_trial = getattr(self._suspect, "as_trial", lambda: self._suspect)
        return _Counting(as_trial(), self._counts)


def probe(
    suspect: Suspect,
    images: Sequence[np.ndarray] | np.ndarray,
    labels: Sequence[int] | np.ndarray | None = None,
    *,
    other_sizes: Sequence[Sequence[np.ndarray]] = (),
    batch_sizes: Sequence[int] = (1,),
    fit: str = "squash",
) -> Report:
    """Looks for the classic mistakes in how a model is asked.

    Values of 0–255 against 0–1, forgotten normalisation, BGR, channels first, wrong size;
    answers that change or depend on the rest of the batch (train-mode batch norm, dropout);
    constant answers; probabilities where logits are declared and the reverse; classes that do
    not cover the labels; NaN; scores that are no logits (percentages, sigmoids, negated);
    scores that come sorted; photos of a size, or batches, that the model cannot take. It
    reports and changes nothing.

    **Which photos.** Some tens of labelled photos of the kind that the model was made for; the
    arbitrator's own are best. The *unmarked* originals of a case serve too: their answers
    stand in slot 0, which is never tested. No mark, space or key comes in here, only unmarked
    pictures are asked, and so whatever is changed after a probe is chosen by nothing that
    depends on the owner's slots. Never probe with published, marked photos, and be done with
    probing before the first query of the audit: another declaration afterwards is another
    test and must be counted as one.

    Args:
      suspect: asked about each photo up to about twenty times, where it has no skill on them.
      images: unmarked uint8 photos `[n, H, W, 3]`, n ≥ 2; 30 or more to tell readings apart.
        Or a sequence of them, of several sizes if the suspect declares its `input_size`; a
        lazy one is read photo by photo and never held whole.
      labels: integers `[n]`; without them only what needs none is looked for.
      other_sizes: for a suspect without `input_size`, some photos of each further size that
        will be asked: a sequence for each size.
      batch_sizes: how many pictures the model will meet at once; each is tried, with photos
        repeated where there are fewer.
      fit: as `Access.fit`, how photos get the shape of `input_size`.

    Returns:
      The report.

    Raises:
      TypeError, ValueError: photos that are not 8-bit colour, fewer than two, bad labels.

    Example:
      >>> from anw_jax.suspects import CallableSuspect, Declaration
      >>> photos = np.arange(48, dtype=np.uint8).reshape(4, 2, 2, 3)
      >>> suspect = CallableSuspect(
      ...     lambda batch: np.zeros((len(batch), 3)), Declaration(3), identity="silent")
      >>> [finding.name for finding in probe(suspect, photos).findings]
      ['constant', 'no_labels']
    """
    counts: list[int] = []
    asked = _Counting(_check.is_instance(Suspect, suspect=suspect), counts)
    images = _pictures(images, asked.asked_size)
    if labels is not None:
        labels = _check.class_labels(len(images), labels=labels)
    is_cropped = _check.one_of(FITS, fit=fit) == "crop"
    pictures = ProbePhotos(images, asked.asked_size, is_cropped)
    report = _report(asked, pictures, labels, other_sizes, batch_sizes)
    # Of fewer photos not even one could be left out.
    if report.has(*_OF_SOME_PHOTOS) and len(pictures) >= ONE_IN:
        refused = refused_alone(asked.as_trial(), pictures)
        if refused and are_few(refused, pictures):
            left = ProbePhotos(others(images, refused), asked.asked_size, is_cropped)
            labels = None if labels is None else np.delete(labels, list(refused))
            rest = _report(asked, left, labels, other_sizes, batch_sizes)
            if not rest.has(*_OF_SOME_PHOTOS):
                findings = (*rest.findings, finding_on(refused, len(pictures)))
                report = dataclasses.replace(rest, findings=findings)
    return dataclasses.replace(report, num_queries=sum(counts))


# Findings that a few photos without a usable answer may be the cause of.
_OF_SOME_PHOTOS = ("fails", "not_finite")


def _report(
    asked: _Counting,
    pictures: ProbePhotos,
    labels: np.ndarray | None,
    other_sizes: Sequence[Sequence[np.ndarray]],
    batch_sizes: Sequence[int],
) -> Report:
    """What is found with all the photos given; queries are counted by `asked`."""
    try:
        first = pictures.answers(asked)
    except (SuspectError, ValueError) as error:
        findings = [_failure(error), *find_working_readings(asked, pictures)]
        return Report(tuple(findings), 0, None)
    findings = findings_in(first, asked.declaration, labels)
    findings += findings_on_order(asked, pictures, first, labels)
    findings += findings_on_stability(asked, pictures, first)
    findings += findings_on_batches(asked, pictures, first, batch_sizes, findings)
    findings += findings_on_sizes(asked, other_sizes)
    accuracy = None
    if labels is None:
        findings.append(_NO_LABELS)
    elif labels.max() < asked.declaration.num_classes:
        better, accuracy = find_better_reading(asked, pictures, labels, first)
        findings += better
    findings.sort(key=lambda finding: finding.severity != "error")
    return Report(tuple(findings), 0, accuracy)


def _pictures(
    images: Sequence[np.ndarray] | np.ndarray, size: tuple[int, int] | None
) -> Sequence[np.ndarray]:
    """Checked photos; a lazy sequence of the audit's own stays one."""
    if isinstance(images, Pictures):
        pictures = images
    elif size is None or isinstance(images, np.ndarray):
        pictures = _check.uint8_images(images=images)
    else:
        pictures = [
            _check.uint8_image(**{f"images[{index}]": image})
            for index, image in enumerate(images)
        ]
    if len(pictures) < 2:
        raise ValueError(f"images must be at least 2 photos, got {len(pictures)}")
    return pictures


_NO_LABELS = Finding(
    "no_labels",
    "warning",
    "the photos have no labels",
    "give labelled photos to have range, channel order, layout and class order checked",
)


def _failure(error: Exception) -> Finding:
    return Finding(
        "fails",
        "error",
        f"the suspect does not answer: {error}",
        "correct this, then probe again",
    )


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
