"""What sites do to photos that are uploaded: encoders, sizes, colour spaces.

Each function maps uint8 `[H, W, 3]` of sRGB to the uint8 pixels that a training program reads
from what the site made of them.
"""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import PIL.Image

# From linear sRGB to linear Display P3 (both D65), https://www.w3.org/TR/css-color-4/#color-conversion-code
_SRGB_TO_P3 = np.array(
    [
        [0.8224619687, 0.1775380313, 0.0],
        [0.0331941989, 0.9668058011, 0.0],
        [0.0170826307, 0.0723974407, 0.9105199286],
    ]
)


def none(image: np.ndarray) -> np.ndarray:
    """Return the image as it is."""
    return image


def jpeg75(image: np.ndarray) -> np.ndarray:
    """Encode as JPEG of quality 75 with halved chroma, as many sites do."""
    return _encoded(image, "JPEG", quality=75, subsampling="4:2:0")


def jpeg50(image: np.ndarray) -> np.ndarray:
    """Encode as JPEG of quality 50 with halved chroma."""
    return _encoded(image, "JPEG", quality=50, subsampling="4:2:0")


def half_size(image: np.ndarray) -> np.ndarray:
    """Halve both sides, with Pillow's Lanczos filter."""
    picture = PIL.Image.fromarray(image)
    half = (max(1, picture.width // 2), max(1, picture.height // 2))
    return np.asarray(picture.resize(half, PIL.Image.Resampling.LANCZOS))


def webp(image: np.ndarray) -> np.ndarray:
    """Convert a lossless file to WebP of quality 80, Pillow's default."""
    return _encoded(image, "WEBP", quality=80)


def display_p3(image: np.ndarray) -> np.ndarray:
    """Convert to Display P3, and read the numbers without the profile, as most programs do.

    With the profile applied, only rounding would be left of the change.

    Example:
      >>> display_p3(np.array([[[255, 0, 0], [128, 128, 128]]], np.uint8)).tolist()
      [[[234, 51, 35], [128, 128, 128]]]
    """
    values = np.arange(256) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    light = np.clip(linear[image] @ _SRGB_TO_P3.T, 0, 1)
    coded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * coded).astype(np.uint8)


def _encoded(image: np.ndarray, kind: str, **how: Any) -> np.ndarray:
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, kind, **how)
    with PIL.Image.open(buffer) as decoded:
        return np.asarray(decoded.convert("RGB"))


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    change.__name__: change for change in (none, jpeg75, jpeg50, half_size, webp, display_p3)
}
