"""A less visible mark: the blue channel of a few secret pixels (section 5.3 of the paper)."""

import dataclasses
import functools
import hashlib
import hmac
from collections.abc import Iterator

import numpy as np

from anw_jax import _check
from anw_jax.keys import plan_fields
from anw_jax.marks.mark import Array, array_namespace, check_input, check_sub_key

_LARGEST_SIDE = 2**15  # so that the pixels of an image are numbered in 32 bits

_TAG_DRAW = b"anw_jax/v1/pixel-draw\0"
_TAG_DESCRIBE = b"anw_jax/v1/pixels\0"


@dataclasses.dataclass(frozen=True)
class PixelMark:
    """A mark that adds one value to the blue channel of secret pixels and clips to [0, 1].

    The "less noticeable" mark of Zou, Gong, Wang, "Anti-Neuron Watermarking" (ECCV 2022),
    section 5.3, https://arxiv.org/abs/2109.09023, after Yu, Tsai and Lin, "Digital
    watermarking based on neural networks for color images" (2001). The paper chooses 512
    pixels at random and gives .1, .3 and .5 as signatures, with τ = .1. It says that the
    mark "adjusts the blue channel's intensity" and does not specify whether the value is added
    to the blue or replaces it, whether it scales with luma, whether all photos have the same
    pixels, and how values beyond 1 are handled. Here it is added, independent of the luma,
    to the same pixels of all photos of an owner, and the sum is clipped.

    **The signature is given as an angle, like a hue**, so keys, slots, commitments and the
    exact test need no changes: value = `full_scale` · degrees / 360. With the default of .6,
    the paper's .1, .3 and .5 correspond to 60°, 180° and 300°, and 0 is unmarked. The distance
    |a - b| < .1 in values is then one below 60°, the τ of `SignatureSpace(3)`.

    The angular distance is circular, but the value is not: 350° (.583) and 10° (.017) are 20°
    apart and have very different values. Near the 360°/0° wrap-around, matches are therefore
    less informative, the loss is discontinuous, and adjacent slots produce very different
    images. The exact test compares slots, not degrees, and is unaffected.

    Unlike a hue, this mark changes grey photos. It changes blue ones less: where the blue is
    near 1, the sum is clipped.

    Attributes:
      sub_key: the 32 secret bytes, `mark_key.sub_key("pixels")`, that the pixels are drawn
        from. They are independent of the slots and are given to the arbitrator before
        querying. Not shown in the repr.
      height, width: the shape of the photos; other shapes have different pixels.
      num_pixels: number of pixels, drawn without replacement.
      full_scale: the value at 360°, in (0, 1].

    Raises:
      TypeError, ValueError: not 32 bytes, sides below 1 or beyond 32768, more pixels than the
        photo has, or a scale outside (0, 1].

    Example:
      >>> mark = PixelMark(bytes(32), 8, 8, num_pixels=20)
      >>> image = np.full((8, 8, 3), 0.25, np.float32)
      >>> marked = mark.mark(image, 180.0)
      >>> round(float(marked[..., 2].max()), 4), int((marked != image).sum())
      (0.55, 20)
    """

    sub_key: bytes = dataclasses.field(repr=False)
    height: int
    width: int
    num_pixels: int = 512
    full_scale: float = 0.6

    def __post_init__(self):
        check_sub_key(self.sub_key, "pixels")
        for name in ("height", "width"):
            side = _check.integer_at_least(1, **{name: getattr(self, name)})
            if side > _LARGEST_SIDE:
                raise ValueError(f"{name} must be at most {_LARGEST_SIDE}, got {side}")
            object.__setattr__(self, name, side)
        num_pixels = _check.integer_at_least(1, num_pixels=self.num_pixels)
        if num_pixels > self.height * self.width:
            raise ValueError(
                f"num_pixels must be at most height * width = {self.height * self.width}, got "
                f"{num_pixels}: choose fewer for small photos"
            )
        object.__setattr__(self, "num_pixels", num_pixels)
        _check.positive(full_scale=self.full_scale)
        full_scale = _check.in_interval(0.0, 1.0, full_scale=self.full_scale)
        object.__setattr__(self, "full_scale", full_scale)

    @property
    def least_side(self) -> int:
        """See `Mark.least_side`."""
        return min(self.height, self.width)

    @property
    def marks_grey(self) -> bool:
        """See `Mark.marks_grey`."""
        return True

    @property
    def description(self) -> str:
        """Public identifier: number of pixels, scale, and a digest of the secret pixels."""
        digest = hashlib.sha256(_TAG_DESCRIBE + self.sub_key).hexdigest()
        return f"{plan_fields.PIXEL_MARK}:{self.num_pixels}:{self.full_scale!r}:{digest}"

    @property
    def positions(self) -> np.ndarray:
        """The chosen pixels as row · width + column, int64 `[num_pixels]`, in draw order."""
        return _draw_positions(self.sub_key, self.height, self.width, self.num_pixels)

    @property
    def mask(self) -> np.ndarray:
        """Where the photo is changed, bool `[height, width]`."""
        mask = np.zeros(self.height * self.width, bool)
        mask[self.positions] = True
        return mask.reshape(self.height, self.width)

    def value_of(self, degrees: float | np.ndarray) -> np.ndarray:
        """Return the value that an angle adds to the blue channel, in [0, full_scale).

        Example:
          >>> mark = PixelMark(bytes(32), 32, 32)
          >>> mark.value_of([0, 60, 180, 300, 420]).round(6).tolist()
          [0.0, 0.1, 0.3, 0.5, 0.1]
        """
        return _added_value(np.asarray(degrees, np.float64), self.full_scale)

    def degrees_of(self, value: float | np.ndarray) -> np.ndarray:
        """Return the angle in degrees of a value in [0, full_scale); the inverse of `value_of`.

        Raises:
          ValueError: a value outside [0, full_scale).

        Example:
          >>> PixelMark(bytes(32), 32, 32).degrees_of([0.1, 0.3, 0.5]).round(6).tolist()
          [60.0, 180.0, 300.0]
        """
        values = np.asarray(value, np.float64)
        if not ((values >= 0) & (values < self.full_scale)).all():
            raise ValueError(f"value must lie in [0, {self.full_scale:g}), got {value}")
        return values / self.full_scale * 360.0

    def mark(self, image: Array, degrees: float | Array) -> Array:
        """Mark one image; arguments, result and errors as for `LinearColorMark.mark`.

        The derivative with respect to the angle is full_scale / 360 at each chosen pixel that
        is not clipped, and 0 elsewhere.

        Raises:
          ValueError: also if the shape of the image is not `[height, width, 3]`.
        """
        check_input(image, degrees)
        return self.mark_pixels(image, degrees, self.constants)

    @property
    def constants(self) -> dict[str, np.ndarray]:
        """Parameters of `mark_pixels`: "mask" bool `[height, width]`, "full_scale" float64."""
        return {"mask": self.mask, "full_scale": np.float64(self.full_scale)}

    @staticmethod
    def mark_pixels(image: Array, degrees: float | Array, constants: dict) -> Array:
        """Mark one image as the pixel mark with these `constants`."""
        mask, full_scale = constants["mask"], constants["full_scale"]
        _check_shape(image, mask)
        xp = array_namespace(image, degrees, mask)
        wide = np.promote_types(image.dtype, np.float32)
        value = _added_value(xp.asarray(degrees, wide), xp.asarray(full_scale, wide))
        value = value.astype(image.dtype)
        blue = xp.minimum(image[..., 2] + xp.where(mask, value, 0), 1)
        return xp.stack([image[..., 0], image[..., 1], blue], axis=-1)

    def parameters(self, degrees: float | np.ndarray) -> dict[str, np.ndarray]:
        """Return integer tables for angles of shape `[...]`.

        Returns:
          "level": int32 `[...]`, the value in steps of 1/255, rounded to even at halves;
          "mask": bool `[..., height, width]`, the same for all angles (one copy in memory).
        """
        levels = np.rint(255.0 * self.value_of(degrees)).astype(np.int32)
        mask = np.broadcast_to(self.mask, (*levels.shape, self.height, self.width))
        return {"level": levels, "mask": mask}

    @staticmethod
    def publish_pixels(image: Array, parameters: dict) -> Array:
        """Mark one 8-bit image exactly: uint8 `[H, W, 3]`, `parameters` of one angle."""
        level, mask = parameters["level"], parameters["mask"]
        _check_shape(image, mask)
        xp = array_namespace(image, mask)
        added = xp.where(mask, level, np.int32(0))
        blue = xp.minimum(image[..., 2].astype(np.int32) + added, np.int32(255))
        return xp.stack([image[..., 0], image[..., 1], blue.astype(np.uint8)], axis=-1)


