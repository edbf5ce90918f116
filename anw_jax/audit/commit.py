"""Commit to a folder of photos, before any slot is known: the owner's first step."""

import contextlib
import dataclasses
import datetime
import math
import os
import pathlib
import shutil
from collections.abc import Iterator

from anw_jax import _check, progress
from anw_jax.audit.files import only_one, target_names
from anw_jax.audit.folder_report import UNCHANGED, FolderReport, plural, report_on
from anw_jax.audit.labels import Labels, read_labels
from anw_jax.audit.options import Choices
from anw_jax.audit.published import (
    COMMITMENT,
    PHOTOS,
    Published,
    check_later,
    commitment_of,
    partial_folder,
    read_published,
    write_published,
)
from anw_jax.audit.registry import Registry, open_registry
from anw_jax.errors import CaseError
from anw_jax.keys import Manifest, MarkKey, Plan, SignatureSpace
from anw_jax.keys.beacons import read_beacon
from anw_jax.keys.stamps import KINDS, Stamp
from anw_jax.shards import DigestPass, Digests, Shard, cut, join_digests, run_pass
from anw_jax.stats import format_p

# The digests of so many photos are kept when a commitment is refused.
_MANY = 1000


@dataclasses.dataclass(frozen=True)
class Committed:
    """What `commit_folder` did.

    Attributes:
      commitment: 64 hex digits: publish them, or have them time-stamped, before the photos.
      num_images: photos in the manifest.
      num_units: units that carry independent slots.
      number: which of the owner's commitments this is.
      beacon: the name of the public value that decides the slots; "" for none.
      is_new: False if the same commitment was there already.
      report: what was found in the folder, with pictures that cannot be marked.
      warnings: what the owner should know, one line each.
      without_mark: (name, reason) of photos that will carry no mark: grey ones, where the mark
        does not change these. Not known where photos were left unread.
    """

    commitment: str
    num_images: int
    num_units: int
    number: int
    beacon: str
    is_new: bool
    report: FolderReport
    warnings: tuple[str, ...] = ()
    without_mark: tuple[tuple[str, str], ...] = ()


def commit_folder(
    photos: str | os.PathLike,
    key_file: str | os.PathLike,
    out: str | os.PathLike,
    choices: Choices,
    *,
    labels: str | os.PathLike | None = None,
    labels_map: str | os.PathLike | None = None,
    again: bool = False,
    decode: bool = True,
    now: datetime.datetime | None = None,
    workers: int = 1,
    on_progress: progress.ProgressFn = progress.silent,
) -> Committed:
    """Commit to every photo of a folder, before any slot is known; nothing is marked yet.

    `out` gets `manifest.json`, `commitment.json` and, for a mark with a secret, `basis.json` or
    `light.json`; it appears under its name when it is complete. The same call again finds the
    commitment that is there. Numbers come from the registry beside the key file. Photos that
    cannot be read, or are too small for the mark, are passed over and named in the report.
    Digests of shards are kept in `out.partial`, from where the same call goes on if it was
    stopped.

    Args:
      photos: the folder of originals, of any depth; only read.
      key_file: the owner's secret.
      out: a folder that is not there yet, neither `photos` nor inside it.
      choices: what is committed to.
      labels: a file of rows 'file,label' to commit to: audits accept no other labels from an
        owner; None commits to none. A label is a class number, a word, or "-".
      labels_map: a file of rows 'word,class number', committed to with the labels.
      again: commit to photos that are in the registry already.
      decode: False to leave the photos of a commitment that is there unread, since
        `publish_folder` reads them anyway.
      now: the time, with a time zone; None for the computer's. The beacon must lie after it.
      workers: most processes that decode photos; 1 for this one alone.
      on_progress: called with (photos done, photos in all).

    Raises:
      CaseError: `out` is in the way; two photos would get one name; labels that do not fit;
        choices that differ from those committed to; photos that were committed to before.
      SourceError: no photo that can be read.
      TypeError, ValueError: a choice out of its range.
    """
    photos, out, key_file = pathlib.Path(photos), pathlib.Path(out), pathlib.Path(key_file)
    mark_key, report = MarkKey.load(key_file), report_on(photos)
    _check_out(photos, out)
    target_names(report.names)
    before = read_published(out) if out.exists() else None
    if before is not None:
        choices = _committed_choices(before, choices)
    slots = 12 if choices.slots is None else choices.slots
    if choices.mode == "sequential":  # no audit could ever test fewer
        _check.integer_at_least(3, slots=slots)
    mark = choices.make_mark(mark_key, slots) if before is None else before.mark
    grey, warnings = [], ()
    with _workplace(out, len(report.names)):
        if before is not None and not decode:
            manifest = before.manifest
        else:
            done = _digests(photos, out, report, mark.least_side, workers, on_progress)
            manifest, report = _manifest(report, done, choices.scheme or "per_image", slots)
            grey = [] if mark.marks_grey else done.grey
        table = _labels(labels, labels_map, manifest)
        digest = None if table is None else table.digest
        now = now or datetime.datetime.now(datetime.UTC)
        with open_registry(key_file.parent) as registry:
            if before is None:
                warnings = _warn(registry, mark_key, manifest, choices.beacon or "", again, now)
                plan = choices.plan(mark.description, digest or "", registry.next_number)
                published = _write(out, mark_key, manifest, plan, now)
                warnings += _about_level(published)
            else:
                published = before
                _check_committed(before, out, mark_key, manifest, digest)
            registry.add(mark_key, published)
    return Committed(
        published.commitment,
        manifest.num_images,
        manifest.num_units,
        published.plan.number,
        published.plan.beacon,
        before is None,
        report,
        (*warnings, *_about_labels(table)),
        tuple((name, UNCHANGED) for name in grey),
    )


