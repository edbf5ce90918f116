"""Probe a suspect that answers with images: is it queried correctly?"""

import numpy as np

from anw_jax.errors import SuspectError
from anw_jax.suspects.images import check_asks_images
from anw_jax.suspects.pictures import as_queried
from anw_jax.suspects.probing.findings import Finding
from anw_jax.suspects.probing.probe import Report
from anw_jax.suspects.protocol import Suspect

# Another order of the same float32 sums may round to the next level.
_LEVELS = 1
# A wrong order of colours costs at least this share of the distance.
_CLOSER = 0.8


def probe_images(suspect: Suspect, images: np.ndarray, expected: np.ndarray) -> Report:
    """Look for the usual mistakes in how a model from images to images is queried.

    Another image size or number of channels, values outside the declared range or not finite,
    one constant output, answers that change when an image is asked again alone, a wrong order
    of colours, answers that have nothing to do with the image. Each image is asked twice, and
    no answer is kept.

    Args:
      suspect: declares `answer="image"`.
      images: uint8 `[n, H, W, 3]`; a few are enough.
      expected: uint8 of the same shape, roughly what a model of this task answers.

    Returns:
      The report.

    Raises:
      TypeError, ValueError: as `ask_images`.

    Example:
      >>> from anw_jax.suspects import CallableSuspect, Declaration
      >>> declaration = Declaration(answer="image")
      >>> black = CallableSuspect(lambda x: 0 * x, declaration, identity="black")
      >>> images = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
      >>> probe_images(black, images, images).findings[0].name
      'constant'
    """
    try:
        check_asks_images(suspect, images)
        together = suspect.answers(as_queried(suspect, images)).scores
        alone = [suspect.answers(as_queried(suspect, image[None])).scores for image in images]
    except SuspectError as error:
        seen = f"the suspect does not answer: {error}"
        return Report(
            (Finding("fails", "error", seen, "correct this, then probe again"),), 0, None
        )
    first, again = together.astype(int), np.concatenate(alone).astype(int)
    expected, findings = expected.astype(int), []
    if len(images) > 1 and (first == first[:1]).all():
        seen = f"it answers all {len(images)} images with one constant output"
        do = "see whether it is a model of this task, and whether its value_range is right"
        findings.append(Finding("constant", "error", seen, do))
    else:
        findings += _on_resemblance(first, expected)
    moved = int((np.abs(first - again).max(axis=(1, 2, 3)) > _LEVELS).sum())
    if moved:
        severity = "error" if suspect.declaration.deterministic else "warning"
        seen = f"{moved} of {len(images)} images got another answer when asked again alone"
        do = (
            "put the model into evaluation mode, or set options.together = 1; if it adds noise "
            "on purpose, declare deterministic = false: the first answer counts"
        )
        findings.append(Finding("changes", severity, seen, do))
    findings.sort(key=lambda finding: finding.severity != "error")
    return Report(tuple(findings), 2 * len(images), None)


def _on_resemblance(answers: np.ndarray, expected: np.ndarray) -> list[Finding]:
    """Warn of answers that are closer to something else than to what is expected."""
    distance = np.abs(answers - expected).mean()
    if np.abs(answers[..., ::-1] - expected).mean() < _CLOSER * distance:
        seen = "its answers are closer to those expected with red and blue exchanged"
        do = "see whether channels must be 'BGR', or 'RGB'"
        return [Finding("channels", "warning", seen, do)]
    others = np.abs(answers - np.roll(expected, 1, axis=0)).mean()
    if len(answers) > 1 and distance >= others:
        seen = "its answers are no closer to those expected for these images than for others"
        do = "see whether layout, value_range, mean and std are right"
        return [Finding("unlike", "warning", seen, do)]
    return []
