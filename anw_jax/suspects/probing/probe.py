"""Probe a suspect before any evidence is gathered: is it queried correctly?"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from anw_jax import _check, progress
from anw_jax.errors import SuspectError
from anw_jax.suspects.access import FITS, check_has_losses
from anw_jax.suspects.declaration import Declaration
from anw_jax.suspects.pictures import Pictures, queried_size
from anw_jax.suspects.probing.checks import (
    find_better_reading,
    find_working_readings,
    findings_on_batches,
    findings_on_sizes,
    findings_on_stability,
)
from anw_jax.suspects.probing.findings import (
    Finding,
    findings_in,
    findings_on_noise,
    findings_on_order,
)
from anw_jax.suspects.probing.photos import ProbePhotos
from anw_jax.suspects.protocol import Answers, Suspect

__all__ = ["Finding", "Report", "probe"]

# Findings that a few photos without a usable answer may cause.
_OF_SOME_PHOTOS = ("fails", "not_finite")
# If more than one photo in so many is refused, the suspect is not queried correctly.
_ONE_IN = 10
_NO_LABELS = Finding(
    "no_labels",
    "warning",
    "the photos have no labels",
    "give labelled photos to have range, channel order, layout and class order checked",
)


@dataclasses.dataclass(frozen=True)
class Report:
    """What a probe found.

    Attributes:
      findings: errors first; empty if nothing is wrong.
      num_queries: number of pictures queried.
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
        """Return whether there is a finding of any of these names."""
        return any(finding.name in names for finding in self.findings)


class _Counting:
    """A suspect that counts the pictures it is queried about."""

    def __init__(self, suspect: Suspect, counts: list[int], on_progress: progress.ProgressFn):
        self._suspect, self._counts, self._on_progress = suspect, counts, on_progress
        self.can_be_read_otherwise = hasattr(suspect, "with_declaration")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._suspect, name)

    def answers(self, images: np.ndarray) -> Answers:
        self._counts.append(len(images))
        answers = self._suspect.answers(images)
        self._on_progress(sum(self._counts), 0)
        return answers

    def with_declaration(self, declaration: Declaration) -> "_Counting":
        return self._counting(self._suspect.with_declaration(declaration))

    def as_trial(self) -> "_Counting":
        as_trial = getattr(self._suspect, "as_trial", lambda: self._suspect)
        return self._counting(as_trial())

    def _counting(self, suspect: Suspect) -> "_Counting":
        return _Counting(suspect, self._counts, self._on_progress)


