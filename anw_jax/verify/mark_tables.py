"""The marks of many owners as tables that one compiled program reads."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from anw_jax import _check
from anw_jax.marks import Mark


@dataclasses.dataclass(frozen=True, eq=False)
class MarkTables:
    """What a program needs to mark any image of a crowd with any slot.

    Attributes:
      publish_pixels: the exact map shared by all marks of the type.
      parameters: a pytree with leading axes `[num_marks, num_slots]`, on the host.
      mark_of_image: int32 `[num_images]`, whose mark each image carries.
    """

    publish_pixels: Callable[[Any, Any], Any]
    parameters: Any
    mark_of_image: np.ndarray

    @classmethod
    def of(
        cls, marks: Sequence[Mark], mark_of_image: np.ndarray, degrees: np.ndarray
    ) -> "MarkTables":
        """Tables of several marks at the angles `[num_slots]`; arguments are checked ones."""
        parameters = stack([mark.parameters(degrees) for mark in marks])
        return cls(type(marks[0]).publish_pixels, parameters, mark_of_image)


def stack(trees: Sequence[Any]) -> Any:
    """Host trees of equal structure, stacked along a new first axis.

    Raises:
      ValueError: leaves of different shapes, such as pixel marks for photos of two sizes.
    """

    def stacked(*leaves: Any) -> np.ndarray:
        shapes = sorted({np.shape(leaf) for leaf in leaves})
        if len(shapes) > 1:
            raise ValueError(
                "marks must have tables of one shape to share a program, got "
                f"{shapes[0]} and {shapes[1]}"
            )
        # One mark, the usual case, is not copied.
        return np.asarray(leaves[0])[None] if len(leaves) == 1 else np.stack(leaves)

    return jax.tree.map(stacked, *trees)


def check_marks(
    marks: Sequence[Mark], mark_of_image: np.ndarray, num_images: int
) -> np.ndarray:
    """Refuses what one program cannot mark; returns `mark_of_image` as int32.

    Raises:
      TypeError, ValueError: no marks, marks of several types, or indices that are not one of
        0 … num_marks - 1 for each image.
    """
    marks = _check.is_instance(Sequence, marks=marks)
    _check.integer_at_least(1, num_marks=len(marks))
    kinds = sorted({type(mark).__name__ for mark in marks})
    if len({type(mark) for mark in marks}) > 1:
        raise TypeError(
            f"marks must all be of one type to share a program, got {', '.join(kinds)}"
        )
    return owners(num_images, len(marks), mark_of_image=mark_of_image)


def owners(num_images: int, num_owners: int | None = None, **named: Any) -> np.ndarray:
    """An owner for each image: int32 `[num_images]`, each in [0, num_owners) where known."""
    ((name, value),) = named.items()
    indices = np.asarray(value)
    if not np.issubdtype(indices.dtype, np.integer) and indices.size:
        raise TypeError(f"{name} must be integers, got {indices.dtype}")
    if indices.shape != (num_images,):
        raise ValueError(f"{name} must have shape ({num_images},), got {indices.shape}")
    if indices.size:
        low, high = int(indices.min()), int(indices.max())
        if low < 0:
            raise ValueError(f"{name} must be at least 0, got {low}")
        if num_owners is not None and high >= num_owners:
            raise ValueError(f"{name} must be below {num_owners}, got {high}")
    return indices.astype(np.int32)
