"""The owner's second step: marked PNG files of the photos that he committed to.

It is a step of its own because slots depend on the value of a public beacon that must not exist
yet when the commitment is made; without a beacon it may follow at once.
"""

import dataclasses
import datetime
import os
import pathlib
import shutil
from typing import Any

import numpy as np

from anw_jax import _files, data, progress
from anw_jax.audit.names import canonical_name, target_names
from anw_jax.audit.published import commitment_of, read_published
from anw_jax.errors import CaseError
from anw_jax.keys import Manifest, MarkKey, assign, image_digest
from anw_jax.keys.beacons import read_beacon
from anw_jax.marks import Mark, publish

PHOTOS = "published"


@dataclasses.dataclass(frozen=True)
class Marked:
    """What `publish_folder` did.

    Attributes:
      commitment: 64 hex digits.
      num_written: PNG files written.
      num_unchanged: photos that no hue changes (grey ones): they carry no mark.
    """

    commitment: str
    num_written: int
    num_unchanged: int


def publish_folder(
    photos: str | os.PathLike,
    key_file: str | os.PathLike,
    out: str | os.PathLike,
    *,
    beacon: bytes = b"",
    on_progress: progress.ProgressFn = progress.silent,
) -> Marked:
    """Marks every photo that `commit_folder` committed to: PNG files in `out/published`.

    Args:
      photos: the same folder of originals, every photo there and unchanged.
      key_file: the same key.
      out: the folder that holds the commitment.
      beacon: the value of the beacon that the plan names; b"" where it names none.
      on_progress: called with (photos done, photos in all).

    Raises:
      CaseError: no commitment in `out`, or photos or key are not those committed to.
      CommitmentError: the beacon's value is missing, not planned, or of another length.
    """
    photos, out = pathlib.Path(photos), pathlib.Path(out)
    mark_key = MarkKey.load(key_file)
    published = read_published(out)
    files = data.list_photos(photos)
    names = [file.relative_to(photos).as_posix() for file in files]
    target_names(names)
    if (out / PHOTOS).exists():
        raise CaseError(f"out must hold no {PHOTOS} yet, got {out}: nothing is overwritten")
    manifest = published.manifest
    _check_names_committed(names, manifest, photos)
    if commitment_of(mark_key, manifest, published.plan) != published.commitment:
        raise CaseError(f"{key_file} is not the key behind the commitment in {out}")
    check_later(published.plan.beacon, published.time_utc)
    slots = assign(mark_key, manifest, published.plan, beacon=beacon)
    file_of = dict(zip(map(canonical_name, names), files, strict=True))
    ordered = [file_of[canonical_name(name)] for name in manifest.file_names]
    pairs = list(zip(ordered, target_names(manifest.file_names), slots.degrees, strict=True))
    numbers = _publish(pairs, published.mark, manifest, out / PHOTOS, on_progress)
    return Marked(published.commitment, **numbers)


def check_later(beacon: str, time_utc: str) -> None:
    """Refuses a beacon whose value appeared before a commitment was made.

    Raises:
      CaseError: it did; where no time can be computed it is the arbitrator who knows.
    """
    appears = read_beacon(beacon).time
    if appears and time_utc and appears <= datetime.datetime.fromisoformat(time_utc):
        raise CaseError(
            f"the value of the beacon {beacon!r} appeared at {appears.isoformat()}, before the "
            f"commitment of {time_utc}: name a later one"
        )


def _check_names_committed(names: list[str], manifest: Manifest, photos: pathlib.Path) -> None:
    """Names may have come by a file system that writes them in another Unicode form."""
    found = {canonical_name(name): name for name in names}
    wanted = {canonical_name(name): name for name in manifest.file_names}
    missing = sorted(wanted[name] for name in wanted.keys() - found.keys())
    added = sorted(found[name] for name in found.keys() - wanted.keys())
    if missing:
        raise CaseError(
            f"{missing[0]} was committed to and is not in {photos} ({len(missing)} such "
            "photos): every photo that was committed to must be there"
        )
    if added:
        raise CaseError(
            f"{added[0]} is in {photos} and was not committed to ({len(added)} such photos): "
            "later photos are a new batch with a commitment and a key of their own"
        )


def _publish(
    pairs: list[tuple[pathlib.Path, str, float]],
    mark: Mark,
    manifest: Manifest,
    folder: pathlib.Path,
    on_progress: progress.ProgressFn,
) -> dict[str, Any]:
    partial, num_unchanged = fresh_folder(folder), 0
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


def fresh_folder(folder: pathlib.Path) -> pathlib.Path:
    """An empty neighbour to fill; what a kill left of an earlier one goes."""
    partial = folder.with_name(folder.name + ".partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    return partial
