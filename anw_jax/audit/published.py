"""The owner's published folder: commitment, manifest, and the marked photos.

Marking is a step of its own because slots depend on the value of a public beacon that must not
exist yet when the commitment is made; without a beacon it may follow at once.
"""

import collections
import dataclasses
import datetime
import os
import pathlib
import shutil
from typing import Any

import numpy as np

from anw_jax import _files, _json, data, progress
from anw_jax.audit.files import canonical_name, digest_of, read_json, target_names
from anw_jax.errors import CaseError
from anw_jax.keys import Manifest, MarkKey, Plan, assign, commit, commit_units, image_digest
from anw_jax.keys.beacons import read_beacon
from anw_jax.keys.digests import check_is_commitment
from anw_jax.marks import Mark, mark_named, publish, sub_key_name

COMMITMENT, MANIFEST, PHOTOS = "commitment.json", "manifest.json", "published"

# The file of a mark's secret, by the name of its sub-key: for the arbitrator alone.
_SECRETS = {
    "basis": ("basis.json", "anw_jax private basis, version 1: for the arbitrator alone"),
    "light": ("light.json", "anw_jax light patterns, version 1: for the arbitrator alone"),
}

_COMMITMENT_FORMAT = "anw_jax commitment, version 1"


@dataclasses.dataclass(frozen=True)
class Published:
    """What one owner publishes, as read from a folder.

    Attributes:
      commitment: 64 hex digits.
      plan: as committed to.
      manifest: the units.
      mark: the mark, with its secret where it has one.
      digests: SHA-256 of each file read, by name.
      time_utc: when it was made, according to the owner, ISO; "" in older files.
    """

    commitment: str
    plan: Plan
    manifest: Manifest
    mark: Mark
    digests: dict[str, str]
    time_utc: str = ""


def commitment_of(mark_key: MarkKey, manifest: Manifest, plan: Plan) -> str:
    """Compute the commitment of the kind that the plan's mode needs."""
    make = commit_units if plan.mode == "sequential" else commit
    return make(mark_key, manifest, plan)


def write_published(
    folder: pathlib.Path, mark_key: MarkKey, manifest: Manifest, plan: Plan, commitment: str
) -> None:
    """Write the files that an owner publishes into a folder."""
    manifest.save(folder / MANIFEST)
    secret = sub_key_name(plan.mark)
    if secret is not None:
        name, kind = _SECRETS[secret]
        body = {"format": kind, "sub_key": mark_key.sub_key(secret).hex()}
        _files.write_new(folder / name, (_json.dumps(body) + "\n").encode(), mode=0o600)
    _json.write(
        folder / COMMITMENT,
        {
            "format": _COMMITMENT_FORMAT,
            "commitment": commitment,
            "time_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "plan": plan.as_json(),
            "manifest": digest_of(folder / MANIFEST),
            "num_units": manifest.num_units,
        },
    )


def read_published(folder: pathlib.Path) -> Published:
    """Read what an owner publishes, and compare its files with one another.

    Raises:
      CaseError: a file is missing or damaged, the manifest is not the one that the commitment
        names, or the sub-key is not the one that the plan's mark names.
    """
    digests = {name: digest_of(folder / name) for name in (COMMITMENT, MANIFEST)}
    try:
        manifest = Manifest.load(folder / MANIFEST)
    except (OSError, ValueError) as error:
        raise CaseError(f"{folder / MANIFEST}: {error!s:.120}") from None
    commitment, plan, named, time_utc = read_commitment(folder / COMMITMENT, manifest)
    if named != digests[MANIFEST]:
        raise CaseError(
            f"{folder / MANIFEST} is not the manifest that {folder / COMMITMENT} names (its "
            "SHA-256 differs)"
        )
    mark = _mark_of(folder, plan, manifest, digests)
    return Published(commitment, plan, manifest, mark, digests, time_utc)


def read_commitment(path: pathlib.Path, manifest: Manifest) -> tuple[str, Plan, str, str]:
    """Read `commitment.json`: commitment, plan, SHA-256 of the manifest's file, and time.

    Raises:
      CaseError: it is missing or damaged, or counts other units than the manifest.
    """
    body = read_json(path, _COMMITMENT_FORMAT)
    try:
        plan = Plan.from_json(body["plan"])
        commitment, named = check_is_commitment(body["commitment"]), body["manifest"]
        time_utc, num_units = str(body.get("time_utc", "")), body["num_units"]
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise CaseError(f"{path} is damaged: {error!s:.80}") from None
    if type(num_units) is not int or num_units != manifest.num_units:
        raise CaseError(
            f"{path} counts {num_units!r:.40} units, and its manifest has {manifest.num_units}"
        )
    return commitment, plan, named, time_utc


