"""The protocol of marks, and checks of an image and its signature."""

from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import _check

Array = np.ndarray | jax.Array

_NUM_KEY_BYTES = 32


class Mark(Protocol):
    """What `publish` and `anw_jax.verify` need of a mark.

    Both maps are static methods: all that belongs to one mark (its basis, its pixels) is in
    the parameters they are given. So one compiled program serves every mark of a type, and
    the parameters of a thousand owners are stacked along a leading axis.
    """

    @property
    def description(self) -> str:
        """The public name in plans (`keys.plan_fields`); "own:…" of marks defined elsewhere."""

    def mark(self, image: Array, degrees: float | Array) -> Array:
        """Mark a float `[H, W, 3]` image in [0, 1]; differentiable."""

    @property
    def constants(self) -> Any:
        """The parameters of `mark_pixels`: a pytree of float64 or bool arrays, on the host."""

    @staticmethod
    def mark_pixels(image: Array, degrees: float | Array, constants: Any) -> Array:
        """Mark as the mark of this type that the `constants` belong to; checks nothing."""

    def parameters(self, degrees: np.ndarray) -> Any:
        """Return integer tables for signatures `[...]`: a pytree with leading axes `[...]`."""

    @staticmethod
    def publish_pixels(image: Array, parameters: Any) -> Array:
        """Mark one uint8 image exactly, in NumPy or JAX, with one entry of the tables."""


def check_input(image: Array, degrees: float | Array) -> None:
    """Refuse anything but one float colour image in [0, 1] and one finite angle.

    Values are not seen, and so not checked, under a JAX transformation.
    """
    # Only the type of a JAX array is read, so that it may be traced.
    _check.colour_image(image=jax.typeof(image) if isinstance(image, jax.Array) else image)
    if not isinstance(image, jax.core.Tracer):
        _check.unit_range(image=image)
    if np.shape(degrees) != ():
        raise ValueError(
            f"degrees must be one number for one image, got shape {np.shape(degrees)}: "
            "use jax.vmap for a batch"
        )
    if not isinstance(degrees, jax.core.Tracer) and not np.isfinite(degrees):
        raise ValueError(f"degrees must be finite, got {degrees}")


def check_sub_key(sub_key: bytes, name: str) -> None:
    """Refuse anything but 32 bytes; never shows them."""
    if not isinstance(sub_key, bytes) or len(sub_key) != _NUM_KEY_BYTES:
        raise ValueError(
            f'sub_key must be {_NUM_KEY_BYTES} bytes (mark_key.sub_key("{name}")); '
            "the value given is not shown"
        )


def library_of(*operands: Any) -> Any:
    """Return `jax.numpy` where any operand is a JAX array, else NumPy."""
    return jnp if any(isinstance(operand, jax.Array) for operand in operands) else np
