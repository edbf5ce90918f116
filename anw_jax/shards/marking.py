"""The second pass, from photo files to marked files, and its join."""

import dataclasses
import functools
import hashlib
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from anw_jax import _files, _json, data
from anw_jax.data.photos import read_bytes
from anw_jax.errors import CaseError, SourceError
from anw_jax.keys import SignatureSpace, UnitSlots, image_digest
from anw_jax.keys.digests import length_prefixed, tree_levels
from anw_jax.marks import Mark, publish_image
from anw_jax.shards.digests import check_size, decoder, nothing, reason_of
from anw_jax.shards.shard import (
    Shard,
    check_numbers,
    lines_before,
    lines_path,
    read_lines,
    stamp,
    write_lines,
)

_FORMAT = "anw_jax shard of marked photos, version 1"
_TAG_LEAF = b"anw_jax/v1/published-leaf\0"

_CHANGED = "was changed after it was committed to"


@dataclasses.dataclass(frozen=True)
class CommittedPhoto:
    """A photo to be marked.

    Attributes:
      index: in the manifest.
      name: in the manifest.
      file: its original, relative to the folder; "" if there is none.
      why: why there is none.
      target: name of the marked file.
      sha256, file_sha256: as committed to; "" in a survey without a commitment.
      unit: digest of its unit; "" in such a survey.
    """

    index: int
    name: str
    file: str
    why: str
    target: str
    sha256: str = ""
    file_sha256: str = ""
    unit: str = ""


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


_FIELDS = tuple(field.name for field in dataclasses.fields(MarkedFile))


@dataclasses.dataclass(frozen=True)
class MarkPass:
    """The second pass: a shard of photos → marked files, and a line for each. **Secret**.

    The line and the marked file of a photo are functions of its original and of this job alone.
    A photo whose original has the size and time that its line names, and whose marked file is
    there, is not marked again, so the pass can be run twice.

    Attributes:
      folder: of the originals; only read.
      published: for the marked files.
      work: for the files of lines.
      mark: the committed mark, with its secret.
      slots: draws the slot of a unit, from slot sub-key, manifest, plan and beacon.
      encoding: how files are written.
    """

    folder: pathlib.Path
    published: pathlib.Path
    work: pathlib.Path
    mark: Mark = dataclasses.field(repr=False)
    slots: UnitSlots = dataclasses.field(repr=False)
    encoding: data.Encoding

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of everything public that decides the marked files, as hex."""
        body = {
            "manifest": self.slots.manifest,
            "num_slots": self.slots.num_slots,
            "plan": self.slots.plan.digest,
            "value": self.slots.value.hex(),
            "root": self.slots.root,
            "encoding": dataclasses.asdict(self.encoding),
            "decoder": decoder(),
        }
        return hashlib.sha256(_json.canonical(body)).hexdigest()

    def header(self, shard: Shard) -> dict[str, Any]:
        """Return the header of a shard's lines."""
        return {"format": _FORMAT, "shard": shard.number, "job": self.digest}

    def __call__(
        self, shard: Shard[CommittedPhoto], on_photo: Callable[[], None] = nothing
    ) -> pathlib.Path:
        """Mark the photos of a shard; return the file of its lines.

        Args:
          shard: the photos.
          on_photo: called after each photo.
        """
        path, header = lines_path(self.work, shard), self.header(shard)
        before = lines_before(path, header, [photo.name for photo in shard.photos])
        lines = []
        for photo, known in zip(shard.photos, before, strict=True):
            lines.append(known if self._is_done(photo, known) else self._mark(photo))
            on_photo()
        if lines != before:
            write_lines(path, header, lines)
        return path

    def _is_done(self, photo: CommittedPhoto, known: dict[str, Any] | None) -> bool:
        """Return whether a line is still true."""
        if known is None or "stamp" not in known or not photo.file:
            return False
        try:
            stamps = [stamp(self.folder / photo.file), stamp(self.published / photo.target)]
        except OSError:
            return False
        return known["stamp"] == stamps[0] and known["published_stamp"] == stamps[1]

    def _mark(self, photo: CommittedPhoto) -> dict[str, Any]:
        """Mark one photo; return its line."""
        file, target = self.folder / photo.file, self.published / photo.target
        try:
            now, original = _read(photo, file)
            degrees = SignatureSpace(self.slots.num_slots).degrees
            angle = float(degrees[self.slots.slot_of(photo.unit)])
            marked = publish_image(self.mark, original.pixels, angle)
            encoded = data.encode(original, marked, self.encoding, str(file))
        except SourceError as error:
            return {"file": photo.name, "no_mark": reason_of(error, file)}
        _files.write_whole(target, encoded.content)
        # Times are those of the original.
        os.utime(target, ns=(file.stat().st_atime_ns, now[1]))
        digest = hashlib.sha256(encoded.content).hexdigest()
        return {
            **_entry(photo, encoded, original, digest),
            "unchanged": bool(np.array_equal(marked, original.pixels)),
            "leaf": _leaf(photo, digest).hex(),
            "stamp": now,
            "published_stamp": stamp(target),
        }


