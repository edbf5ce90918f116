"""An owner's photo files: list a folder, read a photo, encode it as PNG."""

import collections
import dataclasses
import io
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from anw_jax import _check, _files, errors
from anw_jax.data import image_files
from anw_jax.data.photo_colour import PhotoColour

_PLAIN = PhotoColour()
# Of one file: more than the pixels that are read can fill, and no sparse file without end.
_MOST_BYTES = 2**31


@dataclasses.dataclass(frozen=True)
class FolderListing:
    """All files below a folder, each in one of four lists.

    Attributes:
      photos: JPEG, PNG, WebP, TIFF, AVIF and HEIC files, in the order of their paths.
      passed_over: images that cannot be marked, and why: other formats, formats whose reader
        is not installed, animations, several pages, broken links, links to folders (which may
        hold images), pipes and devices named like photos.
      others: number of files that are not images, by their endings in lower case.
      num_hidden: number of hidden and system files (`_files.is_hidden`), and of files in such
        folders.
    """

    photos: tuple[pathlib.Path, ...]
    passed_over: tuple[tuple[pathlib.Path, str], ...]
    others: dict[str, int]
    num_hidden: int


def list_folder(folder: str | os.PathLike) -> FolderListing:
    """List every file below a folder, each in one of the four lists of `FolderListing`.

    Links to files are followed, links to folders are not.

    Raises:
      SourceError: no folder, or one below it that cannot be read, whose files would be
        left out unnoticed.
    """
    root = pathlib.Path(folder)
    if not root.is_dir():
        raise errors.SourceError(_files.no_folder(root))
    photos, passed_over, others = [], [], collections.Counter()
    num_hidden = 0
    for entry in _entries(root):
        path = pathlib.Path(entry.path)
        if entry.name.startswith(".") and entry.name.endswith(".icloud"):
            passed_over.append((path, "not downloaded from iCloud"))
        elif _files.is_hidden(entry.name):
            num_hidden += _count(entry)
        elif reason := _reason(entry, path):
            passed_over.append((path, reason))
        elif path.suffix.lower() in image_files.PHOTO_ENDINGS:
            photos.append(path)
        else:
            others[path.suffix.lower()] += 1

    def place(path: pathlib.Path) -> str:
        return path.relative_to(root).as_posix()

    return FolderListing(
        tuple(sorted(photos, key=place)),
        tuple(sorted(passed_over, key=lambda pair: place(pair[0]))),
        dict(sorted(others.items())),
        num_hidden,
    )


def list_photos(
    folder: str | os.PathLike, listing: FolderListing | None = None
) -> tuple[pathlib.Path, ...]:
    """List the photo files below a folder by path; `list_folder` also lists the others.

    Args:
      folder: with subfolders of any depth.
      listing: that of the folder, if it is known already.

    Raises:
      SourceError: no such folder, one below it that cannot be read, or no photo in it.
    """
    files = (list_folder(folder) if listing is None else listing).photos
    if not files:
        endings = ", ".join(image_files.PHOTO_ENDINGS)
        raise errors.SourceError(f"{folder} holds no photos ({endings})")
    return files


def read_photo(path: str | os.PathLike, *, only_plain: bool = False) -> np.ndarray:
    """Read a photo as uint8 `[H, W, 3]`, upright, by the rules of `rgb`.

    Args:
      path: the file.
      only_plain: refuse what 8-bit RGB cannot hold, as training sets do.

    Raises:
      SourceError: it cannot be read or decoded, is an animation, or is refused.
    """
    return image_files.decode(read_bytes(path), str(path), only_plain=only_plain)


def read_bytes(path: str | os.PathLike) -> bytes:
    """Read a photo file.

    Raises:
      SourceError: it cannot be read.
    """
    path = pathlib.Path(path)
    try:
        _files.check_regular(path)
        return _files.read_regular(path, _MOST_BYTES)
    except errors.FileKindError as error:
        raise errors.SourceError(str(error)) from None
    except OSError as error:
        raise errors.SourceError(f"{path} cannot be read: {error.strerror}") from None


def png_of(image: np.ndarray, colour: PhotoColour = _PLAIN) -> bytes:
    r"""Encode a uint8 `[H, W, 3]` image as PNG, without metadata.

    Args:
      image: the image.
      colour: colour information of its original file (`colour_of`), which is written too.

    Example:
      >>> png_of(np.zeros((2, 2, 3), np.uint8))[:4]
      b'\x89PNG'
    """
    pixels = _check.uint8_image(image=image)
    return png_bytes(image_files.pillow().Image.fromarray(pixels), colour)


def png_bytes(image: Any, colour: PhotoColour) -> bytes:
    """Encode an image of Pillow, RGB or RGBA, as `png_of` does."""
    chunks = image_files.pillow().PngImagePlugin.PngInfo()
    for name, content in colour.chunks:
        chunks.add(name, content)
    buffer = io.BytesIO()
    image.save(
        buffer, "PNG", optimize=False, pnginfo=chunks, icc_profile=colour.profile or None
    )
    return buffer.getvalue()


def _entries(folder: pathlib.Path) -> Iterator[os.DirEntry]:
    """Yield files, links and hidden folders below a folder; other folders are entered."""
    try:
        with os.scandir(folder) as found:
            entries = list(found)
    except OSError as error:
        raise errors.SourceError(
            f"folder {folder} cannot be read ({error.strerror}), and what is in it would be "
            "left out: make it readable, or move it away"
        ) from None
    for entry in entries:
        # A folder named like a photo may be some program's bundle: it is not entered.
        is_folder = entry.is_dir(follow_symlinks=False)
        named_as_photo = pathlib.Path(entry.name).suffix.lower() in image_files.PHOTO_ENDINGS
        if is_folder and not named_as_photo and not _files.is_hidden(entry.name):
            yield from _entries(pathlib.Path(entry.path))
        else:
            yield entry


def _count(entry: os.DirEntry) -> int:
    """Count the files of a hidden file or folder."""
    if not entry.is_dir(follow_symlinks=False):
        return 1
    return sum(len(files) for _, _, files in os.walk(entry.path))


def _reason(entry: os.DirEntry, path: pathlib.Path) -> str:
    """Return why an image cannot be marked; "" for photos and for files that are no images."""
    ending = path.suffix.lower()
    try:
        mode = entry.stat().st_mode
    except OSError as error:
        could_be = not ending or ending in image_files.PHOTO_ENDINGS
        could_be = could_be or image_files.kind_of_ending(ending)
        return f"a broken link ({error.strerror})" if could_be else ""
    irregular = _files.irregular(mode)
    if irregular == "a folder":
        return "a link to a folder" if entry.is_symlink() else "a folder named like a photo"
    if ending in image_files.PHOTO_ENDINGS:
        return irregular or image_files.missing_reader(ending) or image_files.why_not_rgb(path)
    if kind := image_files.kind_of_ending(ending):
        return kind
    if not irregular and image_files.is_image(_head(path)):
        return "a picture whose ending is not that of one"
    return ""


def _head(path: pathlib.Path) -> bytes:
    """Return a file's first bytes; none if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(image_files.HEAD)
    except OSError:
        return b""
