"""The owner's side, before training: a folder of photos in, marked PNG files out."""

import dataclasses
import os
import pathlib
import shutil
from typing import Any

import numpy as np

from anw_jax import _check, _files, data, progress
from anw_jax.audit.folder_report import FolderReport, report_on
from anw_jax.audit.labels import Labels, read_labels
from anw_jax.audit.names import target_names
from anw_jax.audit.published import COMMITMENT, commitment_of, read_published, write_published
from anw_jax.errors import CaseError
from anw_jax.keys import Manifest, MarkKey, Plan, SignatureSpace, assign, image_digest
from anw_jax.marks import HueRotation, Mark, UserLCT, publish

PHOTOS = "published"


@dataclasses.dataclass(frozen=True)
class Marked:
    """What `mark_folder` did.

    Attributes:
      commitment: 64 hex digits: publish them, or have them time-stamped, before the photos.
      num_images: photos in the manifest.
      num_units: units that carry independent slots.
      num_written: PNG files written; 0 while the value of a beacon is waited for.
      num_unchanged: photos that no hue changes (grey ones): they carry no mark.
      num_without_class: photos with the label "-", or a word without a class: their rows are
        constant.
      needs_map: labels in words to which no map was given: the arbitrator makes one.
      report: what was found below the folder, pictures that cannot be marked among it.
    """

    commitment: str
    num_images: int
    num_units: int
    num_written: int
    num_unchanged: int
    num_without_class: int
    needs_map: bool
    report: FolderReport


def mark_folder(
    photos: str | os.PathLike,
    mark_key: MarkKey,
    out: str | os.PathLike,
    plan: Plan,
    *,
    scheme: str = "per_image",
    num_slots: int = 12,
    private_basis: bool = False,
    beacon: bytes = b"",
    labels: str | os.PathLike | None = None,
    labels_map: str | os.PathLike | None = None,
    on_progress: progress.ProgressFn = progress.silent,
) -> Marked:
    """Commits, then marks every photo of a folder; the originals are only read.

    `out` gets `manifest.json` and `commitment.json` (and `basis.json`), then `published/` with
    one PNG for each photo. It appears under its name when it is complete, so a kill leaves no
    half of it; the same call again goes on.

    Args:
      photos: the folder of originals, of any depth.
      mark_key: the owner's secret.
      out: a folder that is not there yet, neither `photos` nor inside it.
      plan: statistic, level, mode, claim, beacon; its mark and labels are set here.
      scheme: "per_image", "per_group" (each subfolder an album) or "per_user".
      num_slots: N.
      private_basis: use the owner's own colour basis (`UserLCT`) instead of the hue in YIQ.
      beacon: the value of the beacon that the plan names. Without it the first call only
        commits; call again with it once it is published.
      labels: a file of rows 'file,label' to commit to: audits take no other labels from an
        owner; None commits to none. A label is a class number, a word, or "-".
      labels_map: a file of rows 'word,class number', committed to with the labels.
      on_progress: called with (photos done, photos in all).

    Raises:
      CaseError: `out` is in the way; two photos would get one name; labels that do not fit.
      SourceError: photos that cannot be read.
      TypeError, ValueError: a bad scheme or number of slots, or a beacon that is not planned.
    """
    photos, out = pathlib.Path(photos), pathlib.Path(out)
    _check_auditable(plan, num_slots)
    report = report_on(photos)
    files, names = report.photos, list(report.names)
    _refuse_in_the_way(photos, out)
    targets = target_names(names)
    manifest = _manifest(files, names, scheme, num_slots)
    basis = mark_key.sub_key("basis") if private_basis else None
    mark = UserLCT.from_sub_key(basis) if private_basis else HueRotation()
    table = _labels(labels, labels_map, manifest)
    digest = "" if table is None else table.digest
    plan = dataclasses.replace(plan, mark=mark.description, labels=digest)
    if beacon and not plan.beacon:
        raise ValueError("beacon has a value but the plan names no beacon: omit it")
    commitment = commitment_of(mark_key, manifest, plan)
    _commit(out, manifest, plan, commitment, basis)
    numbers = {"num_written": 0, "num_unchanged": 0}
    if beacon or not plan.beacon:
        slots = assign(mark_key, manifest, beacon=beacon, mode=plan.mode)
        pairs = list(zip(files, targets, slots.degrees, strict=True))
        numbers = _publish(pairs, mark, manifest, out / PHOTOS, on_progress)
    needs_map = table is not None and table.needs_map
    without = 0 if table is None or needs_map else table.num_without
    return Marked(
        commitment,
        manifest.num_images,
        manifest.num_units,
        **numbers,
        num_without_class=without,
        needs_map=needs_map,
        report=report,
    )


