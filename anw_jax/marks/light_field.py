"""A low-frequency brightness mark ("dodge and burn")."""

import dataclasses
import functools
import hashlib
import hmac

import numpy as np

from anw_jax import _check
from anw_jax.keys import plan_fields
from anw_jax.marks.mark import (
    Array,
    array_namespace,
    at_angle,
    check_input,
    check_num_slots,
    check_strength,
    check_sub_key,
    strips,
)

_TAG_DRAW = b"anw_jax/v1/light-draw\0"
_TAG_DESCRIBE = b"anw_jax/v1/light\0"

MOST_CELLS = 64
_LARGEST_SIDE = 2**16

# The curve's coefficient a is stored as an integer in steps of 255 / 2^20, so that
# a · x · (255 - x) stays below 2^27 and the division is a shift.
_CURVE_SHIFT = 20
_WEIGHT_SHIFT = 8


@dataclasses.dataclass(frozen=True)
class LightField:
    """A mark that modulates brightness with a smooth pattern selected by the signature.

    The image is divided into cells x cells. Each signature has a sign for each cell; between
    cell centres the signs are interpolated linearly, which gives a field a(u, v) in
    [-strength, strength]. Each channel value x in [0, 1] becomes

        x + a(u, v) · x · (1 - x),

    a tone curve that preserves black, white, the order of values, and every grey. Mid-tones
    change most, by at most strength / 4. No value is clipped.

    The field is defined relative to the image size, so it survives resizing. It is in the
    luminance: grey photos can be marked, and training on grey images does not remove the mark.

    **Signatures are angles, as for hues**, so keys, slots, commitments and the exact test need
    no changes: slot s of `SignatureSpace(num_slots)` has pattern s, and slot 0 none. Between
    slots the patterns are interpolated. Each cell is lightened in half of the patterns and
    darkened in the others (one more or less if their number is odd), so that patterns differ
    from each other more than independent draws.

    Attributes:
      sub_key: the 32 secret bytes, `mark_key.sub_key("light")`, that the patterns are drawn
        from. They are independent of the slots and are given to the arbitrator before
        querying. Not shown in the repr: a learner who knew them could remove the mark.
      strength: largest |a|, in (0, 1].
      cells: number of cells along each side, 2 to 64; at most the number of pixels.
      num_slots: N of the signature space, 2 to 1024.

    Raises:
      TypeError, ValueError: not 32 bytes, or a number out of its range.

    Example:
      >>> mark = LightField(bytes(32), strength=0.2)
      >>> grey = np.full((32, 32, 3), 0.5, np.float32)
      >>> marked = mark.mark(grey, 60.0)
      >>> round(float(abs(marked - grey).max()), 3), bool(np.ptp(marked, axis=-1).max() == 0)
      (0.05, True)
    """

    sub_key: bytes = dataclasses.field(repr=False)
    strength: float = 0.29
    cells: int = 16
    num_slots: int = 12

    def __post_init__(self):
        check_sub_key(self.sub_key, "light")
        cells = _check.integer_at_least(2, cells=self.cells)
        if cells > MOST_CELLS:
            raise ValueError(f"cells must be at most {MOST_CELLS}, got {cells}")
        object.__setattr__(self, "cells", cells)
        object.__setattr__(self, "strength", check_strength(1.0, strength=self.strength))
        object.__setattr__(self, "num_slots", check_num_slots(self.num_slots))

    @property
    def description(self) -> str:
        """Public identifier; its digest commits to the patterns without revealing them."""
        digest = hashlib.sha256(_TAG_DESCRIBE + self.sub_key).hexdigest()
        numbers = f"{self.strength!r}:{self.cells}:{self.num_slots}"
        return f"{plan_fields.LIGHT_FIELD}:{numbers}:{digest}"

    @property
    def least_side(self) -> int:
        """See `Mark.least_side`: one pixel for each cell."""
        return self.cells

    @property
    def marks_grey(self) -> bool:
        """See `Mark.marks_grey`."""
        return True

    @functools.cached_property
    def patterns(self) -> np.ndarray:
        """The sign of each cell, int8 `[num_slots, cells, cells]`; zeros at slot 0."""
        signs = _draw_signs(self.sub_key, self.num_slots - 1, self.cells)
        unmarked = np.zeros((1, self.cells, self.cells), np.int8)
        return np.concatenate([unmarked, signs])

    def mark(self, image: Array, degrees: float | Array) -> Array:
        """Mark one image; arguments, result and errors as for `LinearColorMark.mark`.

        Raises:
          ValueError: also if a side of the image has fewer pixels than cells.
        """
        check_input(image, degrees)
        return self.mark_pixels(image, degrees, self.constants)

    @property
    def constants(self) -> np.ndarray:
        """The field at the cell centres, float64 `[num_slots, cells, cells]`."""
        return self.strength * self.patterns.astype(np.float64)

    @staticmethod
    def mark_pixels(image: Array, degrees: float | Array, constants: Array) -> Array:
        """Apply the light field given by `constants` to one image."""
        xp = array_namespace(image, degrees, constants)
        cells = at_angle(xp.asarray(constants, image.dtype), degrees)
        field = _interpolate(cells, image.shape[0], image.shape[1]).astype(image.dtype)
        return image + field[..., None] * image * (1 - image)

    def parameters(self, degrees: float | np.ndarray) -> dict[str, np.ndarray]:
        """Return integer tables for angles of shape `[...]`.

        Returns:
          "cells": int32 `[..., cells, cells]`, the field at the cell centres in steps of
          255 / 2^20.
        """
        cells = at_angle(self.constants, degrees)
        return {"cells": np.rint(cells * (2.0**_CURVE_SHIFT / 255.0)).astype(np.int32)}

    @staticmethod
    def publish_pixels(image: Array, parameters: dict) -> Array:
        """Mark one 8-bit image exactly: uint8 `[H, W, 3]`, `parameters` of one angle."""
        cells = parameters["cells"]
        height, width, _ = image.shape
        columns = _interpolate_axis(_weights(width, cells.shape[-1]), cells.swapaxes(-1, -2))
        rows = _weights(height, cells.shape[-2])
        if array_namespace(image, cells) is not np:
            return _curve(image, _interpolate_axis(rows, columns.swapaxes(-1, -2)))
        marked = np.empty_like(image)
        columns = np.ascontiguousarray(columns.T)
        for strip in strips(image):
            field = _interpolate_axis([each[strip] for each in rows], columns)
            marked[strip] = _curve(image[strip], field)
        return marked


