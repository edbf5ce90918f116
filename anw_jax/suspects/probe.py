"""A look at a suspect before any evidence is gathered: is it asked as it wants to be?"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from anw_jax import _check
from anw_jax.errors import SuspectError
from anw_jax.suspects.probe_answers import Finding, findings_in
from anw_jax.suspects.probe_readings import find_better_reading, find_working_readings
from anw_jax.suspects.probe_stability import findings_on_stability
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


class _Counting:
    """Counts the pictures that go through to a suspect."""

    def __init__(self, suspect: Suspect, counts: list[int]):
        self._suspect, self._counts = suspect, counts
        self.declaration = suspect.declaration

    def answers(self, images: np.ndarray):
        self._counts.append(len(images))
        return self._suspect.answers(images)

    @property
    def can_be_read_otherwise(self) -> bool:
        return hasattr(self._suspect, "with_declaration")

    def with_declaration(self, declaration) -> "_Counting":
        return _Counting(self._suspect.with_declaration(declaration), self._counts)

    def as_trial(self) -> "_Counting":
        as_trial = getattr(self._suspect, "as_trial", lambda: self._suspect)
        return _Counting(as_trial(), self._counts)


def probe(
    suspect: Suspect, images: np.ndarray, labels: Sequence[int] | np.ndarray | None = None
) -> Report:
    """Looks for the classic mistakes in how a model is asked.

    Values of 0–255 against 0–1, forgotten normalisation, BGR, channels first, wrong size;
    answers that change or depend on the rest of the batch (train-mode batch norm, dropout);
    constant answers; probabilities where logits are declared and the reverse; classes that do
    not cover the labels; NaN. It reports and changes nothing.

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
      labels: integers `[n]`; without them only what needs none is looked for.

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
    images = _check.uint8_images(images=images)
    if len(images) < 2:
        raise ValueError(f"images must be at least 2 photos, got {len(images)}")
    if labels is not None:
        labels = _check.class_labels(len(images), labels=labels)
    counts: list[int] = []
    asked = _Counting(_check.is_instance(Suspect, suspect=suspect), counts)
    pictures = images.astype(np.float32) / np.float32(255)
    try:
        first = asked.answers(pictures)
    except (SuspectError, ValueError) as error:
        findings = [_failure(error), *find_working_readings(asked, pictures)]
        return Report(tuple(findings), sum(counts), None)
    findings = findings_in(first, asked.declaration, labels)
    findings += findings_on_stability(asked, pictures, first)
    accuracy = None
    if labels is None:
        findings.append(_NO_LABELS)
    elif labels.max() < asked.declaration.num_classes:
        better, accuracy = find_better_reading(asked, pictures, labels, first)
        findings += better
    findings.sort(key=lambda finding: finding.severity != "error")
    return Report(tuple(findings), sum(counts), accuracy)


_NO_LABELS = Finding(
    "no_labels",
    "warning",
    "the photos have no labels",
    "give labelled photos to have range, channel order, layout and class order checked",
)


def _failure(error: Exception) -> Finding:
    return Finding(
        "fails", "error", f"the suspect does not answer: {error}", "mend this, then probe again"
    )