@contextlib.contextmanager
def _workplace(out: pathlib.Path, num_photos: int) -> Iterator[None]:
    """Remove the files of the first pass at the end; after a kill the next call needs them.

    After an error too, unless they took long to make.
    """
    try:
        yield
    except Exception:
        if num_photos < _MANY:
            shutil.rmtree(partial_folder(out), ignore_errors=True)
        raise
    shutil.rmtree(partial_folder(out), ignore_errors=True)


def _about_beacon(name: str, now: datetime.datetime) -> tuple[str, ...]:
    """Warn where the value appears so soon that no time stamp can be early enough."""
    appears = read_beacon(name).time
    stamp = Stamp(KINDS[0], now, "an authority, at once")
    if appears is None or stamp.precedes(appears):
        return ()
    when = f"the beacon's value appears at {appears.isoformat()}"
    older = f"a time stamp must be at least {stamp.least_hours} h older"
    return (f"{when}, and {older}: without one, the order rests on the arbitrator's word",)


def _about_level(published: Published) -> tuple[str, ...]:
    """Warn where no audit can reach the level: each unit divides p by N - 1 at most."""
    units, level = published.manifest.num_units, published.plan.alpha
    least = -units * math.log10(published.manifest.space.num_valid)
    if least <= math.log10(level):
        return ()
    return (
        f"no match can be shown at level {level:g}: the least p that "
        f"{plural(units, 'unit')} of {published.manifest.space.num_valid} marks can give is "
        f"{format_p(least)}; commit to more photos, or with a larger --alpha",
    )


def _labels(
    labels: str | os.PathLike | None, labels_map: str | os.PathLike | None, manifest: Manifest
) -> Labels | None:
    if labels is not None:
        return read_labels(labels, manifest, labels_map)
    if labels_map is not None:
        raise ValueError(f"labels_map needs labels, got {labels_map} alone")
    return None


def _about_labels(table: Labels | None) -> tuple[str, ...]:
    """Say what an owner should know about labels that are not all class numbers."""
    if table is None:
        return ()
    if table.needs_map:
        return ("labels are words: the arbitrator has to map them to class numbers",)
    if table.num_without:
        return (f"photos without a class: {table.num_without}; their rows are constant",)
    return ()


def _write(
    out: pathlib.Path,
    mark_key: MarkKey,
    manifest: Manifest,
    plan: Plan,
    now: datetime.datetime,
) -> Published:
    """Write a new commitment; `out` appears under its name when it is complete."""
    whole = partial_folder(out) / "whole"
    if whole.exists():
        shutil.rmtree(whole)
    whole.mkdir(parents=True)
    commitment = commitment_of(mark_key, manifest, plan)
    write_published(whole, mark_key, manifest, plan, commitment, now)
    os.replace(whole, out)
    return read_published(out)


def _committed_choices(before: Published, choices: Choices) -> Choices:
    """Return the choices committed to, if none that was given differs.

    Raises:
      CaseError: one does.
    """
    choices.check_same(before.plan, before.manifest.scheme, before.manifest.space.num_slots)
    return dataclasses.replace(
        choices,
        scheme=before.manifest.scheme,
        slots=before.manifest.space.num_slots,
        mode=before.plan.mode,
    )


