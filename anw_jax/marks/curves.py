"""Marks that change all pixels of a photo by one rule: a tone curve, or a tint."""

import dataclasses

import numpy as np

from anw_jax.keys import plan_fields
from anw_jax.marks.mark import (
    Array,
    array_namespace,
    at_angle,
    check_input,
    check_num_slots,
    check_strength,
    pixelwise,
)

# Coefficients are stored as integers in steps of 255 / 2^20, so that a · x · (255 - x) stays
# below 2^27 and the division is a shift.
_SHIFT = 20

# Two shifts of RGB along which mid-grey moves by equal CIEDE2000, at right angles (1.5 a* and
# b* of CIELAB for sRGB), without changing luma. The largest channel of any mixture is 1.
_CHROMA = np.array([[0.6198, -0.3008, -0.0767], [0.4644, -0.0429, -0.9970]])


class _Directions:
    """Base class: slot s of N is a direction on a circle, and slot 0 its centre (unmarked).

    The signature is an angle, as for the other marks; between slots the directions are
    interpolated.
    """

    strength: float
    num_slots: int

    def _check(self, most: float) -> None:
        object.__setattr__(self, "strength", check_strength(most, strength=self.strength))
        object.__setattr__(self, "num_slots", check_num_slots(self.num_slots))

    @property
    def least_side(self) -> int:
        """See `Mark.least_side`."""
        return 1

    @property
    def marks_grey(self) -> bool:
        """See `Mark.marks_grey`."""
        return True

    def mark(self, image: Array, degrees: float | Array) -> Array:
        """Mark one image; arguments, result and errors as for `LinearColorMark.mark`."""
        check_input(image, degrees)
        return self.mark_pixels(image, degrees, self.constants)

    @staticmethod
    def mark_pixels(image: Array, degrees: float | Array, constants: Array) -> Array:
        raise NotImplementedError("a mark must define mark_pixels")

    @property
    def constants(self) -> np.ndarray:
        """The mark's direction of each slot, times the strength, float64 `[num_slots, …]`."""
        angles = 2 * np.pi / (self.num_slots - 1) * np.arange(self.num_slots - 1)
        circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        return self.strength * np.concatenate([np.zeros((1, 2)), circle])

    def integers(self, degrees: float | np.ndarray) -> np.ndarray:
        """Return the directions at angles `[...]`, int32 `[..., …]` in steps of 255 / 2^20."""
        direction = at_angle(self.constants, degrees)
        return np.rint(direction * (2.0**_SHIFT / 255.0)).astype(np.int32)


