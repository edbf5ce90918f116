"""The first pass, from photo files to their digests, and its join."""

import dataclasses
import functools
import hashlib
import importlib.metadata
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from anw_jax import data
from anw_jax.data.photos import read_bytes
from anw_jax.errors import CaseError, SourceError
from anw_jax.keys import image_digest
from anw_jax.keys.digests import is_digest
from anw_jax.shards.shard import (
    Shard,
    check_numbers,
    lines_before,
    lines_path,
    read_lines,
    stamp,
    write_lines,
)

_FORMAT = "anw_jax shard of digests, version 1"


def nothing() -> None:
    """Ignore that one more photo is done."""


@dataclasses.dataclass(frozen=True)
class DigestPass:
    """The first pass: a shard of photo files → one file of digests.

    The line of a photo is a function of its file and the decoder alone. A photo whose file has
    the size and time that its line names is not read again, so the pass can be run twice.

    Attributes:
      folder: of the originals; only read.
      work: for the files of digests.
    """

    folder: pathlib.Path
    work: pathlib.Path

    def __call__(
        self, shard: Shard[str], on_photo: Callable[[], None] = nothing
    ) -> pathlib.Path:
        """Digest the photos of a shard; return the file of its lines.

        Args:
          shard: names relative to `folder`.
          on_photo: called after each photo.
        """
        path, header = lines_path(self.work, shard), _header(shard)
        before = lines_before(path, header, shard.photos)
        lines = []
        for name, known in zip(shard.photos, before, strict=True):
            lines.append(self._line(name, known))
            on_photo()
        if lines != before:
            write_lines(path, header, lines)
        return path

    def _line(self, name: str, known: dict[str, Any] | None) -> dict[str, Any]:
        file = self.folder / name
        try:
            now = stamp(file)
            if known is not None and known.get("stamp") == now:
                return known
            original = data.read_original(file)
            content = read_bytes(file)
        except OSError as error:
            return {"file": name, "passed_over": f"cannot be read: {error.strerror}"}
        except SourceError as error:
            return {"file": name, "passed_over": reason_of(error, file)}
        line = {
            "file": name,
            "sha256": image_digest(original.pixels),
            "file_sha256": hashlib.sha256(content).hexdigest(),
            "size": list(original.pixels.shape[:2]),
            "notes": list(original.notes),
            "stamp": now,
        }
        return line | ({"is_grey": True} if _is_grey(original.pixels) else {})


@dataclasses.dataclass(frozen=True)
class Digests:
    """The photos of all shards, in order.

    Attributes:
      names: of those that can be marked.
      image_digests, file_digests: theirs.
      grey: names of those whose three channels are equal.
      notes: what their owner should know, of all together.
      passed_over: (name, reason) of the others.
    """

    names: list[str]
    image_digests: list[str]
    file_digests: list[str]
    grey: list[str]
    notes: list[str]
    passed_over: list[tuple[str, str]]


def join_digests(
    shards: Sequence[Shard[str]], folder: pathlib.Path, work: pathlib.Path, least_side: int
) -> Digests:
    """Join the shards of the first pass; `Manifest.of` finds duplicates, albums and the root.

    The result does not depend on how the photos were cut into shards.

    Args:
      shards: all of them.
      folder: of the originals, for messages.
      work: with a file of digests for each shard.
      least_side: of the mark, in pixels; smaller photos are passed over.

    Raises:
      ValueError: shards that are not all there, or names that are not in ascending order.
      CaseError: a file that is missing, damaged, or of another shard or decoder.
    """
    check_numbers(shards)
    done, last = Digests([], [], [], [], [], []), None
    for shard in shards:
        path = lines_path(work, shard)
        for line in read_lines(path, _header(shard), shard.photos):
            name = line["file"]
            if last is not None and name <= last:
                raise ValueError(
                    "photos must be in ascending order of their names, each once, got "
                    f"{name!r} after {last!r}"
                )
            last = name
            _add(done, line, folder / name, least_side, path)
    return done


def _add(
    done: Digests, line: dict[str, Any], file: pathlib.Path, least_side: int, path: pathlib.Path
) -> None:
    if "passed_over" in line:
        done.passed_over.append((line["file"], str(line["passed_over"])))
        return
    try:
        height, width = line["size"]
        digests, notes = (line["sha256"], line["file_sha256"]), line["notes"]
        is_good = all(map(is_digest, digests)) and min(height, width) > 0
    except (KeyError, TypeError, ValueError):
        is_good = False
    if not is_good:
        raise CaseError(f"{path} is damaged (the line of {line['file']!r}): remove it")
    try:
        check_size((height, width), least_side, file)
    except SourceError as error:
        done.passed_over.append((line["file"], reason_of(error, file)))
        return
    done.names.append(line["file"])
    done.image_digests.append(digests[0])
    done.file_digests.append(digests[1])
    done.notes.extend(notes)
    if line.get("is_grey"):
        done.grey.append(line["file"])


def _is_grey(pixels: np.ndarray) -> bool:
    red, green, blue = np.moveaxis(pixels, -1, 0)
    return np.array_equal(red, green) and np.array_equal(red, blue)


def reason_of(error: Exception, file: pathlib.Path) -> str:
    """Return what an error says of a file, without its name."""
    return str(error).removeprefix(f"{file} ")


def check_size(shape: Sequence[int], least_side: int, file: pathlib.Path) -> None:
    """Refuse a photo of shape (H, W, …) that is too small for a mark.

    Raises:
      SourceError: it is.
    """
    height, width = shape[:2]
    if min(height, width) < least_side:
        raise SourceError(
            f"{file} has {width} x {height} pixels, and the mark needs {least_side} along "
            "each side: leave the photo out, or use another mark"
        )


def _header(shard: Shard) -> dict[str, Any]:
    return {"format": _FORMAT, "shard": shard.number, "decoder": decoder()}


@functools.cache
def decoder() -> str:
    """Name the libraries that decode photos, with their versions."""
    names = []
    for package in ("pillow", "pillow-heif"):
        try:
            names.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            pass
    return ", ".join(names)