@dataclasses.dataclass(frozen=True)
class SurveyPass:
    """Decode and encode each photo of a shard without a mark, and write nothing.

    Attributes:
      folder: of the originals; only read.
      least_side: of the mark, in pixels.
      encoding: how files would be written.
    """

    folder: pathlib.Path
    least_side: int
    encoding: data.Encoding

    def __call__(
        self, shard: Shard[CommittedPhoto], on_photo: Callable[[], None] = nothing
    ) -> list[dict[str, Any]]:
        """Return the line of each photo."""
        lines = []
        for photo in shard.photos:
            lines.append(self._line(photo))
            on_photo()
        return lines

    def _line(self, photo: CommittedPhoto) -> dict[str, Any]:
        file = self.folder / photo.file
        try:
            _, original = _read(photo, file)
            check_size(original.pixels.shape, self.least_side, file)
            encoded = data.encode(original, original.pixels, self.encoding, str(file))
        except SourceError as error:
            return {"file": photo.name, "no_mark": reason_of(error, file)}
        return _entry(photo, encoded, original, "") | {"unchanged": False}


def _read(photo: CommittedPhoto, file: pathlib.Path) -> tuple[list[int], data.Original]:
    """Read an original, and refuse another than the one committed to.

    A file with the very bytes committed to may be decoded to other pixels here.

    Raises:
      SourceError: it is another, or is not there.
    """
    if not photo.file:
        raise SourceError(photo.why)
    try:
        now = stamp(file)
    except OSError as error:
        raise SourceError(f"{file} cannot be read: {error.strerror}") from None
    original = data.read_original(file)
    if photo.sha256 and image_digest(original.pixels) != photo.sha256:
        if hashlib.sha256(read_bytes(file)).hexdigest() != photo.file_sha256:
            raise SourceError(f"{file} {_CHANGED}")
    return now, original


def _entry(
    photo: CommittedPhoto, encoded: data.Encoded, original: data.Original, digest: str
) -> dict[str, Any]:
    values = (photo.name, photo.target, digest, encoded.text, encoded.removed)
    return dict(zip(_FIELDS, (*values, list(original.notes)), strict=True))


def _leaf(photo: CommittedPhoto, digest: str) -> bytes:
    """Return the leaf of a marked file: its photo's index, its name, and its SHA-256."""
    parts = [photo.index.to_bytes(8, "big"), photo.target.encode(), bytes.fromhex(digest)]
    return hashlib.sha256(_TAG_LEAF + length_prefixed(parts)).digest()


@dataclasses.dataclass(frozen=True)
class MarkedPhotos:
    """The photos of all shards, in order.

    Attributes:
      marked: those that carry the mark.
      unchanged: those that were written and that the mark does not change.
      lost: (name, reason) of those that could not be written.
      root: hash tree over the leaves of all marked files, hex; "" if there are none.
    """

    marked: tuple[MarkedFile, ...]
    unchanged: tuple[MarkedFile, ...]
    lost: tuple[tuple[str, str], ...]
    root: str = ""


def join_marked(shards: Sequence[Shard[CommittedPhoto]], job: MarkPass) -> MarkedPhotos:
    """Join the shards of the second pass.

    The result does not depend on how the photos were cut into shards.

    Args:
      shards: all of them.
      job: the pass that was run on them.

    Raises:
      ValueError: shards that are not all there, each once and in order.
      CaseError: a file of lines that is missing, damaged, of another shard, or made with
        another manifest, plan, beacon value or encoding.
    """
    check_numbers(shards)
    lines: list[dict[str, Any]] = []
    leaves = []
    for shard in shards:
        path = lines_path(job.work, shard)
        of_shard = read_lines(path, job.header(shard), [photo.name for photo in shard.photos])
        for photo, line in zip(shard.photos, of_shard, strict=True):
            if "no_mark" not in line:
                leaves.append(_checked_leaf(photo, line, path))
        lines += of_shard
    root = tree_levels(leaves)[-1][0].hex() if leaves else ""
    return dataclasses.replace(sort_lines(lines), root=root)


def _checked_leaf(photo: CommittedPhoto, line: dict[str, Any], path: pathlib.Path) -> bytes:
    try:
        leaf = _leaf(photo, line["published_sha256"])
        is_good = leaf.hex() == line["leaf"] and line["published"] == photo.target
    except (KeyError, TypeError, ValueError):
        is_good = False
    if not is_good:
        raise CaseError(
            f"{path} is damaged (the leaf of {photo.name!r} does not fit its line): remove it"
        )
    return leaf


def sort_lines(lines: Sequence[dict[str, Any]]) -> MarkedPhotos:
    """Sort the lines of photos into three lists; there is no root yet."""
    lists: tuple[list[MarkedFile], list[MarkedFile]] = ([], [])
    lost = []
    for line in lines:
        if "no_mark" in line:
            lost.append((line["file"], line["no_mark"]))
        else:
            values = {name: line[name] for name in _FIELDS}
            entry = MarkedFile(**values | {"notes": tuple(values["notes"])})
            lists[line["unchanged"]].append(entry)
    return MarkedPhotos(tuple(lists[0]), tuple(lists[1]), tuple(lost))
