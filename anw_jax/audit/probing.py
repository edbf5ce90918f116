"""The probe of a case: is every suspect asked as it wants to be?"""

import dataclasses
from typing import Any

import numpy as np

from anw_jax import _check
from anw_jax.audit.case import FORMATS, Case
from anw_jax.audit.declaring import close
from anw_jax.audit.files import write_json
from anw_jax.audit.suspect_file import MakerFn
from anw_jax.errors import CaseError
from anw_jax.suspects import probe

_FEWEST = 2


def probe_case(
    case: Case, num_photos: int = 48, makers: dict[str, MakerFn] | None = None
) -> dict[str, Any]:
    """Probes every suspect on unmarked originals and writes `probe.json`.

    May be repeated until the audit is declared. Queries of a probe are paid and not kept.
    Recorded answers cannot be asked anything new and pass unprobed.

    Args:
      case: with owners and suspects.
      num_photos: originals used, at least 2; of the size most of them have.
      makers: further kinds of suspects.

    Returns:
      What was written: for each suspect whether it is fit, findings, accuracy, queries.

    Raises:
      CaseError: declared already, or fewer than two originals of one size.
    """
    _check.integer_at_least(_FEWEST, num_photos=num_photos)
    if case.has("declared.json"):
        raise CaseError(
            f"{case.file('declared.json')} is written: a probe comes before it, and another "
            "declaration afterwards is another test"
        )
    images, labels = _photos(case, num_photos)
    reports = {}
    for name, file in case.suspects.items():
        suspect = file.open(makers)
        if file.kind == "recorded":
            reports[name] = _unprobed("recorded answers can be asked nothing new")
        else:
            report = probe(suspect, images, labels)
            reports[name] = {
                "is_fit": report.is_fit,
                "findings": [dataclasses.asdict(finding) for finding in report.findings],
                "accuracy": report.accuracy,
                "num_queries": report.num_queries,
            }
        reports[name] |= {"file": file.digest, "declaration": suspect.declaration.digest}
        close(suspect)
    body = {"format": FORMATS["probe.json"], "previous": None, "suspects": reports}
    write_json(case.file("probe.json"), body)
    return body


def _unprobed(why: str) -> dict[str, Any]:
    return {"is_fit": True, "findings": [], "accuracy": None, "num_queries": 0, "unprobed": why}


def _photos(case: Case, num_photos: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Originals of the commonest size, a share of each owner's; labels if all have them."""
    found = [
        (image, None if owner.originals.labels is None else owner.originals.labels[index])
        for owner in case.owners.values()
        for index, image in enumerate(owner.originals.images)
        if image is not None
    ]
    shapes = [image.shape for image, _ in found]
    commonest = max(sorted(set(shapes)), key=shapes.count, default=None)
    chosen = [pair for pair in found if pair[0].shape == commonest]
    if len(chosen) < _FEWEST:
        raise CaseError(f"{case.path} needs {_FEWEST} originals of one size for a probe")
    step = max(1, len(chosen) // num_photos)
    chosen = chosen[::step][:num_photos]
    labels = [label for _, label in chosen]
    known = all(label is not None and label >= 0 for label in labels)
    return np.stack([image for image, _ in chosen]), np.array(labels) if known else None
