"""Mark the photos that were committed to, and say of every file what became of it.

Marking is a step of its own because slots depend on the value of a public beacon that must not
exist yet when the commitment is made; without a beacon it may follow at once.
"""

import collections
import dataclasses
import hashlib
import os
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np

from anw_jax import _files, _json, data, progress
from anw_jax.audit.files import canonical_name, digest_of, target_names
from anw_jax.audit.folder_report import FolderReport, check_size, reason_of, report_on
from anw_jax.audit.published import (
    PHOTOS,
    Published,
    check_later,
    commitment_of,
    new_folder,
    read_published,
)
from anw_jax.errors import CaseError, SourceError
from anw_jax.keys import Manifest, MarkKey, assign, image_digest
from anw_jax.marks import publish

REPORT, DIGESTS = "report.json", "published.json"
_REPORT_FORMAT = "anw_jax marking report, version 1"
_DIGESTS_FORMAT = "anw_jax published files, version 1"

_ADDED = (
    "was not committed to: later photos are a new batch, with a commitment and a key of its own"
)
_MISSING = "was committed to, and is not there any more"
_CHANGED = "was changed after it was committed to"
_UNCHANGED = "the mark does not change it"


@dataclasses.dataclass(frozen=True)
class MarkedFile:
    """One photo that was marked.

    Attributes:
      file: name of the original.
      published: name of the marked file.
      published_sha256: of the marked file; "" in a survey.
      written_as: format and quality.
      removed: what of the original's metadata is not in it, counted.
      notes: what the owner should know, each the end of "photos with …".
    """

    file: str
    published: str
    published_sha256: str
    written_as: str
    removed: dict[str, int]
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Marked:
    """What `publish_folder` did: every file is in one of three lists, or counted in `report`.

    Attributes:
      commitment: 64 hex digits; "" in a survey of a folder that was not committed to.
      marked: the photos that carry the mark.
      unchanged: photos that were written and that the mark does not change, such as grey ones
        under a hue: they carry no mark.
      lost: (name, reason) of photos that were committed to and could not be written: they carry
        no mark.
      report: what was passed over, and why.
    """

    commitment: str
    marked: tuple[MarkedFile, ...]
    unchanged: tuple[MarkedFile, ...]
    lost: tuple[tuple[str, str], ...]
    report: FolderReport

    @property
    def num_written(self) -> int:
        """Number of files written."""
        return len(self.marked) + len(self.unchanged)

    @property
    def num_unchanged(self) -> int:
        """Number of files written that carry no mark."""
        return len(self.unchanged)

    @property
    def without_mark(self) -> tuple[tuple[str, str], ...]:
        """(Name, reason) of all photos that carry no mark."""
        return (*((one.file, _UNCHANGED) for one in self.unchanged), *self.lost)

    @property
    def removed(self) -> dict[str, int]:
        """What was removed from all files, counted."""
        total: collections.Counter[str] = collections.Counter()
        for one in (*self.marked, *self.unchanged):
            total.update(one.removed)
        return dict(sorted(total.items()))

    def as_json(self) -> dict[str, Any]:
        """Return the body of report.json."""
        return {
            "format": _REPORT_FORMAT,
            "commitment": self.commitment,
            "marked": [dataclasses.asdict(one) for one in self.marked],
            "no_mark": [
                *({"reason": _UNCHANGED} | dataclasses.asdict(one) for one in self.unchanged),
                *({"file": name, "reason": why} for name, why in self.lost),
            ],
            **self.report.as_json(),
        }


def publish_folder(
    photos: str | os.PathLike,
    key_file: str | os.PathLike,
    out: str | os.PathLike,
    *,
    beacon: bytes = b"",
    encoding: data.Encoding | None = None,
    on_progress: progress.ProgressFn = progress.silent,
) -> Marked:
    """Mark every photo that `commit_folder` committed to, into `out/published`.

    One photo is held in memory at a time. Writes `out/report.json` (what became of each file)
    and `out/published.json` (SHA-256 of each published file, to be time-stamped). Names,
    folders and time stamps are those of the originals.

    A photo that is missing, changed or cannot be decoded any more stays in the manifest and
    carries no mark; the others are marked all the same.

    Args:
      photos: the same folder of originals.
      key_file: the same key.
      out: the folder that holds the commitment.
      beacon: the value of the beacon that the plan names; b"" where it names none.
      encoding: how files are written; by default as their originals.
      on_progress: called with (photos done, photos in all).

    Raises:
      CaseError: no commitment in `out`, the key is not the one committed to, two files would
        get one name, or no photo can be marked.
      CommitmentError: the beacon's value is missing, not planned, or of another length.
    """
    photos, out = pathlib.Path(photos), pathlib.Path(out)
    encoding = encoding or data.Encoding()
    mark_key = MarkKey.load(key_file)
    published = read_published(out)
    manifest = published.manifest
    report = report_on(photos)
    targets = target_names(manifest.file_names, encoding.ending)
    if (out / PHOTOS).exists():
        raise CaseError(f"out must hold no {PHOTOS} yet, got {out}: nothing is overwritten")
    if commitment_of(mark_key, manifest, published.plan) != published.commitment:
        raise CaseError(f"{key_file} is not the key behind the commitment in {out}")
    check_later(published.plan.beacon, published.time_utc)
    slots = assign(mark_key, manifest, published.plan, beacon=beacon)
    partial = new_folder(out / PHOTOS)

    def write(
        number: int, original: data.Original, file: pathlib.Path
    ) -> tuple[MarkedFile, bool]:
        angle = float(slots.degrees[number])
        marked = publish(published.mark, original.pixels[None], angle)[0]
        is_unchanged = np.array_equal(marked, original.pixels)
        encoded = data.encode(original, marked, encoding, str(file))
        _write(partial / targets[number], encoded.content, file)
        one = _entry(manifest.file_names[number], targets[number], encoded, original)
        digest = hashlib.sha256(encoded.content).hexdigest()
        return dataclasses.replace(one, published_sha256=digest), is_unchanged

    done = _each(published, report, write, on_progress)
    if not done.num_written:
        shutil.rmtree(partial)
        name, why = done.lost[0]
        raise CaseError(
            f"no photo that was committed to can be marked in {photos}: {name} {why}"
        )
    digests = {one.published: one.published_sha256 for one in (*done.marked, *done.unchanged)}
    body = {"format": _DIGESTS_FORMAT, "commitment": done.commitment}
    _json.write(out / DIGESTS, body | {"files": dict(sorted(digests.items()))})
    _json.write(out / REPORT, done.as_json())
    os.replace(partial, out / PHOTOS)
    return done


