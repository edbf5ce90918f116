"""Checks before a declaration: the probe, the owners, and the labels and sizes of the photos.

Losses depend on a photo's class number, so choosing it after seeing hues and answers would bias
the test. Therefore class numbers come from the owner only as committed to, from a file of the
arbitrator's own, or from the model.
"""

import dataclasses
import warnings
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from anw_jax.audit.case import Case, Owner
from anw_jax.audit.labels import LABELS, Labels, arbitrator_labels
from anw_jax.errors import CaseError, SuspectError
from anw_jax.keys import AccessRule, Plan
from anw_jax.keys.plan import labels_digest
from anw_jax.suspects import RecordedSuspect, Suspect
from anw_jax.suspects.pictures import as_queried, queried_size
from anw_jax.suspects.protocol import RemoteSuspect

# Who gives the class numbers of a case whose suspects have no classes.
NOBODY = "nobody"


def check_probe(case: Case, despite_probe: bool) -> None:
    """Check that every suspect was probed as it is now, and passed.

    Raises:
      CaseError: one was not, or did not.
    """
    if despite_probe:
        return
    if not case.has("probe.json"):
        raise CaseError(
            f"{case.file('probe.json')} is not there: probe the suspects first (anw probe)"
        )
    reports = case.read("probe.json")["suspects"]
    for name, file in case.models.items():
        if reports.get(name, {}).get("file") != file.digest:
            raise CaseError(f"{file.path} is new or was changed since the probe: probe again")
        if not reports[name]["is_fit"]:
            raise CaseError(
                f"the probe found errors in how suspect {name!r} is queried: correct "
                f"{file.path} and probe again"
            )


def check_same_models(case: Case, opened: dict[str, Suspect]) -> None:
    """Check that the models opened are those that were probed.

    Raises:
      CaseError: one is not.
    """
    reports = case.read("probe.json")["suspects"]
    for name, suspect in opened.items():
        if reports[name].get("declaration") != suspect.declaration.digest:
            raise CaseError(f"suspect {name!r} is not the model that was probed: probe again")


def check_owners(case: Case, controls: Collection[str] = ()) -> None:
    """Check that all owners have one mode, claim, level and signature space.

    Raises:
      CaseError: they do not, or as `check_plans`.
    """
    check_plans(case, controls)
    plans = {name: owner.published for name, owner in case.owners.items()}
    _check_equal("num_slots", {n: p.manifest.space.num_slots for n, p in plans.items()})


def check_plans(case: Case, controls: Collection[str] = ()) -> None:
    """Check that all owners have one mode, claim and level.

    Raises:
      CaseError: they do not, one commitment is there twice, or the claim does not fit the
        number of suspects.
    """
    plans = {name: owner.published for name, owner in case.owners.items()}
    for field in ("mode", "claim", "alpha", "version"):
        _check_equal(field, {name: getattr(p.plan, field) for name, p in plans.items()})
    owner_of: dict[str, str] = {}
    for name, published in plans.items():
        other = owner_of.setdefault(published.commitment, name)
        if other != name:
            raise CaseError(
                f"owners {other!r} and {name!r} have the same commitment, which may be in a "
                "case only once"
            )
    accused = len(case.suspects) - len(controls)
    if not accused:
        raise CaseError("every suspect of the case is a control: there is nothing to test")
    if case.plan.claim == "one model" and accused > 1:
        raise CaseError(
            f"the owners' plans claim 'one model' and the case has {accused} suspects: keep "
            "one of them, or commit to another claim"
        )


def check_keys(case: Case, mark_keys: Collection[str]) -> None:
    """Raise CaseError unless there is a key of each owner, by name, and no other."""
    if sorted(mark_keys) != sorted(case.owners):
        raise CaseError(
            f"give the key of each owner ({', '.join(case.owners)}) and of no other (--key); "
            f"got {', '.join(sorted(mark_keys)) or 'none'}"
        )