def _curve(image: Array, field: Array) -> Array:
    """Compute x + a · x · (255 - x) / 255 in integers; the result is always in [0, 255]."""
    levels = image.astype(np.int32)
    moved = levels * (np.int32(255) - levels) * field[..., None]
    moved += np.int32(1 << (_CURVE_SHIFT - 1))
    return (levels + (moved >> np.int32(_CURVE_SHIFT))).astype(np.uint8)


def _weights(num_pixels: int, num_cells: int) -> list[np.ndarray]:
    """Compute each pixel's two neighbouring cells and the weight of the second.

    Returns:
      Three arrays int32 `[num_pixels]`: cell before, cell after, weight of the latter in 1/256.

    Raises:
      ValueError: fewer pixels than cells, or more than 65536.
    """
    if not num_cells <= num_pixels <= _LARGEST_SIDE:
        raise ValueError(
            f"an image's sides must have {num_cells} (one for each cell of the light field) to "
            f"{_LARGEST_SIDE} pixels, got {num_pixels}"
        )
    one = 1 << _WEIGHT_SHIFT
    middles = (2 * np.arange(num_pixels, dtype=np.int64) + 1) * num_cells * one
    position = middles // (2 * num_pixels) - one // 2
    before = position >> _WEIGHT_SHIFT
    last = num_cells - 1
    cells = np.clip(before, 0, last), np.clip(before + 1, 0, last)
    return [each.astype(np.int32) for each in (*cells, position & (one - 1))]


def _interpolate_axis(weights: list[np.ndarray], cells: Array) -> Array:
    """Interpolate integers `[cells, …]` along their first axis, rounded half up."""
    before, after, share = weights
    share = share.reshape(-1, *(1,) * (cells.ndim - 1))
    one = np.int32(1 << _WEIGHT_SHIFT)
    total = cells[before] * (one - share) + cells[after] * share
    return (total + one // 2) >> np.int32(_WEIGHT_SHIFT)


def _interpolate(cells: Array, height: int, width: int) -> Array:
    """Interpolate the field in float: `[height, width]` from `[cells, cells]`."""
    for size in (height, width):
        before, after, share = _weights(size, cells.shape[0])
        share = (share / 2.0**_WEIGHT_SHIFT).astype(cells.dtype)[:, None]
        cells = (cells[before] * (1 - share) + cells[after] * share).T
    return cells


def _draw_signs(sub_key: bytes, num_patterns: int, cells: int) -> np.ndarray:
    """Draw balanced signs in random order per cell, int8 `[num_patterns, cells, cells]`."""
    num_cells = cells * cells
    size = 8 * num_patterns * num_cells
    stream = _stream(sub_key, size).view(">u8").reshape(num_cells, num_patterns)
    # The order of independent 64-bit numbers is uniform; a tie has a probability of 2^-40.
    ranks = np.argsort(np.argsort(stream, axis=1, kind="stable"), axis=1)
    # With an odd number of patterns, a separate bit of the stream decides the surplus sign.
    odd = (stream[:, :1] & np.uint64(1)).astype(np.int64) * (num_patterns % 2)
    signs = np.where(2 * ranks < num_patterns - odd, 1, -1)
    return signs.T.reshape(num_patterns, cells, cells).astype(np.int8)


def _stream(sub_key: bytes, size: int) -> np.ndarray:
    """Return uint8 `[size]` of HMAC-SHA-256 in counter mode."""
    blocks = [
        hmac.digest(sub_key, _TAG_DRAW + counter.to_bytes(4, "big"), "sha256")
        for counter in range(-(-size // 32))
    ]
    return np.frombuffer(b"".join(blocks), np.uint8)[:size]
