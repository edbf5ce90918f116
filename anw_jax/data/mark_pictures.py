"""Pictures to hide in images, from one bit to colour: a baseline's watermarks."""

import numpy as np

from anw_jax import _check
from anw_jax.data import image_files
from anw_jax.data.readers import scikit_image

# Of images inside the scikit-image wheel, by what they stand for.
_FILES = {"logo": "horse.png", "grey": "camera.png", "colour": "astronaut.png"}
MARK_PICTURES = ("bits", *_FILES)

_BITS_SIDE = 8
_BITS_SEED = 2021


def mark_picture(name: str, side: int) -> np.ndarray:
    """Return a square picture: float32 `[side, side, 3]` in [0, 1].

    Args:
      name: "bits", a grid of 8 x 8 random black and white squares (a QR code has 21 x 21, too
        fine for small images); "logo", the black silhouette of a horse; "grey", a grey photo;
        or "colour", a colour photo.
      side: in pixels; for "bits" a multiple of 8.

    Raises:
      ValueError: an unknown name, a side below 8, or no multiple of 8 for "bits".
      SourceError: scikit-image is not installed.

    Example:
      >>> mark_picture("bits", 8)[0, :, 0].tolist()
      [1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0]
    """
    _check.one_of(MARK_PICTURES, name=name)
    side = _check.integer_at_least(_BITS_SIDE, side=side)
    if name != "bits":
        levels = image_files.fit(scikit_image.read(_FILES[name]), side)
        return levels.astype(np.float32) / np.float32(255.0)
    if side % _BITS_SIDE:
        raise ValueError(f"side must be a multiple of {_BITS_SIDE} for bits, got {side}")
    bits = np.random.default_rng(_BITS_SEED).integers(0, 2, (_BITS_SIDE, _BITS_SIDE, 1))
    squares = bits.repeat(side // _BITS_SIDE, 0).repeat(side // _BITS_SIDE, 1)
    return squares.repeat(3, 2).astype(np.float32)
