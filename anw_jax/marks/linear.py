"""Linear colour transformation: rotate the chroma plane of a colour basis (eq. 3-5)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax.marks._input import Array, check_input, library_of, wide_dtype


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
          ValueError: not a colour picture with channels last, values outside [0, 1], or an
            angle that is not one finite number (values are not seen, and so not checked,
            under a JAX transformation).
        """
        check_input(image, degrees)
        return self.mark_unchecked(image, degrees)

    def mark_unchecked(self, image: Array, degrees: float | Array) -> Array:
        """`mark` without looking at the values; for inner loops."""
        return self.mark_pixels(image, degrees, self.constants)

    @property
    def constants(self) -> dict[str, np.ndarray]:
        """The three matrices of `mark_pixels`, float64 `[3, 3]`."""
        return dict(zip(("fixed", "even", "odd"), self._terms, strict=True))

    @staticmethod
    def mark_pixels(image: Array, degrees: float | Array, constants: dict) -> Array:
        """The map of any linear colour mark, given its `constants`."""
        xp = library_of(image, degrees, *constants.values())
        wide = wide_dtype(image)
        theta = xp.asarray(degrees, wide) * xp.asarray(np.pi / 180.0, wide)
        fixed, even, odd = (xp.asarray(constants[k], wide) for k in ("fixed", "even", "odd"))
        matrix = fixed + xp.cos(theta) * even + xp.sin(theta) * odd
        return xp.clip(_turn(image, matrix.astype(image.dtype)), 0, 1)

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
        """Fractional bits of the matrices: as many as int32 sums of three pixels allow."""
        return _shift_of_basis(self.basis.tobytes())

    def parameters(self, degrees: float | np.ndarray) -> dict[str, np.ndarray]:
        """Fixed-point pixel maps for angles of shape `[...]`.

        Returns:
          "matrix": int32 `[..., 3, 3]`, the pixel maps times 2^shift; "shift": int32 `[...]`.
        """
        matrix = np.rint(self.matrix(degrees) * 2.0**self.shift).astype(np.int32)
        return {"matrix": matrix, "shift": np.full(np.shape(degrees), self.shift, np.int32)}

    @staticmethod
    def publish_pixels(image: Array, parameters: dict) -> Array:
        """Marks one 8-bit picture exactly: uint8 `[H, W, 3]`, `parameters` of one angle."""
        matrix, shift = parameters["matrix"], parameters["shift"]
        xp = library_of(image, matrix)
        half = xp.left_shift(np.int32(1), shift - np.int32(1))
        sums = _turn(image.astype(np.int32), matrix) + half
        # For bounds that are Python's integers NumPy would look up the dtype's range each time.
        return xp.clip(sums >> shift, np.int32(0), np.int32(255)).astype(np.uint8)


def _turn(image: Array, matrix: Array) -> Array:
    """`matrix` applied to every pixel: `[..., 3]` and `[3, 3]` of one dtype."""
    if not (isinstance(image, jax.Array) or isinstance(matrix, jax.Array)):
        return image @ matrix.T
    # Written out: XLA fuses the sums with what stands before and after, which on CPU is 8-15
    # times faster than a matrix product of width 3. It also has one answer for integers,
    # whose matrix products some accelerators lack.
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    rows = [matrix[i, 0] * red + matrix[i, 1] * green + matrix[i, 2] * blue for i in range(3)]
    return jnp.stack(rows, axis=-1)


@functools.lru_cache(maxsize=4096)
def _shift_of_basis(basis_bytes: bytes) -> int:
    """The largest shift for which no sum of `publish_pixels` leaves int32."""
    fixed, even, odd = _terms_of_basis(basis_bytes)
    largest_row = (np.abs(fixed) + np.hypot(even, odd)).sum(axis=1).max()
    # 255 · row · 2^shift, half of 2^shift for rounding, and half a unit for the rounding of
    # each parameter (255 · 3 / 2 < 2^shift / 2, as every basis allows at least 10 bits).
    return int(np.floor(np.log2((2**31 - 1) / (255.0 * largest_row + 1.0))))


@functools.lru_cache(maxsize=4096)
def _terms_of_basis(basis_bytes: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The matrices A, B, C with T⁻¹ R(θ) T = A + cos θ · B + sin θ · C."""
    basis = np.frombuffer(basis_bytes, np.float64).reshape(3, 3)
    inverse = np.linalg.inv(basis)
    axis = np.diag([1.0, 0.0, 0.0])
    plane = np.diag([0.0, 1.0, 1.0])
    quarter_turn = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    return tuple(inverse @ term @ basis for term in (axis, plane, quarter_turn))
