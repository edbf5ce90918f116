"""Checks that query the suspect again: its stability, and other readings of it."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy

from anw_jax.errors import SuspectError
from anw_jax.suspects.access import Access, first_labels
from anw_jax.suspects.declaration import Declaration
from anw_jax.suspects.pictures import queried_size
from anw_jax.suspects.probing.findings import Finding
from anw_jax.suspects.probing.photos import ProbePhotos
from anw_jax.suspects.protocol import Answers, Suspect

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
        seen = f"{moved} of {len(first)} photos got another answer when queried again"
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
                "an audit sends batches of this size too: correct the model (such as a squeeze "
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
            scores = ProbePhotos(pictures, queried_size(suspect)).answers(suspect).scores
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
        "a dynamically quantised model has none: query it one picture at a time, "
        "options.together = 1 (http: request.images_per_request = 1)"
    )
    return [Finding("batch_mates", "error", seen, do)]


def _num_moved(first: Answers, second: Answers) -> int:
    """Return how many of the answers differ by more than rounding."""
    if first.scores is None:
        return int((first.labels != second.labels).sum())
    a, b = first.scores.astype(np.float64), second.scores.astype(np.float64)
    with np.errstate(invalid="ignore"):
        size = np.nan_to_num(np.abs(a), posinf=0.0, neginf=0.0)
        if first.kind != "error":  # of which each counts by its own size
            size = size.max(initial=0.0)
        differ = ~((np.abs(a - b) <= _TOLERANCE * size) | (a == b))
    return int((differ & ~(np.isnan(a) & np.isnan(b))).any(axis=1).sum())


# Sides of the pictures that published networks take, in pixels.
_SIDES = (28, 32, 48, 64, 96, 128, 160, 224, 256, 299, 384)

# Normalisation of most networks trained on ImageNet, on the scale of [0, 1].
_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}

# Family-wise error rate: probability of rejecting the correct reading of a model.
_LEVEL = 0.01


@dataclasses.dataclass(frozen=True)
class _Reading:
    """Another way to query: its name, how to declare it, how well it fits."""

    name: str
    text: str
    changes: dict
    is_right: np.ndarray | None = None
    losses: np.ndarray | None = None


def find_working_readings(suspect: Suspect, photos: ProbePhotos) -> list[Finding]:
    """Return the first layout or size that makes a failing suspect answer."""
    declaration = suspect.declaration
    for reading in (*_layouts(declaration), *_sizes(declaration, photos)):
        if _takes(suspect, reading, photos):
            seen = f"it answers when read with {reading.text}"
            return [Finding(reading.name, "error", seen, f"declare {reading.text}")]
    return []


def find_better_reading(
    suspect: Suspect, photos: ProbePhotos, labels: np.ndarray, first: Answers
) -> tuple[list[Finding], float]:
    """Compare readings with the declared one, photo by photo; also return its accuracy.

    A reading is an error if it classifies significantly more photos correctly (exact sign test
    on the photos on which the two differ), and a warning if it classifies no fewer correctly
    and significantly more photos fit better. Only the best one is reported: the others were
    compared with a wrong reading.
    """
    declaration = suspect.declaration
    is_right = first_labels(first) == labels
    accuracy = float(is_right.mean())
    # A model with skill is not queried at other sizes, which would take most of the queries.
    is_lost = not _has_skill(first, labels)
    found = []
    if getattr(suspect, "can_be_read_otherwise", True) and accuracy < 1.0:
        readings = [*_values(declaration), *_layouts(declaration)]
        if is_lost:
            readings += _sizes(declaration, photos)
        own = _Reading("", "", {}, is_right, _losses(first, labels, declaration))
        asked = [_judge(suspect, reading, photos, labels) for reading in readings]
        found = _best([reading for reading in asked if reading is not None], own)
    if is_lost and not found:
        share = f"{100 * accuracy:.0f} % of {len(labels)} photos"
        seen = f"{share} get their label, no more than by chance"
        do = "check whether classes are in the order of the labels; with few photos, give more"
        no_skill = Finding("no_skill", "warning", seen, do)
        found = [*_negated(first, labels, is_right), no_skill]
    return found, accuracy


def _has_skill(answers: Answers, labels: np.ndarray) -> bool:
    """Return whether answers agree with labels significantly more than a random order."""
    size = 1 + int(max(labels.max(), first_labels(answers).max()))
    counts = [np.bincount(part, minlength=size) for part in (labels, first_labels(answers))]
    chance = float(counts[0] @ counts[1]) / len(labels) ** 2
    hits = int((first_labels(answers) == labels).sum())
    test = scipy.stats.binomtest(hits, len(labels), chance, alternative="greater")
    return test.pvalue <= _LEVEL


def _negated(first: Answers, labels: np.ndarray, is_right: np.ndarray) -> list[Finding]:
    """Return an error if the lowest score predicts the class better than the highest."""
    if first.kind not in ("logits", "probabilities"):
        return []
    turned = Answers(first.kind, -first.scores)
    would = first_labels(turned) == labels
    test = _sign_test(int((would & ~is_right).sum()), int((is_right & ~would).sum()))
    if test > _LEVEL / 10 or not _has_skill(turned, labels):
        return []
    seen = (
        f"{100 * would.mean():.0f} % of {len(labels)} photos get their label by the lowest "
        f"score, {100 * is_right.mean():.0f} % by the highest"
    )
    do = "check whether scores are negated (distances, losses) or classes in another order"
    return [Finding("negated", "error", seen, do)]


def _best(readings: list[_Reading], own: _Reading) -> list[Finding]:
    level = _LEVEL / max(1, len(readings))
    worse, doubtful = [], []
    for reading in readings:
        gained = int((reading.is_right & ~own.is_right).sum())
        lost = int((own.is_right & ~reading.is_right).sum())
        closer = int((reading.losses < own.losses).sum())
        farther = int((reading.losses > own.losses).sum())
        if _sign_test(gained, lost) <= level:
            worse.append(reading)
        elif gained >= lost and reading.losses.mean() < own.losses.mean():
            if _sign_test(closer, farther) <= level:
                doubtful.append(reading)
    chosen = worse or doubtful
    if not chosen:
        return []
    best = max(chosen, key=lambda r: (r.is_right.mean(), -r.losses.mean()))
    seen = (
        f"{100 * best.is_right.mean():.0f} % of {len(own.is_right)} photos get their label "
        f"when read with {best.text}, {100 * own.is_right.mean():.0f} % as declared"
    )
    do = f"check whether the model expects {best.text}; if so declare it and probe again"
    return [Finding(best.name, "error" if worse else "warning", seen, do)]


def _sign_test(better: int, worse: int) -> float:
    """Return p of the one-sided exact sign test; 1 if nothing differs."""
    if better + worse == 0:
        return 1.0
    test = scipy.stats.binomtest(better, better + worse, 0.5, alternative="greater")
    return float(test.pvalue)


def _judge(
    suspect: Suspect, reading: _Reading, photos: ProbePhotos, labels: np.ndarray
) -> _Reading | None:
    if not _takes(suspect, reading, photos):
        return None
    answers = _ask(suspect, reading, photos)
    # A reading that is better than one that is always wrong may still be wrong.
    if answers is None or not _has_skill(answers, labels):
        return None
    losses = _losses(answers, labels, suspect.declaration)
    return dataclasses.replace(reading, is_right=first_labels(answers) == labels, losses=losses)


def _takes(suspect: Suspect, reading: _Reading, photos: ProbePhotos) -> bool:
    """Return whether it answers two photos; a model that cannot costs no more queries."""
    return _ask(suspect, reading, photos, is_trial=True) is not None


def _ask(
    suspect: Suspect, reading: _Reading, photos: ProbePhotos, *, is_trial: bool = False
) -> Answers | None:
    """Return answers under another reading; None if the model does not take it."""
    if not getattr(suspect, "can_be_read_otherwise", True):
        return None
    declaration = dataclasses.replace(suspect.declaration, **reading.changes)
    try:
        other = suspect.with_declaration(declaration)
        if is_trial:
            return photos.answers(other.as_trial(), range(2))
        return photos.answers(other)
    except (SuspectError, ValueError):
        return None


def _losses(answers: Answers, labels: np.ndarray, declaration: Declaration) -> np.ndarray:
    losses = Access.best_of(declaration).losses(answers, labels, declaration)
    return np.nan_to_num(losses, nan=np.inf)


def _values(declaration: Declaration) -> list[_Reading]:
    """Return readings with other ranges, normalisations and orders of channels."""
    ways = [
        ("value_range", 'value_range="bytes" and no mean or std', "bytes", _PLAIN),
        ("value_range", 'value_range="unit" and no mean or std', "unit", _PLAIN),
        ("value_range", 'value_range="signed" and no mean or std', "signed", _PLAIN),
        ("normalisation", "the mean and std of ImageNet on [0, 1]", "unit", _IMAGENET),
    ]
    readings = [
        _Reading(name, text, {"value_range": span, **normal})
        for name, text, span, normal in ways
    ]
    other = "RGB" if declaration.channels == "BGR" else "BGR"
    readings.append(_Reading("channels", f'channels="{other}"', {"channels": other}))
    return [r for r in readings if dataclasses.replace(declaration, **r.changes) != declaration]


def _layouts(declaration: Declaration) -> list[_Reading]:
    other = "NHWC" if declaration.layout == "NCHW" else "NCHW"
    return [_Reading("layout", f'layout="{other}"', {"layout": other})]


def _sizes(declaration: Declaration, photos: ProbePhotos) -> list[_Reading]:
    own = photos.own_size
    now = declaration.input_size or own
    sizes = [*([own] if own else []), *((side, side) for side in _SIDES)]
    return [
        _Reading("input_size", f"input_size={size}", {"input_size": size})
        for size in sizes
        if size != now
    ]