def _added_value(degrees: Array, full_scale: float | Array) -> Array:
    """Return the value that an angle adds, in [0, full_scale)."""
    turns = degrees % 360.0 / 360.0
    # A tiny negative angle modulo 360 rounds to 360, which is the same as 0.
    return array_namespace(degrees, full_scale).where(turns < 1, turns, 0.0) * full_scale


def _check_shape(image: Array, mask: Array) -> None:
    """Raise ValueError unless image and mask have the same height and width."""
    if tuple(image.shape) != (*mask.shape, 3):
        raise ValueError(
            f"image must have shape {(*mask.shape, 3)}, for which this mark's pixels were "
            f"chosen, got {tuple(image.shape)}"
        )


@functools.lru_cache(maxsize=4096)
def _draw_positions(sub_key: bytes, height: int, width: int, num_pixels: int) -> np.ndarray:
    """Draw the first `num_pixels` of a keyed shuffle (Fisher and Yates; Durstenfeld 1964)."""
    prefix = _TAG_DRAW + height.to_bytes(4, "big") + width.to_bytes(4, "big")
    words = _words(sub_key, prefix)
    left = np.arange(height * width)
    for i in range(num_pixels):
        j = i + _below(len(left) - i, words)
        left[i], left[j] = left[j], left[i]
    chosen = left[:num_pixels].copy()
    chosen.flags.writeable = False  # the cached array is shared
    return chosen


def _below(bound: int, words: Iterator[int]) -> int:
    """Draw a uniform number in [0, bound), by rejection."""
    limit = 2**32 // bound * bound
    return next(word for word in words if word < limit) % bound


def _words(sub_key: bytes, prefix: bytes) -> Iterator[int]:
    """Yield uniform 32-bit words: HMAC-SHA-256 in counter mode."""
    counter = 0
    while True:
        block = hmac.digest(sub_key, prefix + counter.to_bytes(4, "big"), "sha256")
        yield from np.frombuffer(block, ">u4").tolist()
        counter += 1
