"""Read a PNG file that a service gets or gives: the one file here that imports Pillow."""

import io
import struct
import types

import numpy as np

from anw_jax.suspects.adapters.base import missing

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\0\0\0\0IEND\xaeB`\x82"
_HEADER = struct.Struct(">I4sIIBB")
_RGB = 2
_COLOURS = {0: "grey", _RGB: "RGB", 3: "a palette", 4: "grey with alpha", 6: "RGB with alpha"}


def read_png(body: bytes, size: tuple[int, int]) -> np.ndarray:
    """Return the levels of an 8-bit RGB PNG, uint8 `[H, W, 3]`; nothing else in it is used.

    Source: W3C, Portable Network Graphics, https://www.w3.org/TR/png-3/ (section 11).

    Args:
      body: the file.
      size: (H, W) that it must have; a larger picture is not unpacked.

    Raises:
      ValueError: no whole PNG file, or one of another size, depth or number of channels; the
        message continues after "answers with".
      MissingLibraryError: Pillow is not installed.
    """
    height, width, depth, colour = _header(body)
    if (height, width) != tuple(size):
        raise ValueError(
            f"a PNG of {height}x{width} pixels to a picture of {size[0]}x{size[1]}: it is a "
            "model of another image size"
        )
    if (depth, colour) != (8, _RGB):
        found = _COLOURS.get(colour, f"colour type {colour}")
        raise ValueError(
            f"a PNG of {depth} bits and {found}: it must have 8 bits and three channels, RGB"
        )
    try:
        if not body.endswith(_END):
            raise ValueError("cut off")
        with _pillow().open(io.BytesIO(body), formats=["PNG"]) as image:
            # Pillow goes by the last header of several, and unpacks the image only later.
            if (image.size, image.mode) != ((width, height), "RGB"):
                raise ValueError("several headers")
            return np.array(image)
    except ImportError:
        raise
    except Exception as error:  # Pillow's readers share no base class
        raise ValueError(f"a PNG that is cut off or damaged ({type(error).__name__})") from None


def png_size(body: bytes) -> tuple[int, int]:
    """Return (H, W) of a PNG file, as its header has it; nothing is unpacked.

    Raises:
      ValueError: no PNG file.
    """
    return _header(body)[:2]


def _header(body: bytes) -> tuple[int, int, int, int]:
    """Return height, width, depth and colour type."""
    start = len(_SIGNATURE)
    if not body.startswith(_SIGNATURE) or len(body) < start + _HEADER.size:
        raise ValueError("something that is not a PNG file")
    _, name, width, height, depth, colour = _HEADER.unpack_from(body, start)
    if name != b"IHDR":
        raise ValueError("something that is not a PNG file")
    return height, width, depth, colour


def _pillow() -> types.ModuleType:
    try:
        import PIL.Image
    except ImportError:
        raise missing("reading images of an HTTP endpoint", "http") from None
    return PIL.Image
