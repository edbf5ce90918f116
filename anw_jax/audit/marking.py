"""Mark the photos that were committed to, and say of every file what became of it.

Marking is a step of its own because slots depend on the value of a public beacon that must not
exist yet when the commitment is made; without a beacon it may follow at once.
"""

import collections
import dataclasses
import os
import pathlib
import shutil
from collections.abc import Collection
from typing import Any

from anw_jax import _json, data, progress
from anw_jax.audit.files import canonical_name, only_one, target_names
from anw_jax.audit.folder_report import UNCHANGED, FolderReport, report_on
from anw_jax.audit.published import (
    PHOTOS,
    Published,
    check_later,
    commitment_of,
    partial_folder,
    read_published,
)
from anw_jax.errors import CaseError, SourceError
from anw_jax.keys import MarkKey, UnitSlots
from anw_jax.shards import (
    CommittedPhoto,
    MarkedFile,
    MarkedPhotos,
    MarkPass,
    Shard,
    SurveyPass,
    check_size,
    cut,
    join_marked,
    reason_of,
    run_pass,
    sort_lines,
)

REPORT, DIGESTS = "report.json", "published.json"
_REPORT_FORMAT = "anw_jax marking report, version 1"
DIGESTS_FORMAT = "anw_jax published files, version 1"

_ADDED = (
    "was not committed to: later photos are a new batch, with a commitment and a key of its own"
)
_MISSING = "was committed to, and is not there any more"


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
      root: hash tree over the published files in the manifest's order, hex; "" in a survey.
    """

    commitment: str
    marked: tuple[MarkedFile, ...]
    unchanged: tuple[MarkedFile, ...]
    lost: tuple[tuple[str, str], ...]
    report: FolderReport
    root: str = ""

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
        return (*((one.file, UNCHANGED) for one in self.unchanged), *self.lost)

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
                *({"reason": UNCHANGED} | dataclasses.asdict(one) for one in self.unchanged),
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
    workers: int = 1,
    on_progress: progress.ProgressFn = progress.silent,
) -> Marked:
    """Mark every photo that `commit_folder` committed to, into `out/published`.

    One photo for each worker is held in memory at a time. Writes `out/report.json` (what became
    of each file) and `out/published.json` (SHA-256 of each published file, to be time-stamped).
    Names, folders and time stamps are those of the originals. The same call goes on where an
    earlier one was stopped.

    A photo that is missing, changed or cannot be decoded any more stays in the manifest and
    carries no mark; the others are marked all the same.

    Args:
      photos: the same folder of originals.
      key_file: the same key.
      out: the folder that holds the commitment.
      beacon: the value of the beacon that the plan names; b"" where it names none.
      encoding: how files are written; by default as their originals.
      workers: most processes; 1 for this one alone.
      on_progress: called with (photos done, photos in all).

    Raises:
      CaseError: no commitment in `out`, the key is not the one committed to, two files would
        get one name, or no photo can be marked.
      CommitmentError: the beacon's value is missing, not planned, or of another length.
    """
    photos, out = pathlib.Path(photos), pathlib.Path(out)
    job, found = _prepare(photos, key_file, out, beacon, encoding)
    with only_one(out):
        shards = cut(found.photos)
        run_pass(
            job,
            shards,
            workers=workers,
            num_bytes=found.report.num_bytes,
            on_progress=on_progress,
        )
        done = _marked(join_marked(shards, job), found)
        if not done.num_written:
            for folder in (job.published, job.work):
                shutil.rmtree(folder)
            name, why = done.lost[0]
            raise CaseError(
                f"no photo that was committed to can be marked in {photos}: {name} {why}"
            )
        digests = {
            one.published: one.published_sha256 for one in (*done.marked, *done.unchanged)
        }
        _remove_others(job.published, digests.keys())
        body = {"format": DIGESTS_FORMAT, "commitment": done.commitment}
        _json.write(out / DIGESTS, body | {"files": dict(sorted(digests.items()))})
        _json.write(out / REPORT, done.as_json())
        os.replace(job.published, out / PHOTOS)
        shutil.rmtree(job.work)
    return done


def mark_pass(
    photos: str | os.PathLike,
    key_file: str | os.PathLike,
    out: str | os.PathLike,
    *,
    beacon: bytes = b"",
    encoding: data.Encoding | None = None,
    size: int | None = None,
) -> tuple[MarkPass, list[Shard[CommittedPhoto]]]:
    """Return the second pass over a folder and its shards, to be run on other machines.

    `publish_folder` with the same arguments then goes on from the files that they wrote. The
    pass is **secret**: it holds the sub-key that slots are drawn from.

    Args:
      photos: the same folder of originals.
      key_file: the same key.
      out: the folder that holds the commitment.
      beacon: the value of the beacon that the plan names; b"" where it names none.
      encoding: how files are written; by default as their originals.
      size: photos in each shard; None for the size that `publish_folder` goes on from.

    Raises:
      CaseError, CommitmentError: as `publish_folder`.
      TypeError, ValueError: a size below 1.
    """
    job, found = _prepare(pathlib.Path(photos), key_file, pathlib.Path(out), beacon, encoding)
    return job, cut(found.photos, size)


def survey(
    photos: str | os.PathLike,
    out: str | os.PathLike,
    least_side: int,
    encoding: data.Encoding | None = None,
    workers: int = 1,
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
      workers: most processes; 1 for this one alone.
      on_progress: called with (photos done, photos in all).

    Raises:
      SourceError: no such folder, or no photo in it.
      CaseError: two files would get one name.
    """
    photos, out = pathlib.Path(photos), pathlib.Path(out)
    encoding = encoding or data.Encoding()
    found = _find(photos, read_published(out) if out.exists() else None, encoding)
    lines = run_pass(
        SurveyPass(photos, least_side, encoding),
        cut(found.photos),
        workers=workers,
        num_bytes=found.report.num_bytes,
        on_progress=on_progress,
    )
    done = _marked(sort_lines([line for of_shard in lines for line in of_shard]), found)
    if found.published is not None:
        return done
    return dataclasses.replace(
        done,
        lost=(),
        report=dataclasses.replace(
            done.report, passed_over=tuple(sorted((*done.report.passed_over, *done.lost)))
        ),
    )


