"""Linear colour transformation: rotate the chroma plane of a colour basis (eq. 3-5)."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import _check

Array = np.ndarray | jax.Array


class LinearColorMark:
    """Maps each pixel v to T⁻¹ R(θ) T v, then clips to [0, 1].

    T is the colour basis of a subclass and R(θ) the rotation of eq. 4, which fixes the
    first axis of the basis and turns the two others. Zou, Gong, Wang, "Anti-Neuron
    Watermarking" (ECCV 2022), eq. 3-5, https://arxiv.org/abs/2109.09023. **The order of
    eq. 5 as printed, T R T⁻¹, is wrong**: with the YIQ basis at 60° it sends white to
    (.08, 1.63, 1.52). The order here keeps luma and greys, and is that of the authors' code.

    R(θ) is linear in (1, cos θ, sin θ), and so is the pixel map: three constant 3×3 matrices
    serve all angles.
    """

    @property
    def basis(self) -> np.ndarray:
        """T, float64 `[3, 3]`; its rows are the new axes in RGB."""
        raise NotImplementedError(f"{type(self).__name__} must define its colour basis")

    @property
    def description(self) -> str:
        """The public name of the mark; stands in plans and commitments."""
        raise NotImplementedError(f"{type(self).__name__} must define its description")

    def mark(self, image: Array, degrees: float | Array) -> Array:
        """Marks one picture.

        Args:
          image: float `[H, W, 3]` in [0, 1]. NumPy in, NumPy out; JAX in, JAX out. Wrap it
            in `jax.vmap` for a batch; `jax.grad` goes through the angle and the pixels.
          degrees: the signature, a scalar; any real number, 360 is a full turn.

        Returns:
          The marked picture, same shape and dtype, in [0, 1].

        Raises:
          TypeError: pixels that are not float.
          ValueError: not a colour picture with channels last, or values outside [0, 1]
            (values are not seen, and so not checked, under a JAX transformation).
        """
        _check.colour_image(image=image)
        if not isinstance(image, jax.core.Tracer):
            _check.unit_range(image=image)
        return self.mark_unchecked(image, degrees)

    def mark_unchecked(self, image: Array, degrees: float | Array) -> Array:
        """`mark` without looking at the values; for inner loops."""
        traced = isinstance(image, jax.Array) or isinstance(degrees, jax.Array)
        xp: Any = jnp if traced else np
        dtype = image.dtype
        theta = xp.asarray(degrees, dtype) * xp.asarray(np.pi / 180.0, dtype)
        fixed, even, odd = (xp.asarray(term, dtype) for term in self._terms)
        matrix = fixed + xp.cos(theta) * even + xp.sin(theta) * odd
        if traced:
            turned = jnp.matmul(image, matrix.T, precision=jax.lax.Precision.HIGHEST)
        else:
            turned = image @ matrix.T
        return xp.clip(turned, 0, 1)

    def matrix(self, degrees: float | np.ndarray) -> np.ndarray:
        """The pixel map T⁻¹ R(θ) T, float64 `[..., 3, 3]` for angles of shape `[...]`."""
        theta = np.deg2rad(np.asarray(degrees, np.float64))[..., None, None]
        fixed, even, odd = self._terms
        return fixed + np.cos(theta) * even + np.sin(theta) * odd

    @property
    def _terms(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return _terms_of_basis(self.basis.tobytes())

    # Fixed point, for `publish`: the same integers on every machine.

    @property
    def shift(self) -> int:
        """Fractional bits of `parameters`: as many as int32 sums of three pixels allow."""
        fixed, even, odd = self._terms
        largest_row = (np.abs(fixed) + np.hypot(even, odd)).sum(axis=1).max()
        return int(np.floor(np.log2((2**31 - 1) / (255.0 * largest_row + 1.0))))

    def parameters(self, degrees: float | np.ndarray) -> np.ndarray:
        """Fixed-point pixel maps for angles of shape `[...]`: int32 `[..., 3, 3]`."""
        return np.rint(self.matrix(degrees) * 2.0**self.shift).astype(np.int32)

    def publish_pixels(self, image: Array, parameters: Array) -> Array:
        """Marks one 8-bit picture exactly: uint8 `[H, W, 3]` and `parameters` `[3, 3]`."""
        xp: Any = jnp if isinstance(image, jax.Array) else np
        levels = image.astype(np.int32)
        # Written out, since integer matrix products are slow or missing on accelerators.
        sums = (levels[..., :, None] * parameters.T).sum(axis=-2, dtype=np.int32)
        rounded = (sums + (1 << (self.shift - 1))) >> self.shift
        return xp.clip(rounded, 0, 255).astype(np.uint8)


@functools.lru_cache(maxsize=4096)
def _terms_of_basis(basis_bytes: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The matrices A, B, C with T⁻¹ R(θ) T = A + cos θ · B + sin θ · C."""
    basis = np.frombuffer(basis_bytes, np.float64).reshape(3, 3)
    inverse = np.linalg.inv(basis)
    axis = np.diag([1.0, 0.0, 0.0])
    plane = np.diag([0.0, 1.0, 1.0])
    quarter_turn = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    return tuple(inverse @ term @ basis for term in (axis, plane, quarter_turn))
