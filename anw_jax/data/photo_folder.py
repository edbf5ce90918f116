"""Photos in a folder of any depth, one by one, at their own sizes; and back to PNG files."""

import io
import os
import pathlib

import numpy as np

from anw_jax import _check, _files, errors
from anw_jax.data import _photo_files, _pixels
from anw_jax.data.folder_listing import FolderListing, list_folder
from anw_jax.data.photo_colour import PhotoColour

_PLAIN = PhotoColour()


def list_photos(
    folder: str | os.PathLike, listing: FolderListing | None = None
) -> tuple[pathlib.Path, ...]:
    """The photo files below a folder, ordered by their paths; `list_folder` has the others.

    Args:
      folder: of any depth.
      listing: that folder's, where it is known already.

    Raises:
      SourceError: no such folder, one below it that cannot be read, or no photo in it.
    """
    files = (list_folder(folder) if listing is None else listing).photos
    if not files:
        endings = ", ".join(_photo_files.ENDINGS)
        raise errors.SourceError(f"{folder} holds no photos ({endings})")
    return files


def read_photo(path: str | os.PathLike) -> np.ndarray:
    """One photo as uint8 `[H, W, 3]`, upright, as every source of this room decodes it.

    Raises:
      SourceError: it cannot be read or decoded, or 8-bit RGB would not hold all of it:
        transparent pixels, 16 bits, an animation.
    """
    path = pathlib.Path(path)
    try:
        _files.check_regular(path)
        content = path.read_bytes()
    except errors.FileKindError as error:
        raise errors.SourceError(str(error)) from None
    except OSError as error:
        raise errors.SourceError(f"{path} cannot be read: {error.strerror}") from None
    return _pixels.decode(content, str(path))


def png_of(image: np.ndarray, colour: PhotoColour = _PLAIN) -> bytes:
    r"""One uint8 `[H, W, 3]` picture as a PNG file: without loss, without metadata.

    Args:
      image: the picture.
      colour: what the file that it comes from says about its colours (`colour_of`), which is
        written along.

    Example:
      >>> png_of(np.zeros((2, 2, 3), np.uint8))[:4]
      b'\x89PNG'
    """
    pixels = _check.uint8_image(image=image)
    pil = _pixels.pillow()
    chunks = pil.PngImagePlugin.PngInfo()
    for name, content in colour.chunks:
        chunks.add(name, content)
    buffer = io.BytesIO()
    pil.Image.fromarray(pixels).save(
        buffer, "PNG", optimize=False, pnginfo=chunks, icc_profile=colour.profile or None
    )
    return buffer.getvalue()
