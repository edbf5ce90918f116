"""From a mark to the 8-bit pictures that go online, the same bytes everywhere."""

from typing import Any, Protocol

import jax
import numpy as np

from anw_jax import _check
from anw_jax.marks._input import Array
from anw_jax.marks.linear import LinearColorMark


class Mark(Protocol):
    """What `publish` and `anw_jax.verify` need of a mark.

    Both maps are static methods: all that is a mark's own (its basis, its pixels) is in the
    trees they are given. So one compiled program serves every mark of a type, and the marks
    of a thousand owners lie in it as tables, stacked along a leading axis.
    """

    @property
    def description(self) -> str:
        """The public name in plans and commitments (`keys.names`); "own:…" of other marks."""

    def mark(self, image: Array, degrees: float | Array) -> Array:
        """Marks a float `[H, W, 3]` picture in [0, 1]; differentiable."""

    def mark_unchecked(self, image: Array, degrees: float | Array) -> Array:
        """`mark` without looking at the values."""

    @property
    def constants(self) -> Any:
        """Host-side, what `mark_pixels` needs of this mark: a pytree of float64 or bool."""

    @staticmethod
    def mark_pixels(image: Array, degrees: float | Array, constants: Any) -> Array:
        """`mark_unchecked` of whichever mark of this type the `constants` belong to."""

    def parameters(self, degrees: np.ndarray) -> Any:
        """Host-side tables for signatures `[...]`: a pytree with leading axes `[...]`."""

    @staticmethod
    def publish_pixels(image: Array, parameters: Any) -> Array:
        """Marks one uint8 picture exactly, on NumPy or JAX, with one entry of the tables.

        `(image, parameters) -> image`: the entry holds all that the map needs of the mark.
        """


def publish(mark: Mark, images: np.ndarray, degrees: float | np.ndarray) -> np.ndarray:
    """Marks originals, clips, and rounds to uint8: what is published and what is asked.

    Computed in int32 fixed point, so that owner and arbitrator get identical bytes on any
    machine; it agrees with `round(255 * mark.mark(image))` except where that value lies
    within 0.001 of a half (there, the two may round to neighbouring levels). That holds for
    `HueRotation`, for bases as mild as `UserLCT.from_sub_key` draws them, and for `PixelMark`.

    Args:
      mark: the watermark map.
      images: uint8 originals `[n, H, W, 3]`.
      degrees: one signature, or one for each image `[n]`.

    Returns:
      uint8 `[n, H, W, 3]`.

    Raises:
      TypeError, ValueError: what is no mark; images that are not 8-bit colour with channels
        last; signatures that are neither one nor n finite numbers.

    Example:
      >>> from anw_jax.marks import HueRotation
      >>> originals = np.full((1, 1, 1, 3), [200, 40, 40], np.uint8)
      >>> publish(HueRotation(), originals, 120.0).ravel().tolist()
      [55, 66, 255]
    """
    _check_is_mark(mark)
    images = _check.uint8_images(images=images)
    angles = _angles(degrees, len(images))
    tables, tree = jax.tree.flatten(mark.parameters(angles))
    marked = np.empty_like(images)
    for i, image in enumerate(images):
        one = tree.unflatten([table[i] for table in tables])
        marked[i] = mark.publish_pixels(image, one)
    return marked


def clipped_fraction(
    mark: LinearColorMark, images: np.ndarray, degrees: float | np.ndarray
) -> float:
    """The share of pixels that a linear colour mark pushes out of [0, 1] before clipping.

    Arguments as for `publish`; 0 where there are no images.

    Raises:
      TypeError, ValueError: as `publish`, or a mark that is not a linear colour mark.

    Example:
      >>> from anw_jax.marks import HueRotation
      >>> clipped_fraction(HueRotation(), np.full((1, 2, 2, 3), 90, np.uint8), 60.0)
      0.0
    """
    _check.is_instance(LinearColorMark, mark=mark)
    images = _check.uint8_images(images=images)
    maps = mark.matrix(_angles(degrees, len(images)))
    num_outside = 0
    for image, pixel_map in zip(images, maps, strict=True):
        turned = image / 255.0 @ pixel_map.T
        outside = (turned < -1e-9) | (turned > 1.0 + 1e-9)
        num_outside += int(outside.any(axis=-1).sum())
    return num_outside / max(1, images.size // 3)


def _check_is_mark(mark: object) -> None:
    # By what it can do: a mark need not come from this room. A class is none, its objects are.
    can = all(hasattr(mark, name) for name in ("parameters", "publish_pixels"))
    if isinstance(mark, type) or not can:
        raise TypeError(
            f"mark must be a Mark, such as HueRotation(), got {type(mark).__name__}: "
            f"{mark!r:.80}"
        )


def _angles(degrees: float | np.ndarray, num_images: int) -> np.ndarray:
    try:
        angles = np.asarray(degrees, np.float64)
    except (TypeError, ValueError):
        raise TypeError(
            f"degrees must be one finite number or {num_images} of them, got {degrees!r:.80}"
        ) from None
    if angles.shape not in ((), (num_images,)):
        raise ValueError(
            f"degrees must be one finite number or {num_images} of them, "
            f"got shape {angles.shape}"
        )
    if not np.isfinite(angles).all():
        first = int(np.argmin(np.isfinite(angles)))
        where = f"degrees[{first}]" if angles.ndim else "degrees"
        raise ValueError(f"{where} must be finite, got {angles.flat[first]}")
    return np.broadcast_to(angles, (num_images,))