def _check_equal(field: str, values: dict[str, Any]) -> None:
    (first, expected), *others = values.items()
    for name, value in others:
        if value != expected:
            raise CaseError(
                f"owners {first!r} and {name!r} have committed to different values of {field} "
                f"({expected!r} and {value!r}): give each a case of its own"
            )


def check_complete(case: Case) -> None:
    """Check that every photo committed to is in the case.

    An owner knows the slots, and may know the model's answers: leaving out the photos whose
    hues do not match would turn the others into a match. Without this check the verdict has
    the condition that this did not happen.

    Raises:
      CaseError: one is not.
    """
    for name, owner in case.owners.items():
        names = owner.published.manifest.file_names
        if missing := owner.originals.missing:
            raise CaseError(
                f"owner {name!r} lacks {len(missing)} of {len(names)} originals "
                f"({names[missing[0]]!r}): get them all, since whoever may leave photos out "
                "can keep only those that match; if they are lost, declare despite them (anw "
                "declare --despite-missing), which is a condition of the verdict"
            )


def check_marks_fit(case: Case) -> None:
    """Refuse photos that are too small for their owner's mark: their audit could not end.

    Raises:
      CaseError: names the owner and the photo; `anw commit` accepts none.
    """
    for name, owner in case.owners.items():
        least_side = owner.published.mark.least_side
        shapes = zip(
            owner.published.manifest.file_names, owner.originals.images.shapes, strict=True
        )
        for file, shape in shapes:
            if shape is not None and min(shape[:2]) < least_side:
                raise CaseError(
                    f"owner {name!r} has the photo {file!r} of {_size_text(shape[:2])}, and "
                    f"the mark needs {least_side} pixels along each side"
                )


def sizes_of(case: Case) -> list[tuple[int, int]]:
    """List the sizes (H, W) of the originals, each once, sorted."""
    shapes = (shape for o in case.owners.values() for shape in o.originals.images.shapes)
    return sorted({tuple(shape[:2]) for shape in shapes if shape is not None})


def check_sizes_fit(case: Case, opened: Mapping[str, Suspect], *, was_probed: bool) -> None:
    """Refuse photos of sizes that a suspect cannot take, since its audit could not end.

    A probe has queried every size that was there. Where it is overridden, models that cost
    nothing get one unmarked original of each size; services are not queried. If a model
    refuses some of several sizes, that is a warning: those photos are unusable, like every
    image that a suspect refuses.

    Raises:
      CaseError: names the size and the suspect.
    """
    if was_probed:
        known = case.read("probe.json").get("sizes")
        new = [s for s in sizes_of(case) if known is not None and list(s) not in known]
        if new:
            raise CaseError(
                f"the case has photos of {_size_text(new[0])}, which were not there when the "
                "suspects were probed: probe again"
            )
        return
    for name, suspect in opened.items():
        if not isinstance(suspect, RemoteSuspect | RecordedSuspect):
            _try_sizes(case, name, suspect)


def _try_sizes(case: Case, name: str, suspect: Suspect) -> None:
    sizes = sizes_of(case) if queried_size(suspect) is None else sizes_of(case)[:1]
    refused = {}
    for size in sizes:
        try:
            suspect.answers(as_queried(suspect, [_original_of(case, size)]))
        except (SuspectError, ValueError) as error:
            refused[_size_text(size)] = error
    for size, error in refused.items():
        what = f"suspect {name!r} cannot take photos of {size} ({error})"
        if len(refused) == len(sizes):
            raise CaseError(f"{what}: declare the input_size and layout that it expects")
        warnings.warn(f"{what}: they will count as unusable", stacklevel=4)


def _original_of(case: Case, size: tuple[int, int]) -> np.ndarray:
    for owner in case.owners.values():
        images = owner.originals.images
        for index, shape in enumerate(images.shapes):
            if shape is not None and tuple(shape[:2]) == size:
                return images[index]
    raise ValueError(f"size must be that of an original, got {size}")