def _check_committed(
    before: Published,
    out: pathlib.Path,
    mark_key: MarkKey,
    manifest: Manifest,
    labels: str | None,
) -> None:
    """Refuse another key, other photos or other labels than those committed to."""
    if labels not in (None, before.plan.labels):
        raise CaseError(f"the labels are not those committed to in {out}")
    if commitment_of(mark_key, manifest, before.plan) != before.commitment:
        raise CaseError(
            f"{out} holds another commitment: key or photos differ from those committed to; "
            "name another folder"
        )


def _warn(
    registry: Registry,
    mark_key: MarkKey,
    manifest: Manifest,
    beacon: str,
    again: bool,
    now: datetime.datetime,
) -> tuple[str, ...]:
    """Refuse a past beacon and photos committed to before, and warn of a key used before.

    Without a beacon such photos are a warning too: the commitment is conditional in any case.
    """
    check_later(beacon, now.isoformat(timespec="seconds"))
    warnings = []
    twice = registry.photos_again(manifest)
    if twice and not again:
        what = (
            f"{twice[0]} was committed to before ({len(twice)} such photos, {registry.path}): "
            "a second commitment to the same photos weakens both, since p is multiplied by "
            "their number"
        )
        if beacon:
            raise CaseError(f"{what}; give --again to do it anyway")
        warnings.append(what)
    uses = registry.uses_of(mark_key)
    if uses:
        warnings.append(
            f"this key was used for {uses} commitment(s) before: a verdict on one opens it for "
            "all, so create a new key for each (anw key new)"
        )
    if not registry.is_writable:
        warnings.append(
            f"{registry.path} cannot be written, so this commitment is not counted there: move "
            "your keys to a folder that can be written to"
        )
    return (*warnings, *_about_beacon(beacon, now))


def check_apart(photos: pathlib.Path, out: pathlib.Path) -> None:
    """Refuse a folder to write that lies in the folder of originals, or holds it.

    Raises:
      CaseError: it does.
    """
    source, target = photos.resolve(), out.resolve()
    if target == source or source in target.parents:
        raise CaseError(f"out must lie outside the folder of originals {photos}, got {out}")
    if target in source.parents:
        raise CaseError(f"out must not hold the folder of originals {photos}, got {out}")


def _check_out(photos: pathlib.Path, out: pathlib.Path) -> None:
    check_apart(photos, out)
    is_ours = (out / COMMITMENT).exists() and not (out / PHOTOS).exists()
    if out.exists() and not is_ours:
        raise CaseError(f"out must not exist yet, got {out}: nothing is overwritten")


def digest_pass(
    photos: str | os.PathLike, out: str | os.PathLike, size: int | None = None
) -> tuple[DigestPass, list[Shard[str]]]:
    """Return the first pass over a folder and its shards, to be run on other machines.

    `commit_folder` with the same folders then goes on from the files that they wrote.

    Args:
      photos: the folder of originals.
      out: that of the later commitment.
      size: photos in each shard; None for the size that `commit_folder` goes on from.

    Raises:
      SourceError: no such folder, or no photo in it.
      CaseError: `out` is in the way.
      TypeError, ValueError: a size below 1.
    """
    photos, out = pathlib.Path(photos), pathlib.Path(out)
    _check_out(photos, out)
    return DigestPass(photos, _shards_folder(out)), cut(report_on(photos).names, size)


def _digests(
    photos: pathlib.Path,
    out: pathlib.Path,
    report: FolderReport,
    least_side: int,
    workers: int,
    on_progress: progress.ProgressFn,
) -> Digests:
    """Decode all photos, or go on where the same call was stopped."""
    job, shards = DigestPass(photos, _shards_folder(out)), cut(report.names)
    job.work.mkdir(parents=True, exist_ok=True)
    with only_one(job.work):
        run_pass(
            job,
            shards,
            workers=workers,
            num_bytes=report.num_bytes,
            on_progress=on_progress,
        )
    return join_digests(shards, photos, job.work, least_side)


def _shards_folder(out: pathlib.Path) -> pathlib.Path:
    return partial_folder(out) / "shards"


def _manifest(
    report: FolderReport, done: Digests, scheme: str, num_slots: int
) -> tuple[Manifest, FolderReport]:
    """Return the manifest; photos that cannot be marked are passed over in the report."""
    if not done.names:
        name, why = done.passed_over[0]
        raise CaseError(f"none of the photos can be marked: {name} {why}")
    groups = None
    if scheme == "per_group":
        groups = [str(pathlib.PurePosixPath(name).parent) for name in done.names]
    manifest = Manifest.of(
        done.names,
        SignatureSpace(num_slots),
        scheme,
        groups,
        done.names,
        digests=done.image_digests,
        file_digests=done.file_digests,
    )
    return manifest, report.decoded(done.notes, done.passed_over)
