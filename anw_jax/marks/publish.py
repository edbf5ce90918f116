"""Mark images in exact 8-bit arithmetic, with the same bytes on every machine."""

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from anw_jax import _check
from anw_jax.marks.mark import Mark


@dataclasses.dataclass(frozen=True, eq=False)
class MarkTables:
    """Stacked mark parameters, so that one compiled function can mark any (image, slot) pair.

    Attributes:
      publish_pixels: the bit-exact transform shared by all marks of the type.
      parameters: a pytree of NumPy arrays with leading axes `[num_marks, num_slots]`.
      mark_of_image: int32 `[num_images]`, index of each image's mark.
    """

    publish_pixels: Callable[[Any, Any], Any]
    parameters: Any
    mark_of_image: np.ndarray

    @classmethod
    def of(
        cls,
        mark: Mark | Sequence[Mark],
        mark_of_image: np.ndarray | None,
        num_images: int,
        degrees: np.ndarray,
    ) -> "MarkTables":
        """Build the tables of one or several marks at the angles `[num_slots]`.

        Raises:
          TypeError, ValueError: see `check_marks`; pixel marks for photos of two sizes.
        """
        marks, mark_of_image = check_marks(mark, mark_of_image, num_images)
        parameters = stack_parameters([mark.parameters(degrees) for mark in marks])
        return cls(type(marks[0]).publish_pixels, parameters, mark_of_image)

    def publish(self, image: np.ndarray, index: int, slot: int) -> np.ndarray:
        """Mark one uint8 image, number `index`, with NumPy."""
        import jax

        entry = (self.mark_of_image[index], slot)
        return self.publish_pixels(image, jax.tree.map(lambda t: t[entry], self.parameters))


def check_marks(
    mark: Mark | Sequence[Mark], mark_of_image: np.ndarray | None, num_images: int
) -> tuple[Sequence[Mark], np.ndarray]:
    """Check that the marks can share a program; return them, and their indices.

    Args:
      mark: one mark, or those of several owners.
      mark_of_image: index of each image's mark; may be None with one mark.
      num_images: number of images.

    Returns:
      The marks, and int32 `[num_images]`.

    Raises:
      TypeError, ValueError: no marks, marks of several types, or indices that are not one of
        0 … num_marks - 1 for each image.
    """
    marks = mark if isinstance(mark, Sequence) else [mark]
    _check.integer_at_least(1, num_marks=len(marks))
    if len({type(each) for each in marks}) > 1:
        kinds = sorted({type(each).__name__ for each in marks})
        raise TypeError(
            f"marks must all be of one type to share a program, got {', '.join(kinds)}"
        )
    _check_is_mark(marks[0])
    if mark_of_image is None:
        if len(marks) > 1:
            raise ValueError("mark_of_image must be given with several marks")
        mark_of_image = np.zeros(num_images, np.int32)
    return marks, _check.indices(num_images, len(marks), mark_of_image=mark_of_image)


def stack_parameters(trees: Sequence[Any]) -> Any:
    """Stack pytrees of NumPy arrays along a new first axis.

    Raises:
      TypeError: composed marks of different types.
      ValueError: leaves of different shapes, such as pixel marks for photos of two sizes.
    """
    import jax

    if len({jax.tree.structure(tree) for tree in trees}) > 1:
        raise TypeError("marks must be composed of the same two types to share a program")

    def stack(*leaves: Any) -> np.ndarray:
        shapes = sorted({np.shape(leaf) for leaf in leaves})
        if len(shapes) > 1:
            raise ValueError(
                "marks must have tables of one shape to share a program, got "
                f"{shapes[0]} and {shapes[1]}"
            )
        # A single mark, the usual case, is not copied.
        return np.asarray(leaves[0])[None] if len(leaves) == 1 else np.stack(leaves)

    return jax.tree.map(stack, *trees)


def program_of(mark: Mark) -> Hashable:
    """Return what marks must have in common so that one `MarkTables` holds them."""
    import jax

    leaves, tree = jax.tree.flatten(mark.parameters(np.zeros(())))
    return type(mark), tree, tuple(np.shape(leaf) for leaf in leaves)


def publish(mark: Mark, images: np.ndarray, degrees: float | np.ndarray) -> np.ndarray:
    """Mark originals, clip and round to uint8.

    Computed in int32 fixed point, so that owner and arbitrator get identical bytes on any
    machine. The result equals `round(255 * mark.mark(image))` except where that value lies
    within 0.001 of a half (there, the two may round to neighbouring levels). That holds for
    `HueRotation`, for bases drawn by `UserLCT.from_sub_key`, and for `PixelMark`.

    Args:
      mark: the watermark transform.
      images: uint8 originals `[n, H, W, 3]`.
      degrees: one signature, or one per image `[n]`.

    Returns:
      uint8 `[n, H, W, 3]`.

    Raises:
      TypeError, ValueError: `mark` does not implement the `Mark` protocol; images that are not
        8-bit colour with channels last; signatures that are neither one nor n finite numbers.

    Example:
      >>> from anw_jax.marks import HueRotation
      >>> originals = np.full((1, 1, 1, 3), [200, 40, 40], np.uint8)
      >>> publish(HueRotation(), originals, 120.0).ravel().tolist()
      [55, 66, 255]
    """
    import jax

    _check_is_mark(mark)
    images = _check.uint8_images(images=images)
    angles = _angles(degrees, len(images))
    tables, tree = jax.tree.flatten(mark.parameters(angles))
    marked = np.empty_like(images)
    for i, image in enumerate(images):
        one = tree.unflatten([table[i] for table in tables])
        marked[i] = mark.publish_pixels(image, one)
    return marked


def publish_image(mark: Mark, image: np.ndarray, degrees: float) -> np.ndarray:
    """Mark one original as `publish` does, without importing jax.

    Args:
      mark: the watermark transform.
      image: uint8 original `[H, W, 3]`.
      degrees: the signature.

    Returns:
      uint8 `[H, W, 3]`.

    Raises:
      TypeError, ValueError: as `publish`.

    Example:
      >>> from anw_jax.marks import HueRotation
      >>> original = np.full((1, 1, 3), [200, 40, 40], np.uint8)
      >>> publish_image(HueRotation(), original, 120.0).ravel().tolist()
      [55, 66, 255]
    """
    _check_is_mark(mark)
    pixels = _check.uint8_image(image=image)
    (angle,) = _angles(degrees, 1)
    return mark.publish_pixels(pixels, mark.parameters(np.asarray(angle)))


def _check_is_mark(mark: object) -> None:
    # Duck-typed, for custom marks. A class instead of an instance is an error.
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
