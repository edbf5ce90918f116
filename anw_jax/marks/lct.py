"""The linear colour transformation (LCT) of eq. 3-5 as pure functions.

Each pixel v becomes `clip(T⁻¹ R(θ) T v)`: T is a colour basis, and R(θ) fixes its first axis
and rotates the two others. Zou, Gong, Wang, "Anti-Neuron Watermarking" (ECCV 2022),
https://arxiv.org/abs/2109.09023. **The order of eq. 5 as printed, T R T⁻¹, is wrong**: with
the YIQ basis at 60° it sends white to (.08, 1.63, 1.52). The order here keeps luma and greys,
and is that of the authors' code.

Functions return a JAX array if any argument is one, otherwise NumPy; they work under `jit`,
`vmap` and `grad`.
"""

import dataclasses
import functools

import numpy as np

from anw_jax.keys import plan_fields
from anw_jax.marks.mark import (
    Array,
    array_namespace,
    check_input,
    check_num_slots,
    check_strength,
    pixelwise,
)

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
    """Return T⁻¹ R(θ) T, the colour matrix: `[..., 3, 3]` for angles `[...]`.

    Args:
      basis: T, `[3, 3]`; its rows are the new axes in RGB.
      degrees: angles; any real numbers, 360 is a full turn.

    Example:
      >>> lct_matrix(np.eye(3), 90.0).round(3).tolist()
      [[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]
      >>> import jax
      >>> slope = jax.jacfwd(lct_matrix, argnums=1)(np.eye(3), 0.0)  # per degree
      >>> round(float(slope[2, 1]), 4)
      0.0175
    """
    return matrix_at(lct_terms(basis), degrees)


def lct_terms(basis: Array) -> Array:
    """Return A, B, C `[3, 3, 3]` with T⁻¹ R(θ) T = A + cos θ · B + sin θ · C."""
    xp = array_namespace(basis)
    basis = xp.asarray(basis, float)
    rotation = xp.asarray(_ROTATION, float)
    if xp is np:
        return np.linalg.inv(basis) @ rotation @ basis
    import jax

    with jax.default_matmul_precision("highest"):
        return xp.linalg.inv(basis) @ rotation @ basis


def matrix_at(terms: Array, degrees: float | Array) -> Array:
    """Return the colour matrices `[..., 3, 3]` at angles `[...]` from `lct_terms`."""
    xp = array_namespace(terms, degrees)
    # Not in half precision, which would round angles to whole degrees.
    theta = xp.deg2rad(xp.asarray(degrees, float))
    fixed, even, odd = xp.asarray(terms, float).reshape(3, *(1,) * theta.ndim, 3, 3)
    theta = theta[..., None, None]
    return fixed + xp.cos(theta) * even + xp.sin(theta) * odd


def apply_lct(matrix: Array, image: Array) -> Array:
    """Apply a 3×3 colour matrix to a float image `[..., 3]` and clip to [0, 1].

    Example:
      >>> apply_lct(np.diag([1.0, 2.0, -1.0]), np.array([0.5, 0.75, 0.25])).tolist()
      [0.5, 1.0, 0.0]
    """
    xp = array_namespace(matrix, image)
    return xp.clip(_product(xp.asarray(matrix, image.dtype), image), 0, 1)


def _product(matrix: Array, image: Array) -> Array:
    """Multiply every pixel by `matrix`; both of one dtype."""
    if array_namespace(matrix, image) is np:
        return image @ matrix.T
    # Column by column: XLA fuses these sums with the surrounding operations, which on CPU is 4
    # times faster than a matrix product of width 3. They are exact for integers, and keep full
    # float32 precision on accelerators whose matrix products do not.
    columns = matrix.T.reshape(3, *(1,) * (image.ndim - 1), 3)
    red, green, blue = image[..., :1], image[..., 1:2], image[..., 2:]
    return red * columns[0] + green * columns[1] + blue * columns[2]


def _turned(image: Array, matrix: Array, shift: Array) -> Array:
    """Apply a fixed-point colour matrix to an 8-bit image, clip and round."""
    xp = array_namespace(image, matrix)
    half = xp.left_shift(np.int32(1), shift - np.int32(1))
    sums = _product(matrix, image.astype(np.int32)) + half
    # NumPy scalars as bounds: for Python integers NumPy would check the dtype's range.
    return xp.clip(sums >> shift, np.int32(0), np.int32(255)).astype(np.uint8)


