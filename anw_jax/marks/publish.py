"""From a mark to the 8-bit pictures that go online, the same bytes everywhere."""

from typing import Any, Protocol

import jax
import numpy as np

from anw_jax import _check
from anw_jax.marks.linear import Array


class Mark(Protocol):
    """What `publish` and `anw_jax.verify` need of a mark."""

    @property
    def description(self) -> str:
        """The public name; stands in plans and commitments."""

    def mark(self, image: Array, degrees: float | Array) -> Array:
        """Marks a float `[H, W, 3]` picture in [0, 1]; differentiable."""

    def mark_unchecked(self, image: Array, degrees: float | Array) -> Array:
        """`mark` without looking at the values."""

    def parameters(self, degrees: np.ndarray) -> Any:
        """Host-side tables for signatures `[...]`: a pytree with leading axes `[...]`."""

    def publish_pixels(self, image: Array, parameters: Any) -> Array:
        """Marks one uint8 picture exactly, on NumPy or JAX, with one entry of the tables."""


def publish(mark: Mark, images: np.ndarray, degrees: float | np.ndarray) -> np.ndarray:
    """Marks originals, clips, and rounds to uint8: what is published and what is asked.

    Computed in int32 fixed point, so that owner and arbitrator get identical bytes on any
    machine; it agrees with `round(255 * mark.mark(image))` except where that value lies
    within 0.001 of a half (there, the two may round to neighbouring levels).

    Args:
      mark: the watermark map.
      images: uint8 originals `[n, H, W, 3]`.
      degrees: one signature, or one for each image `[n]`.

    Returns:
      uint8 `[n, H, W, 3]`.

    Raises:
      TypeError, ValueError: images that are not 8-bit colour with channels last; signatures
        that are neither one nor n finite numbers.

    Example:
      >>> from anw_jax.marks import HueRotation
      >>> originals = np.full((1, 1, 1, 3), [200, 40, 40], np.uint8)
      >>> publish(HueRotation(), originals, 120.0).ravel().tolist()
      [55, 66, 255]
    """
    images = _check.uint8_images(images=images)
    angles = _angles(degrees, len(images))
    parameters = mark.parameters(angles)
    marked = [
        mark.publish_pixels(image, jax.tree.map(lambda table, i=i: table[i], parameters))
        for i, image in enumerate(images)
    ]
    return np.stack(marked) if marked else images.copy()


def clipped_fraction(mark: Any, images: np.ndarray, degrees: float | np.ndarray) -> float:
    """The share of pixels that a linear colour mark pushes out of [0, 1] before clipping.

    Example:
      >>> from anw_jax.marks import HueRotation
      >>> clipped_fraction(HueRotation(), np.full((1, 2, 2, 3), 90, np.uint8), 60.0)
      0.0
    """
    images = _check.uint8_images(images=images)
    maps = mark.matrix(_angles(degrees, len(images)))
    turned = np.einsum("nhwc,ndc->nhwd", images / 255.0, maps)
    outside = (turned < -1e-9) | (turned > 1.0 + 1e-9)
    return float(outside.any(axis=-1).mean())


def _angles(degrees: float | np.ndarray, num_images: int) -> np.ndarray:
    angles = np.asarray(degrees, np.float64)
    if angles.shape not in ((), (num_images,)) or not np.isfinite(angles).all():
        raise ValueError(
            f"degrees must be one finite number or {num_images} of them, "
            f"got shape {angles.shape}"
        )
    return np.broadcast_to(angles, (num_images,))