def probe(
    suspect: Suspect,
    images: Sequence[np.ndarray] | np.ndarray,
    labels: Sequence[int] | np.ndarray | None = None,
    *,
    other_sizes: Sequence[Sequence[np.ndarray]] = (),
    batch_sizes: Sequence[int] = (1,),
    fit: str = "squash",
    on_progress: progress.ProgressFn = progress.silent,
) -> Report:
    """Look for the usual mistakes in how a model is queried; change nothing.

    Values in 0–255 instead of 0–1, missing normalisation, BGR, channels first, a wrong size;
    answers that change or depend on the rest of the batch (batch norm in train mode, dropout);
    constant answers; probabilities declared as logits and the reverse; fewer classes than
    labels; NaN; scores that are not logits (percentages, sigmoids, negated); sorted scores;
    sizes of photos, or of batches, that the model cannot take; for answers that are errors,
    photos that fit no better than random pixels.

    **Which photos.** Some tens of labelled photos of the kind that the model is meant for,
    preferably the arbitrator's own. The *unmarked* originals of a case also work: their answers
    are slot 0, which is never tested. No mark, space or key is an input, and only unmarked
    pictures are queried, so a change made after a probe does not depend on the owner's slots.
    Never probe with published, marked photos, and finish probing before the first query of the
    audit: another declaration afterwards is another test and must be counted as one.

    Args:
      suspect: queried up to about 20 times per photo if its accuracy is at chance level.
      images: unmarked uint8 photos `[n, H, W, 3]`, n ≥ 2; 30 or more to tell readings apart.
        Or a sequence of them, of several sizes if the suspect declares its `input_size`; a
        lazy one is read photo by photo and never held whole.
      labels: integers `[n]`; without them the checks that need labels are left out.
      other_sizes: for a suspect without `input_size`, some photos of each further size that
        will be queried: a sequence for each size.
      batch_sizes: numbers of pictures in one call of the model; each is tried, with photos
        repeated if there are fewer.
      fit: how photos get the shape of `input_size`, as `Access.fit`.
      on_progress: called with (pictures queried, 0); their total depends on the answers.

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
    suspect = _check.is_instance(Suspect, suspect=suspect)
    check_has_losses(suspect.declaration)
    counted = _Counting(suspect, counts, on_progress)
    size = queried_size(counted)
    images = _checked(images, size)
    if labels is not None:
        labels = _check.class_labels(len(images), labels=labels)
    is_cropped = _check.one_of(FITS, fit=fit) == "crop"
    photos = ProbePhotos(images, size, is_cropped)
    report = _report(counted, photos, labels, other_sizes, batch_sizes)
    # Of fewer photos not even one may be left out.
    if report.has(*_OF_SOME_PHOTOS) and len(photos) >= _ONE_IN:
        refused = _refused_alone(counted.as_trial(), photos)
        if refused and len(refused) * _ONE_IN <= len(photos):
            left = ProbePhotos(_others(images, refused), size, is_cropped)
            labels = None if labels is None else np.delete(labels, list(refused))
            rest = _report(counted, left, labels, other_sizes, batch_sizes)
            if not rest.has(*_OF_SOME_PHOTOS):
                findings = (*rest.findings, _finding_on(refused, len(photos)))
                report = dataclasses.replace(rest, findings=findings)
    return dataclasses.replace(report, num_queries=sum(counts))


def _report(
    counted: _Counting,
    photos: ProbePhotos,
    labels: np.ndarray | None,
    other_sizes: Sequence[Sequence[np.ndarray]],
    batch_sizes: Sequence[int],
) -> Report:
    """Run all checks on the photos; `counted` counts the queries."""
    try:
        first = photos.answers(counted)
    except (SuspectError, ValueError) as error:
        seen = f"the suspect does not answer: {error}"
        failure = Finding("fails", "error", seen, "correct this, then probe again")
        return Report((failure, *find_working_readings(counted, photos)), 0, None)
    findings = findings_in(first, counted.declaration, labels)
    findings += findings_on_order(counted, photos, first, labels)
    findings += findings_on_stability(counted, photos, first)
    findings += findings_on_batches(counted, photos, first, batch_sizes, findings)
    findings += findings_on_sizes(counted, other_sizes)
    accuracy = None
    if first.kind == "error":
        findings += findings_on_noise(counted, photos, first)
    elif labels is None:
        findings.append(_NO_LABELS)
    elif labels.max() < counted.declaration.num_classes:
        better, accuracy = find_better_reading(counted, photos, labels, first)
        findings += better
    findings.sort(key=lambda finding: finding.severity != "error")
    return Report(tuple(findings), 0, accuracy)


def _checked(
    images: Sequence[np.ndarray] | np.ndarray, size: tuple[int, int] | None
) -> Sequence[np.ndarray]:
    """Return checked photos; a lazy sequence stays one."""
    if isinstance(images, Pictures):
        photos = images
    elif size is None or isinstance(images, np.ndarray):
        photos = _check.uint8_images(images=images)
    else:
        photos = [_check.uint8_image(**{f"images[{i}]": one}) for i, one in enumerate(images)]
    if len(photos) < 2:
        raise ValueError(f"images must be at least 2 photos, got {len(photos)}")
    return photos


def _refused_alone(suspect: Suspect, photos: ProbePhotos) -> dict[int, str]:
    """Query photo by photo which ones have no answer, and why; stop when they are too many."""
    refused: dict[int, str] = {}
    for index in range(len(photos)):
        try:
            scores = photos.answers(suspect, [index]).scores
            if scores is not None and not np.isfinite(scores).all():
                refused[index] = "its answer holds NaN or infinity"
        except (SuspectError, ValueError) as error:
            refused[index] = str(error)
        if len(refused) * _ONE_IN > len(photos):
            break
    return refused


def _others(images: Sequence[np.ndarray], refused: dict[int, str]) -> Sequence[np.ndarray]:
    """Return the photos that are not refused; a lazy sequence stays one."""
    left = [index for index in range(len(images)) if index not in refused]
    if isinstance(images, Pictures):
        shapes = [images.shapes[index] for index in left]
        return Pictures(shapes, lambda number: images[left[number]])
    return images[left] if isinstance(images, np.ndarray) else [images[i] for i in left]


def _finding_on(refused: dict[int, str], number: int) -> Finding:
    """Report the refused photos, with the rule that an audit follows."""
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