def _size_text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def check_labels_fit(
    case: Case, opened: Mapping[str, Suspect], labels_of: Mapping[str, np.ndarray | None]
) -> None:
    """Refuse labels that are not classes of a suspect, since its audit could not end.

    Args:
      case: with the owners' photos.
      opened: suspects by name.
      labels_of: by owner, the class numbers of the photos; None if not needed.

    Raises:
      CaseError: names the owner, the photo and the suspect.
    """
    for name, suspect in opened.items():
        num_classes = suspect.declaration.num_classes
        if num_classes is None:
            continue
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


def source_of(plan: Plan) -> str:
    """Return the label source of a plan (all its rules share one)."""
    return "owner" if plan.version == 1 else plan.rules[0].labels


def declared_source(plan: Plan, rules: Iterable[AccessRule], chosen: str | None = None) -> str:
    """Return the label source of a plan, or `NOBODY` if none of the declared rules has labels.

    Args:
      plan: of the owner.
      rules: declared for the suspects of the case.
      chosen: the arbitrator's option instead of the plan's source; None for none.
    """
    if all(rule.kind == "error" for rule in rules):
        return NOBODY
    return chosen or source_of(plan)


def source_table(case: Case, name: str, source: str) -> Labels | None:
    """Return the table of labels from the declared source; None where photos need none.

    Raises:
      CaseError: there is none, or the owner's labels are not those committed to.
    """
    owner = case.owners[name]
    if source in ("model", NOBODY):
        return None
    if source == "arbitrator":
        return _of_arbitrator(case, owner)
    table, committed = owner.originals.table, owner.published.plan.labels
    if table is None:
        raise CaseError(
            f"owner {name!r} has no labels.csv: get the labels that were committed to"
        )
    if committed and table.digest == committed:
        return table
    why = "are not those" if committed else "were not"
    raise CaseError(
        f"the labels of owner {name!r} {why} committed to before training, and could have been "
        "chosen to fit: label the photos yourself (--own-labels), or audit without labels "
        "(--no-labels)"
    )


def wanted_labels(case: Case, name: str, source: str) -> np.ndarray | None:
    """Return the class numbers from the declared source, int64 `[n]`; None if not needed.

    Raises:
      CaseError: as `source_table`, or no photo has a class.
    """
    table = source_table(case, name, source)
    if table is None:
        return None
    if (table.classes < 0).all():
        raise CaseError(
            f"no photo of owner {name!r} has a class: give labels_map.csv with rows "
            "'word,class number', or audit without labels (--no-labels)"
        )
    return table.classes


def known_labels(case: Case, name: str) -> np.ndarray | None:
    """Return the class numbers for a probe; None if none are known yet."""
    owner = case.owners[name]
    if source_of(owner.published.plan) == "arbitrator":
        table = arbitrator_labels(case.path, name, owner.published.manifest)
        return None if table is None else table.classes
    return owner.originals.labels


def with_labels(case: Case, name: str, source: str) -> Owner:
    """Return the owner with the class numbers that are used in queries."""
    owner = case.owners[name]
    originals = dataclasses.replace(owner.originals, labels=wanted_labels(case, name, source))
    return dataclasses.replace(owner, originals=originals)


def digest_of_labels(labels: np.ndarray | None) -> str:
    """Return the digest in `declared.json`; "" where photos need no labels."""
    return "" if labels is None else labels_digest(labels)


def _of_arbitrator(case: Case, owner: Owner) -> Labels:
    table = arbitrator_labels(case.path, owner.name, owner.published.manifest)
    if table is not None:
        return table
    path = case.file("labels") / f"{owner.name}.csv"
    if owner.published.plan.version == 1:
        if owner.originals.labels_file == LABELS:
            return owner.originals.table
        raise CaseError(
            f"your own labels of owner {owner.name!r}'s photos must be in {LABELS} or {path}, "
            f"got those of {owner.originals.labels_file}, which may be the owner's"
        )
    raise CaseError(
        f"the plan of owner {owner.name!r} takes the labels from you: write {path} with rows "
        "'file,label', without having seen hues or answers"
    )