@dataclasses.dataclass(frozen=True)
class _Found:
    """What a folder holds of the photos committed to.

    Attributes:
      published: the commitment; None for every photo of the folder.
      report: of the folder; what was passed over are pictures that were not committed to.
      photos: that were committed to.
      added: files and names of those that were not.
    """

    published: Published | None
    report: FolderReport
    photos: tuple[CommittedPhoto, ...]
    added: tuple[tuple[pathlib.Path, str], ...]


def _find(folder: pathlib.Path, published: Published | None, encoding: data.Encoding) -> _Found:
    """Find the original of each photo that was committed to."""
    report = report_on(folder)
    files = {
        canonical_name(n): (f, n) for n, f in zip(report.names, report.photos, strict=True)
    }
    passed_over = {canonical_name(name): (name, why) for name, why in report.passed_over}
    manifest = None if published is None else published.manifest
    names = report.names if manifest is None else manifest.file_names
    targets = target_names(names, encoding.ending)
    photos = []
    for number, (name, target) in enumerate(zip(names, targets, strict=True)):
        _, file = files.pop(canonical_name(name), (None, ""))
        _, why = passed_over.pop(canonical_name(name), ("", _MISSING))
        committed = ("", "", "")
        if manifest is not None:
            unit = manifest.unit_digests[manifest.unit_of_image[number]]
            committed = (manifest.image_digests[number], manifest.file_digests[number], unit)
        photos.append(CommittedPhoto(number, name, file, why, target, *committed))
    report = dataclasses.replace(report, passed_over=tuple(passed_over.values()))
    return _Found(published, report, tuple(photos), tuple(files.values()))


def _prepare(
    photos: pathlib.Path,
    key_file: str | os.PathLike,
    out: pathlib.Path,
    beacon: bytes,
    encoding: data.Encoding | None,
) -> tuple[MarkPass, _Found]:
    """Check what is needed for marking, and make the folders of the second pass."""
    encoding = encoding or data.Encoding()
    mark_key = MarkKey.load(key_file)
    published = read_published(out)
    manifest, plan = published.manifest, published.plan
    found = _find(photos, published, encoding)
    if (out / PHOTOS).exists():
        raise CaseError(f"out must hold no {PHOTOS} yet, got {out}: nothing is overwritten")
    if commitment_of(mark_key, manifest, plan) != published.commitment:
        raise CaseError(f"{key_file} is not the key behind the commitment in {out}")
    check_later(plan.beacon, published.time_utc)
    slots = UnitSlots(
        mark_key.sub_key("slots"),
        manifest.space.num_slots,
        manifest.digest,
        plan,
        beacon,
        published.commitment if plan.mode == "sequential" else "",
    )
    folders = (partial_folder(out / PHOTOS), partial_folder(out / "shards"))
    for folder in folders:
        folder.mkdir(exist_ok=True)
    return MarkPass(photos, *folders, published.mark, slots, encoding), found


def _marked(joined: MarkedPhotos, found: _Found) -> Marked:
    """Say what became of each file."""
    published = found.published
    least_side = 0 if published is None else published.mark.least_side
    report = found.report.decoded(
        [note for one in (*joined.marked, *joined.unchanged) for note in one.notes],
        [(name, _why_added(file, least_side)) for file, name in found.added],
    )
    commitment = "" if published is None else published.commitment
    return Marked(commitment, joined.marked, joined.unchanged, joined.lost, report, joined.root)


def _remove_others(folder: pathlib.Path, names: Collection[str]) -> None:
    """Remove files that an earlier run with other options, or a kill, left in a folder."""
    wanted = {folder / name for name in names}
    for file in [file for file in folder.rglob("*") if not file.is_dir()]:
        if file not in wanted:
            file.unlink()


def _why_added(file: pathlib.Path, least_side: int) -> str:
    """Return why a photo was not committed to."""
    try:
        check_size(data.read_photo(file).shape, least_side, file)
    except SourceError as error:
        return reason_of(error, file)
    return _ADDED
