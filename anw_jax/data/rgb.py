"""How decoded image files become 8-bit RGB: one fixed rule for each kind.

| file | rule |
|---|---|
| 8-bit RGB | as stored, in the file's own colour space |
| grey, black and white | each channel has the grey value |
| palette | the palette's colours |
| 16 bits per channel | the upper 8 bits |
| CMYK | sRGB by the file's profile, or else R = (255 - C) (255 - K) / 255, rounded |
| YCbCr (TIFF) | RGB of ITU-R BT.601 |
| alpha, or a transparent colour | RGB as stored; alpha beside it, unless all is opaque |

Commitments are made to these pixels, so a rule may never change.
"""

import dataclasses
import functools
import io
from typing import Any

import numpy as np

MODES = (
    *("RGB", "RGBA", "RGBX", "L", "LA", "1", "P", "PA", "CMYK", "YCbCr"),
    *("I;16", "I;16L", "I;16B", "I;16N"),
)

CMYK = "CMYK colours, which become sRGB"
DEEP = "16 bits per channel, which become 8"
TRANSPARENT = "transparency, which is kept; the colours below it are marked too"

_PERCEPTUAL = 0
_STRIP = 256  # rows
_REDUCED = 1  # NewSubfileType of a thumbnail


@dataclasses.dataclass(frozen=True)
class Decoded:
    """A decoded image.

    Attributes:
      pixels: uint8 `[H, W, 3]`.
      alpha: uint8 `[H, W]`, 255 for opaque; None if all is opaque.
      notes: what a rule changed, each the end of "photos with …".
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    notes: tuple[str, ...]


def decoded(image: Any, raw_mode: str, profile: bytes) -> Decoded:
    """Convert a loaded, upright image of Pillow.

    Args:
      image: in one of `MODES`.
      raw_mode: of the file, before Pillow reduced it to 8 bits.
      profile: its ICC profile; b"" for none.
    """
    is_deep = ";16" in raw_mode or image.mode.startswith("I;16")
    notes = [DEEP] if is_deep else []
    colour = image.info.get("transparency")
    if image.mode in ("P", "PA"):
        has_alpha = image.mode == "PA" or colour is not None
        image, colour = image.convert("RGBA" if has_alpha else "RGB"), None
    alpha = _alpha(image, colour, raw_mode, is_deep)
    if alpha is not None:
        notes.append(TRANSPARENT)
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        pixels = np.repeat(grey[..., None], 3, axis=2)
    elif image.mode == "CMYK":
        notes.append(CMYK)
        pixels = _from_cmyk(image, profile)
    else:
        image.info.pop("transparency", None)
        pixels = _pixels(image if image.mode == "RGB" else image.convert("RGB"))
    return Decoded(pixels, alpha, tuple(notes))


def _pixels(image: Any) -> np.ndarray:
    """Copy the pixels of an RGB image, in strips: Pillow would hold them twice more."""
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, _STRIP):
        box = (0, top, image.width, min(top + _STRIP, image.height))
        pixels[top : top + _STRIP] = np.asarray(image.crop(box))
    return pixels


def num_pages(image: Any) -> int:
    """Count the pages of a TIFF file; 0 for one, beside which there may be thumbnails."""
    number = image.n_frames
    if number == 1:
        return 0
    pages = 0
    for page in range(number):
        image.seek(page)
        pages += not image.tag_v2.get(254, 0) & _REDUCED
    image.seek(0)
    return pages if pages > 1 else 0


def _alpha(image: Any, colour: Any, raw_mode: str, is_deep: bool) -> np.ndarray | None:
    """Return alpha `[H, W]`; None if all is opaque.

    Args:
      image: not of a palette.
      colour: the one colour that a PNG file without alpha declares transparent, or None.
      raw_mode: of the file.
      is_deep: whether the file has 16 bits per channel, and `colour` too.
    """
    if image.mode in ("RGBA", "LA"):
        alpha = np.asarray(image.getchannel("A"))
    elif colour is None or isinstance(colour, bytes):
        return None
    else:
        alpha = np.where(_has_colour(image, colour, raw_mode, is_deep), 0, 255)
        alpha = alpha.astype(np.uint8)
    return None if (alpha == 255).all() else alpha


def _has_colour(image: Any, colour: Any, raw_mode: str, is_deep: bool) -> np.ndarray:
    """Return bool `[H, W]`, whether a pixel has a colour given in the file's own depth."""
    wanted = np.asarray(colour)
    if image.mode == "1":
        image, wanted = image.convert("L"), wanted if colour > 1 else wanted * 255
    pixels = np.asarray(image)
    if is_deep and pixels.dtype == np.uint8:
        wanted = wanted >> 8
    else:
        wanted = wanted * {"L;2": 85, "L;4": 17}.get(raw_mode, 1)
    return (pixels == wanted).reshape(*pixels.shape[:2], -1).all(-1)


def _from_cmyk(image: Any, profile: bytes) -> np.ndarray:
    """Convert CMYK to sRGB by its profile; by the formula above without one that fits."""
    if profile[16:20] == b"CMYK":
        from PIL import ImageCms

        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            return np.asarray(
                ImageCms.profileToProfile(
                    image, source, srgb_profile(), renderingIntent=_PERCEPTUAL, outputMode="RGB"
                )
            )
        except (ImageCms.PyCMSError, OSError):  # a damaged profile
            pass
    inks = 255 - np.asarray(image).astype(np.uint16)
    return ((inks[..., :3] * inks[..., 3:] + 127) // 255).astype(np.uint8)


@functools.cache
def srgb_profile() -> Any:
    """Return sRGB as a profile of Pillow's `ImageCms`."""
    from PIL import ImageCms

    return ImageCms.createProfile("sRGB")
