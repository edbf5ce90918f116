"""Photos are saved as JPEG once more before training."""

import dataclasses
import io
import types

import numpy as np

from anw_jax import _check
from anw_jax.attacks._optional import libraries

# 4:2:0, what cameras and websites use: chroma at half the resolution both ways.
_CHROMA_AT_HALF_RESOLUTION = 2
_BEST_QUALITY = 100


@dataclasses.dataclass(frozen=True)
class Jpeg:
    """Re-compresses each photo with Pillow, chroma at half the resolution (4:2:0).

    JPEG (ITU-T T.81, https://www.w3.org/Graphics/JPEG/itu-t81.pdf) stores luma and chroma
    apart and chroma coarsely, and a hue mark lives in the chroma. Blocks are 16x16 pixels of
    chroma; photos whose sides are no multiple of it are padded by the encoder and cut again.
    The bytes depend on the libjpeg that Pillow was built with, not on the seed.

    Attributes:
      quality: Pillow's scale, 1 (worst) to 100.

    Raises:
      ValueError: if `quality` is out of range.
      TypeError: if it is not an integer.

    Example:
      >>> red = np.full((1, 8, 8, 3), [200, 40, 40], np.uint8)
      >>> Jpeg(quality=90).prepare(red, seed=0)[0, 0, 0].tolist()
      [200, 40, 40]
    """

    quality: int = 75

    def __post_init__(self) -> None:
        """Refuses a quality that JPEG does not have."""
        _check.integer_at_least(1, quality=self.quality)
        if self.quality > _BEST_QUALITY:
            raise ValueError(f"quality must be at most {_BEST_QUALITY}, got {self.quality}")

    def prepare(self, images: np.ndarray, *, seed: int) -> np.ndarray:
        """Photos after one more JPEG; `seed` is not used.

        Args:
          images: uint8 `[n, H, W, 3]`.
          seed: at least 0.

        Returns:
          uint8 `[n, H, W, 3]`, a new array.

        Raises:
          TypeError, ValueError: images that are not 8-bit colour.
          ImportError: if Pillow is missing.
        """
        images = _check.uint8_images(images=images)
        _check.integer_at_least(0, seed=seed)
        (pillow,) = libraries("Jpeg", "run", "PIL.Image")
        prepared = np.empty_like(images)
        for row, image in enumerate(images):
            prepared[row] = _saved_and_read(pillow, image, self.quality)
        return prepared


def _saved_and_read(pillow: types.ModuleType, image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    photo = pillow.fromarray(np.ascontiguousarray(image))
    photo.save(file, "JPEG", quality=quality, subsampling=_CHROMA_AT_HALF_RESOLUTION)
    file.seek(0)
    with pillow.open(file) as saved:
        return np.asarray(saved.convert("RGB"))
