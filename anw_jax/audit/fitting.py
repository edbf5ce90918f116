"""Whether the photos and labels of a case are such as its suspects can be asked about."""

import warnings
from collections.abc import Mapping

import numpy as np

from anw_jax.audit.case import Case
from anw_jax.audit.labelling import known_labels
from anw_jax.errors import CaseError, SuspectError
from anw_jax.suspects import RecordedSuspect, Suspect
from anw_jax.suspects.pictures import as_asked, asked_size
from anw_jax.suspects.protocol import RemoteSuspect


def sizes_of(case: Case) -> list[tuple[int, int]]:
    """(H, W) of the originals, each once, sorted."""
    shapes = (shape for o in case.owners.values() for shape in o.originals.images.shapes)
    return sorted({tuple(shape[:2]) for shape in shapes if shape is not None})


def largest_label(case: Case) -> int:
    """The largest class number that any photo of the case has; -1 where none has one."""
    labels = [known_labels(case, name) for name in case.owners]
    return max((int(some.max(initial=-1)) for some in labels if some is not None), default=-1)


def check_labels_fit(
    case: Case, opened: Mapping[str, Suspect], labels_of: Mapping[str, np.ndarray | None]
) -> None:
    """Refuses labels that are no class of a suspect's: its audit could not end.

    Args:
      case: with the owners' photos.
      opened: suspects by name.
      labels_of: by owner, the class numbers that are asked about; None for the model's own.

    Raises:
      CaseError: names the owner, the photo and the suspect.
    """
    for name, suspect in opened.items():
        num_classes = suspect.declaration.num_classes
        for owner in case.owners.values():
            labels = labels_of[owner.name]
            beyond = [] if labels is None else np.flatnonzero(labels >= num_classes)
            if len(beyond):
                photo = owner.published.manifest.file_names[beyond[0]]
                raise CaseError(
                    f"owner {owner.name!r} gives {photo!r} the label {labels[beyond[0]]} "
                    f"({len(beyond)} such photos), and suspect {name!r} declares num_classes = "
                    f"{num_classes}: labels count from 0 and must be below it"
                )


def check_sizes_fit(case: Case, opened: Mapping[str, Suspect], *, was_probed: bool) -> None:
    """Refuses photos of sizes that a suspect cannot take: its audit could not end.

    A probe has asked about every size that was there. Where it is overridden, models that cost
    nothing to ask get one unmarked original of each size; services are not asked. Sizes that
    such a model refuses beside others are a warning: their photos are unusable, as every
    picture is that a suspect refuses.

    Raises:
      CaseError: names the size and the suspect.
    """
    if was_probed:
        known = case.read("probe.json").get("sizes")
        new = [s for s in sizes_of(case) if known is not None and list(s) not in known]
        if new:
            raise CaseError(
                f"the case has photos of {_named(new[0])}, which were not there when the "
                "suspects were probed: probe again"
            )
        return
    for name, suspect in opened.items():
        if not isinstance(suspect, RemoteSuspect | RecordedSuspect):
            _try_sizes(case, name, suspect)


def _try_sizes(case: Case, name: str, suspect: Suspect) -> None:
    sizes = sizes_of(case) if asked_size(suspect) is None else sizes_of(case)[:1]
    refused = {}
    for size in sizes:
        try:
            suspect.answers(as_asked(suspect, [_one_of(case, size)]))
        except (SuspectError, ValueError) as error:
            refused[_named(size)] = error
    for size, error in refused.items():
        what = f"suspect {name!r} cannot be asked about photos of {size} ({error})"
        if len(refused) == len(sizes):
            raise CaseError(f"{what}: declare the input_size and layout that it expects")
        warnings.warn(f"{what}: they will count as unusable", stacklevel=4)


def _one_of(case: Case, size: tuple[int, int]) -> np.ndarray:
    for owner in case.owners.values():
        images = owner.originals.images
        for index, shape in enumerate(images.shapes):
            if shape is not None and tuple(shape[:2]) == size:
                return images[index]
    raise ValueError(f"size must be that of an original, got {size}")


def _named(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
