"""What every mark asks of one picture and one signature."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import _check

Array = np.ndarray | jax.Array


def check_input(image: Array, degrees: float | Array) -> None:
    """Refuses what is not one float colour picture in [0, 1] and one finite angle.

    Values are not seen, and so not checked, under a JAX transformation.
    """
    # Of a JAX array only its type is looked at, so that it may be traced.
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


def library_of(*operands: Any) -> Any:
    """`jax.numpy` where any operand is a JAX array, else NumPy."""
    return jnp if any(isinstance(operand, jax.Array) for operand in operands) else np


def wide_dtype(image: Array) -> np.dtype:
    """The dtype of angles: never half precision, where 1° of 360° would be lost."""
    return np.promote_types(image.dtype, np.float32)