def _mark_of(
    folder: pathlib.Path, plan: Plan, manifest: Manifest, digests: dict[str, str]
) -> Mark:
    secret = sub_key_name(plan.mark)
    where, sub_key = folder / COMMITMENT, None
    if secret is not None:
        name, kind = _SECRETS[secret]
        where = folder / name
        body = read_json(where, kind)
        digests[name] = digest_of(where)
        try:
            sub_key = bytes.fromhex(body["sub_key"])
        except (KeyError, TypeError, ValueError):
            raise CaseError(f"{where} holds no sub-key of 64 hex digits") from None
    try:
        mark = mark_named(plan.mark, sub_key)
    except ValueError as error:
        raise CaseError(f"{where}: {error}") from None
    num_slots, wanted = getattr(mark, "num_slots", None), manifest.space.num_slots
    if num_slots not in (None, wanted):
        raise CaseError(f"{where}: the mark has {num_slots} slots, and the manifest {wanted}")
    return mark


@dataclasses.dataclass(frozen=True)
class Marked:
    """What `publish_folder` did.

    Attributes:
      commitment: 64 hex digits.
      num_written: PNG files written.
      num_unchanged: photos that the mark does not change, such as grey ones under a hue.
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
    """Mark every photo that `commit_folder` committed to, as PNG files in `out/published`.

    Args:
      photos: the same folder of originals, complete and unchanged.
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
    """Refuse a beacon whose value appeared before a commitment was made.

    Raises:
      CaseError: it did. Where the name gives no time, the arbitrator has to know.
    """
    appears = read_beacon(beacon).time
    if appears and time_utc and appears <= datetime.datetime.fromisoformat(time_utc):
        raise CaseError(
            f"the value of the beacon {beacon!r} appeared at {appears.isoformat()}, before the "
            f"commitment of {time_utc}: name a later one"
        )


def _check_names_committed(names: list[str], manifest: Manifest, photos: pathlib.Path) -> None:
    """Compare names, which a file system may have changed to another Unicode form."""
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
    partial, num_unchanged = new_folder(folder), 0
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


def new_folder(folder: pathlib.Path) -> pathlib.Path:
    """Make an empty folder beside `folder`, to be renamed; remove one that a kill left."""
    partial = folder.with_name(folder.name + ".partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    return partial


# The number of files that the lines name; JSON names all.
_NAMED = 5


@dataclasses.dataclass(frozen=True)
class FolderReport:
    """The files found in a folder of photos.

    Attributes:
      photos: their files, in the order of their names.
      names: of the photos, relative to the folder.
      notes: properties of photo files that their owner should know, each the end of "photos
        with …", and the number of photos that have it.
      passed_over: pictures that cannot be marked, each with the reason.
      others: files that are not pictures, counted by extension.
      num_hidden: hidden and system files.
    """

    photos: tuple[pathlib.Path, ...]
    names: tuple[str, ...]
    notes: dict[str, int]
    passed_over: tuple[tuple[str, str], ...]
    others: dict[str, int]
    num_hidden: int

    def as_json(self) -> dict[str, Any]:
        """Everything except the photos, for `--json`."""
        return {
            "notes": self.notes,
            "passed_over": [{"file": name, "reason": why} for name, why in self.passed_over],
            "other_files": self.others,
            "hidden_files": self.num_hidden,
        }


def report_on(folder: str | os.PathLike) -> FolderReport:
    """List the files of a folder and its subfolders; read no pixels.

    Raises:
      SourceError: no such folder, no photo in it, a folder below it or a photo that cannot be
        read.
    """
    folder = pathlib.Path(folder)
    listing = data.list_folder(folder)
    photos = data.list_photos(folder, listing)
    notes = collections.Counter(note for file in photos for note in data.colour_of(file).notes)
    return FolderReport(
        photos,
        tuple(file.relative_to(folder).as_posix() for file in photos),
        dict(sorted(notes.items())),
        tuple((f.relative_to(folder).as_posix(), why) for f, why in listing.passed_over),
        listing.others,
        listing.num_hidden,
    )


def report_lines(report: FolderReport) -> list[str]:
    """Format a report as lines; none if there is nothing to report."""
    lines = [f"{plural(number, 'photo')} with {note}" for note, number in report.notes.items()]
    if report.passed_over:
        suffixes = (pathlib.PurePosixPath(name).suffix for name, _ in report.passed_over)
        endings = collections.Counter(suffix.lower() for suffix in suffixes)
        lines.append(
            f"NOT MARKED: {plural(len(report.passed_over), 'picture')} ({_counts(endings)})"
        )
        lines += [f"  {name}: {why}" for name, why in report.passed_over[:_NAMED]]
        more = len(report.passed_over) - _NAMED
        lines += [f"  and {more} more; --json names all"] if more > 0 else []
    if report.others:
        number = plural(sum(report.others.values()), "file")
        lines.append(f"skipped, not pictures: {number} ({_counts(report.others)})")
    if report.num_hidden:
        lines.append(f"skipped: {plural(report.num_hidden, 'hidden or system file')}")
    return lines


def plural(number: int, what: str) -> str:
    """Format a number of things.

    Example:
      >>> plural(1, "photo"), plural(2, "photo")
      ('1 photo', '2 photos')
    """
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _counts(of_ending: dict[str, int]) -> str:
    pairs = sorted(of_ending.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{number} {ending or 'without an extension'}" for ending, number in pairs)
