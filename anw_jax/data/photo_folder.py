"""Photos in a folder of any depth, one by one, at their own sizes; and back to PNG files."""

import io
import os
import pathlib

import numpy as np

from anw_jax import _check, errors
from anw_jax.data import _photo_files, _pixels


def list_photos(folder: str | os.PathLike) -> tuple[pathlib.Path, ...]:
    """The photo files below a folder, ordered by their paths; hidden ones are passed over.

    Raises:
      SourceError: no such folder, or no photo in it.
    """
    root = pathlib.Path(folder)
    if not root.is_dir():
        raise errors.SourceError(f"folder {str(root)!r} is not there: give an existing folder")
    files = [
        file
        for file in root.rglob("*")
        if file.suffix.lower() in _photo_files.ENDINGS
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(root).parts)
    ]
    if not files:
        endings = ", ".join(_photo_files.ENDINGS)
        raise errors.SourceError(f"{root} holds no photos ({endings})")
    return tuple(sorted(files, key=lambda file: file.relative_to(root).as_posix()))


def read_photo(path: str | os.PathLike) -> np.ndarray:
    """One photo as uint8 `[H, W, 3]`, upright, as every source of this room decodes it.

    Raises:
      SourceError: it cannot be read or decoded, or has transparent pixels.
    """
    path = pathlib.Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise errors.SourceError(f"{path} cannot be read: {error.strerror}") from None
    return _pixels.decode(content, str(path))


def png_of(image: np.ndarray) -> bytes:
    r"""One uint8 `[H, W, 3]` picture as a PNG file: without loss, without metadata.

    Example:
      >>> png_of(np.zeros((2, 2, 3), np.uint8))[:4]
      b'\x89PNG'
    """
    pixels = _check.uint8_image(image=image)
    buffer = io.BytesIO()
    _pixels.pillow().Image.fromarray(pixels).save(buffer, "PNG", optimize=False)
    return buffer.getvalue()
