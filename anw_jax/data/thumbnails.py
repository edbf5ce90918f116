"""Small pictures of photos, and a sheet of pairs of them."""

import dataclasses
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from anw_jax import _check
from anw_jax.data import image_files
from anw_jax.data.photo_colour import PhotoColour, to_srgb

_PLAIN = PhotoColour()
_QUALITY = 90

# Of a sheet, in pixels.
_CELL, _GAP, _TEXT, _PAIRS_IN_A_ROW = 240, 16, 24, 3
_PAPER, _INK = "#f6f7f8", "#1c2024"


def thumbnail(image: np.ndarray, largest_side: int, colour: PhotoColour = _PLAIN) -> np.ndarray:
    """Make a uint8 `[H, W, 3]` image small, in sRGB; a smaller one keeps its size.

    Args:
      image: the pixels of a file.
      largest_side: in pixels, at least 1.
      colour: of the file.

    Example:
      >>> thumbnail(np.zeros((300, 400, 3), np.uint8), 40).shape
      (30, 40, 3)
    """
    _check.integer_at_least(1, largest_side=largest_side)
    small = image_files.pillow().Image.fromarray(_check.uint8_image(image=image))
    small.thumbnail((largest_side, largest_side))
    return to_srgb(np.asarray(small), colour)


def jpeg_of(image: np.ndarray) -> bytes:
    r"""Encode a small uint8 `[H, W, 3]` image as JPEG, without chroma subsampling.

    Example:
      >>> jpeg_of(np.zeros((2, 2, 3), np.uint8))[:2]
      b'\xff\xd8'
    """
    buffer = io.BytesIO()
    pixels = image_files.pillow().Image.fromarray(_check.uint8_image(image=image))
    pixels.save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    return buffer.getvalue()


@dataclasses.dataclass(frozen=True)
class Pair:
    """One photo on a sheet.

    Attributes:
      name: below it; characters that the font lacks are drawn as boxes.
      before: a JPEG file.
      after: a JPEG file of the same size.
    """

    name: str
    before: bytes
    after: bytes


def contact_sheet(title: str, pairs: Sequence[Pair]) -> bytes:
    """Draw pairs of small pictures, before on the left and after on the right, as PNG.

    Example:
      >>> small = jpeg_of(np.zeros((2, 2, 3), np.uint8))
      >>> contact_sheet("light", [Pair("a.jpg", small, small)])[1:4]
      b'PNG'
    """
    pil = image_files.pillow()
    import PIL.ImageDraw
    import PIL.ImageFont

    columns = min(_PAIRS_IN_A_ROW, max(1, len(pairs)))
    rows = -(-len(pairs) // columns)
    width = _GAP + columns * (2 * _CELL + 2 + 2 * _GAP)
    height = _TEXT + 3 * _GAP + rows * (_CELL + _TEXT + _GAP)
    sheet = pil.Image.new("RGB", (width, height), _PAPER)
    draw = PIL.ImageDraw.Draw(sheet)
    font = PIL.ImageFont.load_default(14)
    draw.text((_GAP, _GAP), _fitted(draw, font, title, width - 2 * _GAP), _INK, font)
    for number, pair in enumerate(pairs):
        left = _GAP + number % columns * (2 * _CELL + 2 + 2 * _GAP)
        top = _TEXT + 2 * _GAP + number // columns * (_CELL + _TEXT + _GAP)
        at = left
        for content in (pair.before, pair.after):
            with pil.Image.open(io.BytesIO(content)) as image:
                image.thumbnail((_CELL, _CELL))
                # Bottoms in line, so that names stand close to their pictures.
                sheet.paste(image, (at, top + _CELL - image.height))
                at += image.width + 2
        name = _fitted(draw, font, pair.name, 2 * _CELL)
        draw.text((left, top + _CELL + 4), name, _INK, font)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _fitted(draw: Any, font: Any, text: str, width: int) -> str:
    """Shorten a line to a width in pixels."""
    text = " ".join(text.split())
    if draw.textlength(text, font) <= width:
        return text
    while text and draw.textlength(f"{text}…", font) > width:
        text = text[:-1]
    return f"{text}…"