class LinearColorMark:
    """Base class of LCT marks; a subclass defines `basis` and `description`."""

    @property
    def basis(self) -> np.ndarray:
        """T, float64 `[3, 3]`; its rows are the new axes in RGB."""
        raise NotImplementedError(f"{type(self).__name__} must define its colour basis")

    @property
    def description(self) -> str:
        """Public identifier of the mark, as recorded in plans and commitments."""
        raise NotImplementedError(f"{type(self).__name__} must define its description")

    @property
    def least_side(self) -> int:
        """See `Mark.least_side`."""
        return 1

    @property
    def marks_grey(self) -> bool:
        """See `Mark.marks_grey`: True for a basis whose first axis is not grey."""
        return True

    def mark(self, image: Array, degrees: float | Array) -> Array:
        """Mark one image.

        Args:
          image: float `[H, W, 3]` in [0, 1], NumPy or JAX. Use `jax.vmap` for a batch; the
            result is differentiable in the angle and the pixels.
          degrees: the signature, a scalar; any real number, 360 is a full turn.

        Returns:
          The marked image, same shape and dtype, in [0, 1].

        Raises:
          TypeError: pixels that are not float.
          ValueError: not a colour image with channels last, values outside [0, 1], or an
            angle that is not one finite number (under a JAX transformation, only shapes and
            dtypes are checked).
        """
        check_input(image, degrees)
        return self.mark_pixels(image, degrees, self.constants)

    @functools.cached_property
    def terms(self) -> np.ndarray:
        """`lct_terms` of the basis, float64 `[3, 3, 3]`."""
        return lct_terms(self.basis)

    @property
    def constants(self) -> np.ndarray:
        """Parameters of `mark_pixels`: the terms."""
        return self.terms

    @staticmethod
    def mark_pixels(image: Array, degrees: float | Array, constants: Array) -> Array:
        """Mark one image as the linear colour mark with these `constants`."""
        return apply_lct(matrix_at(constants, degrees), image)

    def matrix(self, degrees: float | np.ndarray) -> np.ndarray:
        """Return `lct_matrix` of the basis: float64 `[..., 3, 3]` for angles `[...]`."""
        return matrix_at(self.terms, degrees)

    # Fixed point, for `publish`: the same integers on every machine.

    @functools.cached_property
    def shift(self) -> int:
        """Number of fractional bits of the matrices: the largest that cannot overflow int32."""
        fixed, even, odd = self.terms
        largest_row = (np.abs(fixed) + np.hypot(even, odd)).sum(axis=1).max()
        # 255 · row · 2^shift, half of 2^shift for rounding, and half a unit for the rounding
        # of each parameter (255 · 3 / 2 < 2^shift / 2, as every basis allows 10 bits).
        return int(np.floor(np.log2((2**31 - 1) / (255.0 * largest_row + 1.0))))

    def parameters(self, degrees: float | np.ndarray) -> dict[str, np.ndarray]:
        """Return fixed-point colour matrices for angles of shape `[...]`.

        Returns:
          "matrix": int32 `[..., 3, 3]`, the matrices times 2^shift; "shift": int32 `[...]`.
        """
        matrix = np.rint(self.matrix(degrees) * 2.0**self.shift).astype(np.int32)
        return {"matrix": matrix, "shift": np.full(np.shape(degrees), self.shift, np.int32)}

    @staticmethod
    def publish_pixels(image: Array, parameters: dict) -> Array:
        """Mark one 8-bit image exactly: uint8 `[H, W, 3]`, `parameters` of one angle."""
        return pixelwise(_turned, image, parameters["matrix"], parameters["shift"])


@dataclasses.dataclass(frozen=True)
class HueRotation(LinearColorMark):
    """A rotation of the hue by an angle in the YIQ colour space (eq. 3-5 of the paper).

    Before clipping it preserves luma, `.299 R + .587 G + .114 B`, and every grey; rotations
    compose by adding angles. Grey images are therefore unchanged and cannot be marked. These
    properties do not hold for colours that are clipped to [0, 1].

    This is not the HSV hue shift (`dm_pix.adjust_hue`, torchvision), which has the opposite
    sign and gives different colours.

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

    @property
    def marks_grey(self) -> bool:
        """See `Mark.marks_grey`."""
        return False


@dataclasses.dataclass(frozen=True)
class LimitedHue(HueRotation):
    """A rotation of the hue by at most `max_degrees`, for a less visible mark.

    Slot s of N is the rotation by max_degrees · s / ⌊N/2⌋, where s from N/2 on counts as s - N.
    So the slots are spread evenly over [-max_degrees, max_degrees], and slot 0 is unmarked. The
    signature is an angle in [0, 360), which selects the slot, as for the other marks. It is
    circular and the rotation is not: at 180 it jumps from the largest one to its opposite.

    Slots near 0 and N - 1 hardly change a photo, and neighbours differ little, so the evidence
    per photo is a small fraction of that of whole turns.

    Attributes:
      max_degrees: largest rotation, in (0, 180].
      num_slots: N of the signature space, 2 to 1024.

    Raises:
      TypeError, ValueError: a number out of its range.

    Example:
      >>> LimitedHue(24.0).rotation(np.array([0.0, 30.0, 150.0, 180.0, 330.0])).tolist()
      [0.0, 4.0, 20.0, -24.0, -4.0]
    """

    max_degrees: float = 25.0
    num_slots: int = 12

    def __post_init__(self):
        most = check_strength(180.0, max_degrees=self.max_degrees)
        object.__setattr__(self, "max_degrees", most)
        object.__setattr__(self, "num_slots", check_num_slots(self.num_slots))

    @property
    def description(self) -> str:
        """See `LinearColorMark.description`."""
        return f"{plan_fields.HUE_LIMITED}:{self.max_degrees!r}:{self.num_slots}"

    @property
    def constants(self) -> dict[str, np.ndarray]:
        """Parameters of `mark_pixels`: "terms", and "scale" in degrees of hue per degree."""
        largest = 360.0 * (self.num_slots // 2) / self.num_slots
        return {"terms": self.terms, "scale": np.float64(self.max_degrees / largest)}

    @staticmethod
    def mark_pixels(image: Array, degrees: float | Array, constants: dict) -> Array:
        """Rotate the hue of one image as the mark with these `constants`."""
        rotation = _signed(degrees) * constants["scale"]
        return apply_lct(matrix_at(constants["terms"], rotation), image)

    def rotation(self, degrees: float | np.ndarray) -> np.ndarray:
        """Return the rotation of the hue, in degrees, at signatures `[...]`."""
        return _signed(degrees) * self.constants["scale"]

    def matrix(self, degrees: float | np.ndarray) -> np.ndarray:
        """Return `lct_matrix` at the rotations: float64 `[..., 3, 3]`."""
        return matrix_at(self.terms, self.rotation(degrees))


def _signed(degrees: float | Array) -> Array:
    """Return angles in [-180, 180)."""
    return (array_namespace(degrees).asarray(degrees, float) + 180.0) % 360.0 - 180.0
