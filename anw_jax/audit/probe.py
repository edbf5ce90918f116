"""Probe every suspect of a case: is it queried correctly?"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from anw_jax import _check, _json, progress
from anw_jax.audit.case import FORMATS, Case, Owner
from anw_jax.audit.checks import known_labels, sizes_of
from anw_jax.audit.declare import close
from anw_jax.audit.query import pictures_of
from anw_jax.audit.reference_checks import check_planned_denoising
from anw_jax.audit.suspect_file import MakerFn
from anw_jax.errors import CaseError
from anw_jax.suspects import Report, Suspect, probe
from anw_jax.suspects.access import reachable
from anw_jax.suspects.pictures import (
    Pictures,
    batch_size_for,
    queried_batch_sizes,
    queried_size,
)
from anw_jax.suspects.probing.findings import findings_on_classes

_FEWEST = 2
# Photos of each size that is not the most frequent one.
_NUM_OF_OTHERS = 2
# Different batch sizes tried, at most.
_MOST_BATCHES = 8


@dataclasses.dataclass(frozen=True)
class _Photo:
    """One original of a case: its owner, index, shape, and class (None if not known)."""

    owner: Owner
    index: int
    shape: tuple[int, ...]
    label: int | None


def probe_case(
    case: Case,
    num_photos: int = 48,
    makers: dict[str, MakerFn] | None = None,
    on_progress: progress.ReportFn = progress.silent_parts,
) -> dict[str, Any]:
    """Probe every suspect and reference on unmarked originals and write `probe.json`.

    May be repeated until the audit is declared. Queries of a probe are paid for and not kept.
    Recorded answers cannot be probed, and pass. The queries are like those of the audit:
    photos of every size, one alone, and batches as large as the audit's.

    Args:
      case: with owners and suspects.
      num_photos: originals used, at least 2, of the most frequent size; and two more of each
        other size. For a suspect that declares its `input_size`, sizes make no difference.
      makers: further kinds of suspects.
      on_progress: maps a model's name to a function of (pictures queried, 0): how many there
        will be depends on the answers.

    Returns:
      What was written: for each suspect whether it is fit, findings, accuracy, queries.

    Raises:
      CaseError: declared already, or fewer than two originals (of one size).
    """
    _check.integer_at_least(_FEWEST, num_photos=num_photos)
    if case.has("declared.json"):
        raise CaseError(
            f"{case.file('declared.json')} exists: a probe comes before the declaration, and "
            "another declaration would be another test"
        )
    photos, reports = _photos(case), {}
    for name, file in case.models.items():
        suspect = file.open(makers)
        for owner in case.owners.values():
            check_planned_denoising(name, suspect, owner.published.plan.rules)
        if file.kind == "recorded":
            why = {"unprobed": "recorded answers cannot be probed"}
            report = Report((), 0, None)
        else:
            fit = _fit_of(case, suspect)
            report = _probed(case, suspect, photos, num_photos, fit, on_progress(name))
            why = {}
        report = _with_classes(report, case, suspect)
        reports[name] = {
            "is_fit": report.is_fit,
            "findings": [dataclasses.asdict(finding) for finding in report.findings],
            "accuracy": report.accuracy,
            "num_queries": report.num_queries,
            **why,
            "file": file.digest,
            "declaration": suspect.declaration.digest,
        }
        close(suspect)
    body = {
        "format": FORMATS["probe.json"],
        "previous": None,
        "sizes": [list(size) for size in sizes_of(case)],
        "suspects": reports,
    }
    _json.write(case.file("probe.json"), body)
    return body


def _fit_of(case: Case, suspect: Suspect) -> str:
    """Say how the owners' plans resize photos for this suspect."""
    for owner in case.owners.values():
        for rule in owner.published.plan.open_rules(reachable(suspect.declaration)):
            return rule.fit
    return "squash"


def _photos(case: Case) -> list[_Photo]:
    """Return all originals of the case."""
    photos = []
    for owner in case.owners.values():
        images, labels = owner.originals.images, known_labels(case, owner.name)
        for index in owner.originals.present:
            label = None if labels is None or labels[index] < 0 else int(labels[index])
            photos.append(_Photo(owner, int(index), images.shapes[index], label))
    return photos


def _probed(
    case: Case,
    suspect: Suspect,
    photos: list[_Photo],
    num_photos: int,
    fit: str,
    on_progress: progress.ProgressFn,
) -> Report:
    main, others = photos, []
    if queried_size(suspect) is None:
        shapes = [photo.shape for photo in photos]
        commonest = max(sorted(set(shapes)), key=shapes.count, default=None)
        main = [photo for photo in photos if photo.shape == commonest]
        for shape in sorted(set(shapes) - {commonest}):
            some = [photo for photo in photos if photo.shape == shape]
            others.append(_pictures(some[:_NUM_OF_OTHERS]))
    labelled = [photo for photo in main if photo.label is not None]
    chosen = _chosen(labelled if len(labelled) >= _FEWEST else main, num_photos)
    if len(chosen) < _FEWEST:
        what = "originals" if queried_size(suspect) else "originals of one size"
        raise CaseError(f"{case.path} needs {_FEWEST} {what} for a probe")
    labels = [photo.label for photo in chosen]
    return probe(
        suspect,
        _pictures(chosen),
        None if None in labels else np.array(labels),
        other_sizes=others,
        batch_sizes=_batch_sizes(suspect, photos, max(photo.shape for photo in chosen)),
        fit=fit,
        on_progress=on_progress,
    )


def _chosen(photos: list[_Photo], number: int) -> list[_Photo]:
    """Return a share of each owner's photos."""
    return photos[:: max(1, len(photos) // number)][:number]


def _pictures(photos: list[_Photo]) -> Pictures:
    return pictures_of([(photo.owner.originals.images, photo.index) for photo in photos])


def _batch_sizes(
    suspect: Suspect, photos: Sequence[_Photo], shape: tuple[int, ...]
) -> list[int]:
    """Return the batch sizes of an audit: of all photos, and of one unit."""
    num_valid = photos[0].owner.published.manifest.space.num_valid
    groups: dict[tuple, int] = {}
    for photo in photos:
        key = photo.shape, type(photo.owner.published.mark)
        groups[key] = groups.get(key, 0) + num_valid
    most = batch_size_for(suspect, shape)
    totals = [num_valid, *sorted(groups.values(), reverse=True)]
    sizes = set()
    for total in totals:
        new = queried_batch_sizes(suspect, [total], most)
        if len(sizes | new) > _MOST_BATCHES:
            break
        sizes |= new
    return sorted(sizes)


def _with_classes(report: Report, case: Case, suspect: Suspect) -> Report:
    """Add an error if any label of the case, probed or not, is not a class of the suspect."""
    labels = [known_labels(case, name) for name in case.owners]
    largest = max(
        (int(some.max(initial=-1)) for some in labels if some is not None), default=-1
    )
    found = findings_on_classes(largest, suspect.declaration)
    others = [finding for finding in report.findings if finding.name != "classes"]
    return dataclasses.replace(report, findings=(*found, *others))
