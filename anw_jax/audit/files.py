"""Read and write the files of a case; compare digests and file names."""

import contextlib
import hashlib
import pathlib
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from anw_jax import _files, _json
from anw_jax.errors import CaseError, ChangedFileError, FileKindError

# Bytes that are hashed at most: it takes time, though no memory.
MOST_HASHED = 2**37


def digest_of(path: pathlib.Path) -> str:
    """Compute the SHA-256 of a file, as hex.

    Raises:
      CaseError: the file cannot be read, or is not a regular file.
    """
    with _readable(path), _files.open_regular(path, MOST_HASHED) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_bytes(path: pathlib.Path, most_bytes: int = _files.MOST_BYTES) -> bytes:
    """Read a regular file.

    Raises:
      CaseError: it is missing, too large, or a folder, a pipe or a device.
    """
    with _readable(path):
        return _files.read_regular(path, most_bytes)


@contextlib.contextmanager
def _readable(path: pathlib.Path) -> Iterator[None]:
    try:
        _files.check_regular(path)
        yield
    except FileKindError as error:
        raise CaseError(str(error)) from None
    except FileNotFoundError:
        hint = ""
        if path.parent.parent.name == "owners":
            hint = f": put what {path.parent.name} hands over into {path.parent}"
        raise CaseError(f"{path} is not there{hint}") from None
    except OSError as error:
        raise CaseError(f"{path} cannot be read: {error.strerror}") from None


def read_json(path: pathlib.Path, kind: str, *others: str) -> dict[str, Any]:
    """Read a JSON file of this package whose field "format" is `kind`, or one of the others.

    Raises:
      CaseError: missing, damaged, or another kind of file.
    """
    try:
        body = _json.loads(read_bytes(path))
        if body["format"] not in (kind, *others):
            raise KeyError("format")
    except CaseError:
        raise
    except (ValueError, TypeError, KeyError, RecursionError):
        raise CaseError(f"{path} is damaged or no {kind!r}") from None
    return body


def read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Read an `.npz` file; nothing in it can run code.

    Raises:
      CaseError: missing or damaged.
    """
    body = read_bytes(path)
    try:
        return _files.read_npz(body)
    except Exception as error:  # of numpy, zipfile and zlib, which share no base
        raise CaseError(f"{path} is no .npz file ({type(error).__name__})") from None


def check_same(path: pathlib.Path, digest: str, named_by: str) -> None:
    """Check that a file is the one that another file names.

    Raises:
      CaseError: it is missing.
      ChangedFileError: it was changed.
    """
    if digest_of(path) != digest:
        raise ChangedFileError(
            f"{path} was changed after {named_by} named it (its SHA-256 differs): restore the "
            "file, or start again in another case folder"
        )


@contextlib.contextmanager
def only_one(folder: pathlib.Path) -> Iterator[None]:
    """Lock a folder while this process writes in it (where the system can)."""
    message = f"another process is at work in {folder}: wait for it"
    with _files.only_one(folder, lambda: CaseError(message)):
        yield


def canonical_name(name: str) -> str:
    r"""Return the form in which names are compared: Unicode NFC, without outer spaces.

    Example:
      >>> canonical_name(" cafe\u0301.png") == "café.png"
      True
    """
    return unicodedata.normalize("NFC", name).strip()


def _folded(name: str) -> str:
    """Return a form that is equal for names that some file system does not tell apart."""
    decomposed = unicodedata.normalize("NFD", name).casefold()
    return unicodedata.normalize("NFC", decomposed)


def target_names(names: Sequence[str], ending: str = "") -> list[str]:
    """Name the published file of each photo.

    Args:
      names: of the photos.
      ending: ".png", ".jpg" or ".webp"; "" keeps each name.

    Raises:
      CaseError: two photos would get one name, on some file system.

    Example:
      >>> target_names(["a/photo.JPG", "b.png"], ".png")
      ['a/photo.png', 'b.png']
    """
    targets = [_with_ending(name, ending) for name in names]
    first: dict[str, str] = {}
    for name, target in zip(names, targets, strict=True):
        other = first.setdefault(_folded(target), name)
        if other == name:
            continue
        if canonical_name(other) == canonical_name(name):
            raise CaseError(
                f"{other} and {name} are the same name in another Unicode form, and one file "
                "on a Mac: rename one"
            )
        raise CaseError(f"{other} and {name} would both become {target}: rename one")
    return targets


def _with_ending(name: str, ending: str) -> str:
    path = pathlib.PurePosixPath(name)
    is_jpeg = ending == ".jpg" and path.suffix.lower() == ".jpeg"
    if not ending or path.suffix.lower() == ending or is_jpeg:
        return name
    return str(path.with_suffix(ending))