def _labels(
    labels: str | os.PathLike | None, labels_map: str | os.PathLike | None, manifest: Manifest
) -> Labels | None:
    if labels is None:
        if labels_map is not None:
            raise ValueError(f"labels_map needs labels, got {labels_map} alone")
        return None
    return read_labels(labels, manifest, labels_map)


def _check_auditable(plan: Plan, num_slots: int) -> None:
    """A commitment that no audit could ever test would be found out years later."""
    if plan.mode == "sequential":
        _check.integer_at_least(3, num_slots=num_slots)


def _refuse_in_the_way(photos: pathlib.Path, out: pathlib.Path) -> None:
    source, target = photos.resolve(), out.resolve()
    if target == source or source in target.parents:
        raise CaseError(f"out must lie outside the folder of originals {photos}, got {out}")
    if target in source.parents:
        raise CaseError(f"out must not hold the folder of originals {photos}, got {out}")
    is_ours = (out / COMMITMENT).exists() and not (out / PHOTOS).exists()
    if out.exists() and not is_ours:
        raise CaseError(f"out must not exist yet, got {out}: nothing is overwritten")


def _manifest(
    files: tuple[pathlib.Path, ...], names: list[str], scheme: str, num_slots: int
) -> Manifest:
    digests = [image_digest(data.read_photo(file)) for file in files]
    groups = None
    if scheme == "per_group":
        groups = [str(pathlib.PurePosixPath(name).parent) for name in names]
    space = SignatureSpace(num_slots)
    return Manifest.of(digests, space, scheme, groups, names, digests=digests)


def _commit(
    out: pathlib.Path, manifest: Manifest, plan: Plan, commitment: str, basis: bytes | None
) -> None:
    """Writes the public files, or agrees with those that are there."""
    if out.exists():
        before = read_published(out)
        if before.commitment != commitment:
            raise CaseError(
                f"{out} holds another commitment: key, photos or plan differ from those "
                "committed to; name another folder"
            )
        return
    partial = _fresh(out)
    write_published(partial, manifest, plan, commitment, basis)
    os.replace(partial, out)


def _publish(
    pairs: list[tuple[pathlib.Path, str, float]],
    mark: Mark,
    manifest: Manifest,
    folder: pathlib.Path,
    on_progress: progress.ProgressFn,
) -> dict[str, Any]:
    partial, num_unchanged = _fresh(folder), 0
    for number, (file, target, degrees) in enumerate(pairs):
        image = data.read_photo(file)
        if image_digest(image) != manifest.image_digests[number]:
            raise CaseError(f"{file} was changed while it was marked: run the command again")
        marked = publish(mark, image[None], float(degrees))[0]
        num_unchanged += bool(np.array_equal(marked, image))
        _files.write_whole(partial / target, data.png_of(marked, data.colour_of(file)))
        on_progress(number + 1, len(pairs))
    os.replace(partial, folder)
    return {"num_written": len(pairs), "num_unchanged": num_unchanged}


def _fresh(folder: pathlib.Path) -> pathlib.Path:
    """An empty neighbour to fill; what a kill left of an earlier one goes."""
    partial = folder.with_name(folder.name + ".partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    return partial
