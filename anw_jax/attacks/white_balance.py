"""Photos get a neutral colour balance before training."""

import dataclasses

import numpy as np

from anw_jax import _check


@dataclasses.dataclass(frozen=True)
class WhiteBalance:
    """Scales the channels of each photo so that their means agree (grey-world).

    The gain of channel c is μ / μ_c, with μ_c its mean and μ the mean of the three: the
    average of a scene is taken to be grey (Buchsbaum 1980,
    https://doi.org/10.1016/0016-0032(80)90058-7). Means agree before clipping to [0, 255] and
    rounding; where a gain pushes pixels out of range they stay a little apart. A channel that
    is 0 everywhere keeps its values. A rotated hue moves the mean colour, so this takes part of
    a hue mark back, the same part of every pixel.

    Example:
      >>> photo = np.array([[[[120, 60, 60], [60, 30, 30]]]], np.uint8)
      >>> WhiteBalance().prepare(photo, seed=0)[0, 0].tolist()
      [[80, 80, 80], [40, 40, 40]]
    """

    def prepare(self, images: np.ndarray, *, seed: int) -> np.ndarray:
        """Photos with the grey-world gains applied; `seed` is not used.

        Args:
          images: uint8 `[n, H, W, 3]`.
          seed: at least 0.

        Returns:
          uint8 `[n, H, W, 3]`, a new array.

        Raises:
          TypeError, ValueError: images that are not 8-bit colour.
        """
        images = _check.uint8_images(images=images)
        _check.integer_at_least(0, seed=seed)
        # One photo at a time: a whole set in float64 would take eight times its memory.
        prepared = np.empty_like(images)
        for row, image in enumerate(images):
            prepared[row] = np.rint(np.clip(image * gains(image), 0, 255))
        return prepared


def gains(image: np.ndarray) -> np.ndarray:
    """The grey-world gains of one photo `[H, W, 3]`: float64 `[3]`, 1 for a channel of 0."""
    means = image.mean(axis=(0, 1), dtype=np.float64)
    return np.divide(means.mean(), means, out=np.ones(3), where=means > 0)
