"""What one batch of answers tells about a declaration."""

import numpy as np

from anw_jax.suspects.answers import Answers
from anw_jax.suspects.declaration import Declaration
from anw_jax.suspects.findings import Finding
from anw_jax.suspects.probe_scores import findings_on_logits

# How far the sum of rounded or half-precision probabilities may lie from 1.
_SUM_TOLERANCE = 0.02


def findings_in(
    answers: Answers, declaration: Declaration, labels: np.ndarray | None
) -> list[Finding]:
    """Mistakes that the answers to different photos show by themselves."""
    found = [] if labels is None else findings_on_classes(int(labels.max()), declaration)
    if answers.scores is not None and not np.isfinite(answers.scores).all():
        number = int((~np.isfinite(answers.scores).all(axis=1)).sum())
        found.append(
            Finding(
                "not_finite",
                "error",
                f"{number} of {len(answers)} answers hold NaN or infinity",
                "check range and normalisation, and whether half precision overflows",
            )
        )
        return found
    if _is_constant(answers):
        found.append(
            Finding(
                "constant",
                "error",
                f"all {len(answers)} photos get the same answer",
                "check whether weights were loaded, and range and normalisation",
            )
        )
        return found
    return found + _kind_findings(answers, declaration.num_classes)


def findings_on_classes(largest_label: int, declaration: Declaration) -> list[Finding]:
    """An error where a label is no class of the suspect's."""
    if largest_label < declaration.num_classes:
        return []
    return [
        Finding(
            "classes",
            "error",
            f"the photos have labels up to {largest_label}, the suspect has "
            f"{declaration.num_classes} classes",
            "check whether it is the right model, and whether labels count from 0",
        )
    ]


def _is_constant(answers: Answers) -> bool:
    parts = [part for part in (answers.scores, answers.labels) if part is not None]
    return all(bool((part == part[:1]).all()) for part in parts)


def _kind_findings(answers: Answers, num_classes: int) -> list[Finding]:
    if answers.kind == "label":
        return []
    scores = answers.scores.astype(np.float64)
    sums = scores.sum(axis=1)
    if answers.kind == "logits":
        return findings_on_logits(scores)
    looks_like = bool((scores >= 0).all() and (np.abs(sums - 1) <= _SUM_TOLERANCE).all())
    if answers.kind == "probabilities" and not looks_like:
        seen = (
            "answers declared as probabilities reach from "
            f"{scores.min():.3g} to {scores.max():.3g} and sum to {sums.min():.3g} at least, "
            f"{sums.max():.3g} at most"
        )
        do = 'declare answer="logits", or scale what is given in percent'
        if scores.min() >= 0 and scores.max() <= 1:
            do = "give one probability for each class, with a sum of 1 (sigmoids have none)"
        return [Finding("answer_kind", "error", seen, do)]
    if answers.kind == "top_k":
        return _top_k_findings(scores, sums, scores.shape[1] == num_classes)
    return []


def _top_k_findings(scores: np.ndarray, sums: np.ndarray, lists_all: bool) -> list[Finding]:
    found = []
    lacks = lists_all and bool((sums < 1 - _SUM_TOLERANCE).any())
    if (scores < 0).any() or (sums > 1 + _SUM_TOLERANCE).any() or lacks:
        seen = (
            f"scores of the top k reach from {scores.min():.3g} to {scores.max():.3g} and sum "
            f"to {sums.min():.3g} at least, {sums.max():.3g} at most"
        )
        do = "give probabilities with the labels: not logits, sigmoids or percent"
        found.append(Finding("answer_kind", "error", seen, do))
    if (np.diff(scores, axis=1) > 0).any():
        seen = "the labels of the top k do not come best first"
        found.append(Finding("order", "error", seen, "sort labels and scores by score"))
    return found
