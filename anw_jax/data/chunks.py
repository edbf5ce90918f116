"""A pass over images, in memory or not."""

from collections.abc import Iterator

import numpy as np

from anw_jax import _check
from anw_jax.data.streamed_images import StreamedImages

_CHUNK = 4096


def chunks(images: np.ndarray | StreamedImages) -> Iterator[np.ndarray]:
    """Gives images in order, uint8 `[k, H, W, 3]` at a time; streamed ones are read ahead.

    Args:
      images: uint8 `[n, H, W, 3]`.

    Returns:
      An iterator over pieces of at most 4,096 images.

    Raises:
      TypeError: if images are not uint8.
      ValueError: if they have another shape.

    Example:
      >>> sum(len(images) for images in chunks(np.zeros((5000, 2, 2, 3), np.uint8)))
      5000
    """
    if isinstance(images, StreamedImages):
        return images.chunks()
    images = _check.uint8_images(images=images)
    return (images[first : first + _CHUNK] for first in range(0, len(images), _CHUNK))
