"""The `Mark` protocol, and what the marks share."""

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from anw_jax import _check

if TYPE_CHECKING:
    import jax

    Array = np.ndarray | jax.Array
else:  # jax is not imported by a process that only marks files
    Array = np.ndarray

MOST_SLOTS = 2**10

_NUM_KEY_BYTES = 32

# Number of int32 values per strip in NumPy, so that a strip fits into a core's cache.
_STRIP_NUMBERS = 2**15


class Mark(Protocol):
    """The interface of a mark, as used by `publish` and `anw_jax.verify`.

    Both transforms are static methods: everything specific to one mark (its basis, its pixels)
    is passed as parameters. So one compiled program serves every mark of a type, and the
    parameters of many owners are stacked along a leading axis.
    """

    @property
    def description(self) -> str:
        """Public identifier in plans (`keys.plan_fields`); "own:…" for custom marks."""

    @property
    def least_side(self) -> int:
        """Number of pixels that each side of an image must have at least."""

    @property
    def marks_grey(self) -> bool:
        """Whether grey photos can be marked; a rotation of the hue leaves them unchanged."""

    def mark(self, image: Array, degrees: float | Array) -> Array:
        """Mark a float `[H, W, 3]` image in [0, 1]; differentiable."""

    @property
    def constants(self) -> Any:
        """The parameters of `mark_pixels`: a pytree of float64 or bool arrays, on the host."""

    @staticmethod
    def mark_pixels(image: Array, degrees: float | Array, constants: Any) -> Array:
        """Apply the mark given by `constants` to one image, without validation."""

    def parameters(self, degrees: np.ndarray) -> Any:
        """Return integer tables for signatures `[...]`: a pytree with leading axes `[...]`."""

    @staticmethod
    def publish_pixels(image: Array, parameters: Any) -> Array:
        """Mark one uint8 image exactly, in NumPy or JAX, with one entry of the tables."""


def check_input(image: Array, degrees: float | Array) -> None:
    """Raise unless given one float colour image in [0, 1] and one finite angle.

    Under a JAX transformation, only shapes and dtypes are checked.
    """
    # Only the type of a JAX array is read, so that it may be traced.
    _check.colour_image(image=sys.modules["jax"].typeof(image) if _is_jax(image) else image)
    if not _is_traced(image):
        _check.unit_range(image=image)
    if np.shape(degrees) != ():
        raise ValueError(
            f"degrees must be one number for one image, got shape {np.shape(degrees)}: "
            "use jax.vmap for a batch"
        )
    if not _is_traced(degrees) and not np.isfinite(degrees):
        raise ValueError(f"degrees must be finite, got {degrees}")


def check_strength(most: float, **named: float) -> float:
    """Return a strength as a float; raise ValueError unless it is in (0, most]."""
    _check.positive(**named)
    return _check.in_interval(0.0, most, **named)


def check_num_slots(num_slots: int) -> int:
    """Return N, the number of slots; raise ValueError unless it is in 2 … 1024."""
    num_slots = _check.integer_at_least(2, num_slots=num_slots)
    if num_slots > MOST_SLOTS:
        raise ValueError(f"num_slots must be at most {MOST_SLOTS}, got {num_slots}")
    return num_slots


def check_sub_key(sub_key: bytes, name: str) -> None:
    """Raise ValueError unless `sub_key` is 32 bytes, without printing its value."""
    if not isinstance(sub_key, bytes) or len(sub_key) != _NUM_KEY_BYTES:
        raise ValueError(
            f'sub_key must be {_NUM_KEY_BYTES} bytes (mark_key.sub_key("{name}")); '
            "the value given is not shown"
        )


def array_namespace(*operands: Any) -> Any:
    """Return `jax.numpy` if any operand is a JAX array, otherwise NumPy."""
    return sys.modules["jax"].numpy if any(map(_is_jax, operands)) else np


def _is_jax(value: Any) -> bool:
    """Return whether a value is a JAX array; there is none before jax is imported."""
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(value, jax.Array)


def _is_traced(value: Any) -> bool:
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(value, jax.core.Tracer)


def at_angle(values: Array, degrees: float | Array) -> Array:
    """Interpolate values of slots `[N, …]` linearly, at angles `[...]`: `[..., …]`.

    Example:
      >>> at_angle(np.array([0.0, 1.0, 2.0, 3.0]), np.array([90.0, 315.0])).tolist()
      [1.0, 1.5]
    """
    xp = array_namespace(values, degrees)
    num_slots = len(values)
    position = xp.asarray(degrees, float) % 360.0 * (num_slots / 360.0)
    floor = xp.floor(position)
    before = floor.astype(int)
    share = (position - floor).reshape(*position.shape, *(1,) * (values.ndim - 1))
    share = share.astype(values.dtype)
    first, second = values[before % num_slots], values[(before + 1) % num_slots]
    return first * (1 - share) + second * share


def strips(image: np.ndarray) -> Iterator[slice]:
    """Yield slices of rows of `[H, W, 3]` that are small enough for a core's cache."""
    height, width, channels = image.shape
    step = max(1, _STRIP_NUMBERS // (width * channels))
    for top in range(0, height, step):
        yield slice(top, top + step)


def pixelwise(fun: Callable[..., Array], image: Array, *tables: Array) -> Array:
    """Apply a function of pixels and tables to an image; in NumPy strip by strip."""
    if array_namespace(image, *tables) is not np:
        return fun(image, *tables)
    changed = np.empty_like(image)
    for strip in strips(image):
        changed[strip] = fun(image[strip], *tables)
    return changed