@dataclasses.dataclass(frozen=True)
class Tone(_Directions):
    """A mark that changes the tone curve of a photo: a little lighter, darker, softer, harder.

    Each channel value x in [0, 1] becomes

        x + x · (1 - x) · (a + c · (2x - 1)),

    where a lightens, and c raises the contrast. The curve keeps black, white, the order of
    values, and every grey. In slot s, (a, c / √7) has length `strength` and its own direction,
    so that all slots have the same root mean square change over even values, strength · .18.

    The curve does not depend on the place, so it survives cropping, flipping and resizing.
    Grey photos can be marked, and training on grey images does not remove the mark.

    Attributes:
      strength: in (0, .35]; with more, some curves would not keep the order of values.
      num_slots: N of the signature space, 2 to 1024.

    Raises:
      TypeError, ValueError: a number out of its range.

    Example:
      >>> image = np.full((1, 1, 3), [0.0, 0.5, 1.0], np.float32)
      >>> Tone(0.2).mark(image, 30.0).ravel().tolist()
      [0.0, 0.550000011920929, 1.0]
    """

    strength: float = 0.15
    num_slots: int = 12

    def __post_init__(self):
        self._check(plan_fields.MOST_TONE)

    @property
    def description(self) -> str:
        """Public identifier of the mark, as recorded in plans."""
        return f"{plan_fields.TONE}:{self.strength!r}:{self.num_slots}"

    @property
    def constants(self) -> np.ndarray:
        """The coefficients a and c of each slot, float64 `[num_slots, 2]`."""
        return super().constants * [1.0, np.sqrt(7.0)]

    @staticmethod
    def mark_pixels(image: Array, degrees: float | Array, constants: Array) -> Array:
        """Apply to one image the tone curve given by `constants`."""
        xp = array_namespace(image, degrees, constants)
        light, contrast = at_angle(xp.asarray(constants, image.dtype), degrees)
        return image + image * (1 - image) * (light + contrast * (2 * image - 1))

    def parameters(self, degrees: float | np.ndarray) -> dict[str, np.ndarray]:
        """Return the curves at angles of shape `[...]`.

        Returns:
          "curve": uint8 `[..., 256]`, the new value of each level.
        """
        light, contrast = np.moveaxis(self.integers(degrees).astype(np.int64), -1, 0)
        level = np.arange(256)
        slope = light[..., None] * 255 + contrast[..., None] * (2 * level - 255)
        moved = level * (255 - level) * slope + (255 << (_SHIFT - 1))
        return {"curve": (level + moved // (255 << _SHIFT)).astype(np.uint8)}

    @staticmethod
    def publish_pixels(image: Array, parameters: dict) -> Array:
        """Mark one 8-bit image exactly: uint8 `[H, W, 3]`, `parameters` of one angle."""
        curve = parameters["curve"]
        if array_namespace(image, curve) is not np:
            return curve[image.astype(np.int32)]
        # Ten times as fast as indexing, and without an index of 8 bytes for each value.
        marked = bytearray(image.tobytes()).translate(curve.tobytes())
        return np.frombuffer(marked, np.uint8).reshape(image.shape)


@dataclasses.dataclass(frozen=True)
class Tint(_Directions):
    """A mark that shifts all colours of a photo a little in one direction of chroma.

    Each pixel v in [0, 1]³ becomes

        v + w(v) · d,  w(v) = min over channels of v (1 - v).

    The weight is 1/4 at mid-grey and 0 where a channel is at an end of its range, so no value
    is clipped. The direction d has no luma (`.299 R + .587 G + .114 B`), which is therefore
    kept up to rounding, and its own angle in each slot. Mid-grey changes by a CIEDE2000 of
    about 37 · strength in every slot.

    The shift does not depend on the place, so it survives cropping, flipping and resizing. It
    tints grey photos, and training on grey images removes the mark, as does white balance.

    Attributes:
      strength: largest channel of the largest d, in (0, 1].
      num_slots: N of the signature space, 2 to 1024.

    Raises:
      TypeError, ValueError: a number out of its range.

    Example:
      >>> grey = np.full((1, 1, 3), 0.5)
      >>> Tint(0.1).mark(grey, 30.0).round(4).ravel().tolist()
      [0.5155, 0.4925, 0.4981]
    """

    strength: float = 0.2
    num_slots: int = 12

    def __post_init__(self):
        self._check(1.0)

    @property
    def description(self) -> str:
        """Public identifier of the mark, as recorded in plans."""
        return f"{plan_fields.TINT}:{self.strength!r}:{self.num_slots}"

    @property
    def constants(self) -> np.ndarray:
        """The direction d of each slot, float64 `[num_slots, 3]`."""
        return super().constants @ _CHROMA

    @staticmethod
    def mark_pixels(image: Array, degrees: float | Array, constants: Array) -> Array:
        """Apply to one image the tint given by `constants`."""
        xp = array_namespace(image, degrees, constants)
        direction = at_angle(xp.asarray(constants, image.dtype), degrees).reshape(1, 1, 3)
        room = image * (1 - image)
        weight = _least([room[..., i] for i in range(3)])
        return image + weight[..., None] * direction

    def parameters(self, degrees: float | np.ndarray) -> dict[str, np.ndarray]:
        """Return integer tables for angles of shape `[...]`.

        Returns:
          "direction": int32 `[..., 3]`, d in steps of 255 / 2^20.
        """
        return {"direction": self.integers(degrees)}

    @staticmethod
    def publish_pixels(image: Array, parameters: dict) -> Array:
        """Mark one 8-bit image exactly: uint8 `[H, W, 3]`, `parameters` of one angle."""
        return pixelwise(_tinted, image, parameters["direction"])


def _tinted(image: Array, direction: Array) -> Array:
    """Compute v + w(v) · d in integers; the result is always in [0, 255]."""
    # Channel by channel, which in NumPy takes half as long as arrays whose last axis is 3.
    channels = [image[..., i].astype(np.int32) for i in range(3)]
    weight = _least([level * (np.int32(255) - level) for level in channels])
    half, shift = np.int32(1 << (_SHIFT - 1)), np.int32(_SHIFT)
    moved = [
        (level + ((weight * direction[i] + half) >> shift)).astype(np.uint8)
        for i, level in enumerate(channels)
    ]
    return array_namespace(image, direction).stack(moved, axis=-1)


def _least(channels: list[Array]) -> Array:
    """Return the least of three arrays, elementwise."""
    xp = array_namespace(*channels)
    return xp.minimum(xp.minimum(channels[0], channels[1]), channels[2])
