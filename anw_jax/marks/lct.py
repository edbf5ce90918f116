"""The linear colour transformation (LCT) of eq. 3-5 as pure functions.

Each pixel v becomes `clip(T⁻¹ R(θ) T v)`: T is a colour basis, and R(θ) fixes its first axis
and rotates the two others. Zou, Gong, Wang, "Anti-Neuron Watermarking" (ECCV 2022),
https://arxiv.org/abs/2109.09023. **The order of eq. 5 as printed, T R T⁻¹, is wrong**: with
the YIQ basis at 60° it sends white to (.08, 1.63, 1.52). The order here keeps luma and greys,
and is that of the authors' code.

NumPy in, NumPy out; a JAX array among the arguments gives JAX, under `jit`, `vmap` and `grad`
alike.
"""

import dataclasses
import functools

import jax
import numpy as np

from anw_jax.keys import plan_fields
from anw_jax.marks.mark import Array, check_input, library_of

YIQ = ((0.299, 0.587, 0.114), (0.596, -0.275, -0.321), (0.212, -0.523, 0.311))

# R(θ) is linear in (1, cos θ, sin θ): its three coefficients.
_ROTATION = np.array(
    [
        [[1, 0, 0], [0, 0, 0], [0, 0, 0]],
        [[0, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[0, 0, 0], [0, 0, -1], [0, 1, 0]],
    ],
    np.float64,
)


def lct_matrix(basis: Array, degrees: float | Array) -> Array:
    """Return T⁻¹ R(θ) T, the map of one pixel: `[..., 3, 3]` for angles `[...]`.

    Args:
      basis: T, `[3, 3]`; its rows are the new axes in RGB.
      degrees: angles; any real numbers, 360 is a full turn.

    Example:
      >>> lct_matrix(np.eye(3), 90.0).round(3).tolist()
      [[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]
      >>> slope = jax.jacfwd(lct_matrix, argnums=1)(np.eye(3), 0.0)  # per degree
      >>> round(float(slope[2, 1]), 4)
      0.0175
    """
    return matrix_at(lct_terms(basis), degrees)


def lct_terms(basis: Array) -> Array:
    """Return A, B, C `[3, 3, 3]` with T⁻¹ R(θ) T = A + cos θ · B + sin θ · C."""
    xp = library_of(basis)
    basis = xp.asarray(basis, float)
    with jax.default_matmul_precision("highest"):
        return xp.linalg.inv(basis) @ xp.asarray(_ROTATION, float) @ basis


def matrix_at(terms: Array, degrees: float | Array) -> Array:
    """Return the pixel maps `[..., 3, 3]` at angles `[...]` from `lct_terms`."""
    xp = library_of(terms, degrees)
    # In float, since half precision would round an angle to a whole degree.
    theta = xp.deg2rad(xp.asarray(degrees, float))
    fixed, even, odd = xp.asarray(terms, float).reshape(3, *(1,) * theta.ndim, 3, 3)
    theta = theta[..., None, None]
    return fixed + xp.cos(theta) * even + xp.sin(theta) * odd


def apply_lct(matrix: Array, image: Array) -> Array:
    """Apply a pixel map `[3, 3]` to a float image `[..., 3]` and clips to [0, 1].

    Example:
      >>> apply_lct(np.diag([1.0, 2.0, -1.0]), np.array([0.5, 0.75, 0.25])).tolist()
      [0.5, 1.0, 0.0]
    """
    xp = library_of(matrix, image)
    return xp.clip(_product(xp.asarray(matrix, image.dtype), image), 0, 1)


def _product(matrix: Array, image: Array) -> Array:
    """Multiply every pixel by `matrix`; both of one dtype."""
    if library_of(matrix, image) is np:
        return image @ matrix.T
    # Column by column: XLA fuses these sums with what stands before and after, which on CPU
    # is 4 times faster than a matrix product of width 3. They are exact for integers, and keep
    # all bits of float32 on accelerators whose matrix products do not.
    columns = matrix.T.reshape(3, *(1,) * (image.ndim - 1), 3)
    red, green, blue = image[..., :1], image[..., 1:2], image[..., 2:]
    return red * columns[0] + green * columns[1] + blue * columns[2]


class LinearColorMark:
    """An LCT as a mark: a subclass gives the colour basis and the public name."""

    @property
    def basis(self) -> np.ndarray:
        """T, float64 `[3, 3]`; its rows are the new axes in RGB."""
        raise NotImplementedError(f"{type(self).__name__} must define its colour basis")

    @property
    def description(self) -> str:
        """The public name of the mark; stands in plans and commitments."""
        raise NotImplementedError(f"{type(self).__name__} must define its description")

    def mark(self, image: Array, degrees: float | Array) -> Array:
        """Mark one image.

        Args:
          image: float `[H, W, 3]` in [0, 1]. NumPy in, NumPy out; JAX in, JAX out. Wrap it
            in `jax.vmap` for a batch; `jax.grad` goes through the angle and the pixels.
          degrees: the signature, a scalar; any real number, 360 is a full turn.

        Returns:
          The marked image, same shape and dtype, in [0, 1].

        Raises:
          TypeError: pixels that are not float.
          ValueError: not a colour image with channels last, values outside [0, 1], or an
            angle that is not one finite number (values are not seen, and so not checked,
            under a JAX transformation).
        """
        check_input(image, degrees)
        return self.mark_pixels(image, degrees, self.constants)

    @functools.cached_property
    def constants(self) -> np.ndarray:
        """`lct_terms` of the basis, float64 `[3, 3, 3]`."""
        return lct_terms(self.basis)

    @staticmethod
    def mark_pixels(image: Array, degrees: float | Array, constants: Array) -> Array:
        """Mark one image as the linear colour mark with these `constants`."""
        return apply_lct(matrix_at(constants, degrees), image)

    def matrix(self, degrees: float | np.ndarray) -> np.ndarray:
        """Return `lct_matrix` of the basis: float64 `[..., 3, 3]` for angles `[...]`."""
        return matrix_at(self.constants, degrees)

    # Fixed point, for `publish`: the same integers on every machine.

    @functools.cached_property
    def shift(self) -> int:
        """Fractional bits of the matrices: the most for which no sum leaves int32."""
        fixed, even, odd = self.constants
        largest_row = (np.abs(fixed) + np.hypot(even, odd)).sum(axis=1).max()
        # 255 · row · 2^shift, half of 2^shift for rounding, and half a unit for the rounding
        # of each parameter (255 · 3 / 2 < 2^shift / 2, as every basis allows 10 bits).
        return int(np.floor(np.log2((2**31 - 1) / (255.0 * largest_row + 1.0))))

    def parameters(self, degrees: float | np.ndarray) -> dict[str, np.ndarray]:
        """Return fixed-point pixel maps for angles of shape `[...]`.

        Returns:
          "matrix": int32 `[..., 3, 3]`, the pixel maps times 2^shift; "shift": int32 `[...]`.
        """
        matrix = np.rint(self.matrix(degrees) * 2.0**self.shift).astype(np.int32)
        return {"matrix": matrix, "shift": np.full(np.shape(degrees), self.shift, np.int32)}

    @staticmethod
    def publish_pixels(image: Array, parameters: dict) -> Array:
        """Mark one 8-bit image exactly: uint8 `[H, W, 3]`, `parameters` of one angle."""
        matrix, shift = parameters["matrix"], parameters["shift"]
        xp = library_of(image, matrix)
        half = xp.left_shift(np.int32(1), shift - np.int32(1))
        sums = _product(matrix, image.astype(np.int32)) + half
        # With Python integers as bounds NumPy would look up the dtype's range each time.
        return xp.clip(sums >> shift, np.int32(0), np.int32(255)).astype(np.uint8)


@dataclasses.dataclass(frozen=True)
class HueRotation(LinearColorMark):
    """Rotates the hue by an angle in the YIQ colour space (eq. 3-5 of the paper).

    Before clipping it keeps luma, `.299 R + .587 G + .114 B`, and every grey; rotations
    compose by adding angles. A grey image is therefore a fixed point: it can carry no
    mark. Clipping to [0, 1] breaks these where a colour leaves the gamut.

    This is not the hue shift of HSV (`dm_pix.adjust_hue`, torchvision): that one has the
    opposite sign and other colours.

    Example:
      >>> image = np.full((1, 1, 3), [0.6, 0.4, 0.3], np.float32)
      >>> [round(float(v), 3) for v in HueRotation().mark(image, 60.0).ravel()]
      [0.596, 0.342, 0.608]
      >>> bool(np.allclose(HueRotation().mark(image, 0.0), image, atol=1e-6))
      True
    """

    @property
    def basis(self) -> np.ndarray:
        """The YIQ matrix of eq. 3."""
        return np.array(YIQ, np.float64)

    @property
    def description(self) -> str:
        """See `LinearColorMark.description`."""
        return plan_fields.HUE_ROTATION