def survey(
    photos: str | os.PathLike,
    out: str | os.PathLike,
    least_side: int,
    encoding: data.Encoding | None = None,
    on_progress: progress.ProgressFn = progress.silent,
) -> Marked:
    """Say what `commit_folder` and `publish_folder` would do with each file; write nothing.

    Photos are decoded and encoded, without a mark: no slot is known here, so those that the
    mark will not change are not.

    Args:
      photos: the folder of originals.
      out: the folder of the commitment, if there is one; else a folder that is not there.
      least_side: of the mark, in pixels.
      encoding: how files would be written; by default as their originals.
      on_progress: called with (photos done, photos in all).

    Raises:
      SourceError: no such folder, or no photo in it.
      CaseError: two files would get one name.
    """
    photos, out = pathlib.Path(photos), pathlib.Path(out)
    encoding = encoding or data.Encoding()
    report = report_on(photos)
    published = read_published(out) if out.exists() else None
    names = report.names if published is None else published.manifest.file_names
    targets = target_names(names, encoding.ending)

    def look(
        number: int, original: data.Original, file: pathlib.Path
    ) -> tuple[MarkedFile, bool]:
        check_size(original.pixels, least_side, file)
        encoded = data.encode(original, original.pixels, encoding, str(file))
        return _entry(names[number], targets[number], encoded, original), False

    done = _each(published, report, look, on_progress)
    if published is not None:
        return done
    return dataclasses.replace(
        done,
        lost=(),
        report=dataclasses.replace(
            done.report, passed_over=tuple(sorted((*done.report.passed_over, *done.lost)))
        ),
    )


def _entry(
    name: str, target: str, encoded: data.Encoded, original: data.Original
) -> MarkedFile:
    return MarkedFile(name, target, "", encoded.text, encoded.removed, original.notes)


def _write(path: pathlib.Path, content: bytes, original: pathlib.Path) -> None:
    """Write a published file with the time stamps of its original."""
    _files.write_whole(path, content)
    times = original.stat()
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _each(
    published: Published | None,
    report: FolderReport,
    handle: Callable[[int, data.Original, pathlib.Path], tuple[MarkedFile, bool]],
    on_progress: progress.ProgressFn,
) -> Marked:
    """Decode each photo that was committed to, and sort all files into the three lists.

    Args:
      published: the commitment; None for every photo of the folder.
      report: of the folder.
      handle: is given each photo's number and file, decoded; returns the entry, and whether
        the mark changed nothing. Its SourceErrors say why a photo gets no mark.
      on_progress: called with (photos done, photos in all).
    """
    found = {canonical_name(n): f for n, f in zip(report.names, report.photos, strict=True)}
    passed_over = {canonical_name(name): (name, why) for name, why in report.passed_over}
    manifest = None if published is None else published.manifest
    names = report.names if manifest is None else manifest.file_names
    lists: tuple[list[MarkedFile], list[MarkedFile]] = ([], [])
    lost: list[tuple[str, str]] = []
    for number, name in enumerate(names):
        file = found.pop(canonical_name(name), None)
        _, why = passed_over.pop(canonical_name(name), ("", _MISSING))
        if file is not None:
            try:
                original = data.read_original(file)
                _check_committed(manifest, number, original, file)
                entry, is_unchanged = handle(number, original, file)
                lists[is_unchanged].append(entry)
                why = ""
            except SourceError as error:
                why = reason_of(error, file)
        if why:
            lost.append((name, why))
        on_progress(number + 1, len(names))
    added = [(file, name) for name, file in found.items()]
    least_side = 0 if published is None else published.mark.least_side
    report = dataclasses.replace(report, passed_over=tuple(passed_over.values()))
    report = report.decoded(
        [note for entries in lists for one in entries for note in one.notes],
        [(name, _why_added(file, least_side)) for file, name in added],
    )
    commitment = "" if published is None else published.commitment
    return Marked(commitment, tuple(lists[0]), tuple(lists[1]), tuple(lost), report)


def _check_committed(
    manifest: Manifest | None, number: int, original: data.Original, file: pathlib.Path
) -> None:
    """Refuse a photo other than the one committed to.

    A file with the very bytes committed to may be decoded to other pixels here.

    Raises:
      SourceError: it is another.
    """
    if manifest is None or image_digest(original.pixels) == manifest.image_digests[number]:
        return
    try:
        is_file = digest_of(file) == manifest.file_digests[number]
    except CaseError as error:
        raise SourceError(str(error)) from None
    if not is_file:
        raise SourceError(f"{file} {_CHANGED}")


def _why_added(file: pathlib.Path, least_side: int) -> str:
    """Return why a photo was not committed to."""
    try:
        check_size(data.read_photo(file), least_side, file)
    except SourceError as error:
        return reason_of(error, file)
    return _ADDED
