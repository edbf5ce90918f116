"""Publicly seeded small changes of a picture, the same for all slots of an image."""

import dataclasses
import hashlib
import struct

import numpy as np

from anw_jax import _check

_TAG = b"anw_jax/v1/augmentation\0"


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Shift, mirror and noise, on 8-bit pixels; declared in the plan.

    A model that answers with one label gives one bit per question. Asked about several small
    changes of a picture it gives a count: how far the picture lies inside its class. The
    changes are drawn from a public seed and the *unmarked* original, so that all slots of an
    image get the same ones and the owner's key decides nothing. Change 0 leaves the picture as
    it is.

    Integers throughout and SHAKE-256 as the source: the same bytes on any machine, for ever.

    Attributes:
      max_shift: largest shift along each axis, as a share of the side, in [0, 0.5]; edges are
        filled by reflection.
      mirror: whether a change may flip left and right (with probability 1/2).
      noise_levels: each value moves by a whole number drawn from ± this many of 255 levels.

    Example:
      >>> picture = np.full((4, 4, 3), 100, np.uint8)
      >>> change = Augmentation(noise_levels=3)
      >>> draws = change.draw(b"seed", picture, 1)
      >>> bool((change.apply(picture, draws) != picture).any())
      True
      >>> bool((change.apply(picture, change.draw(b"seed", picture, 0)) == picture).all())
      True
    """

    max_shift: float = 0.125
    mirror: bool = True
    noise_levels: int = 8

    def __post_init__(self):
        _check.in_interval(0.0, 0.5, max_shift=self.max_shift)
        _check.is_instance(bool, mirror=self.mirror)
        if _check.integer_at_least(0, noise_levels=self.noise_levels) > 127:
            raise ValueError(f"noise_levels must be at most 127, got {self.noise_levels}")

    def draw(self, seed: bytes, original: np.ndarray, number: int) -> "Draw":
        """Change `number` of a uint8 `[H, W, 3]` original; depends on nothing else."""
        if number == 0:
            return Draw(0, 0, False, None)
        height, width, _ = original.shape
        head = struct.pack(">QQQQ", len(seed), height, width, number)
        stream = hashlib.shake_256(_TAG + head + seed + original.tobytes())
        drawn = np.frombuffer(stream.digest(8 + original.size), np.uint8)
        first = [int(byte) for byte in drawn[:4]]
        down = _one_of(self._reach(height), first[0] * 256 + first[1])
        right = _one_of(self._reach(width), first[2] * 256 + first[3])
        noise = None
        if self.noise_levels:
            # At most 255 · 255, and then within ± 127: a large photo has many of these.
            levels = drawn[8:] * np.uint16(2 * self.noise_levels + 1) // np.uint16(256)
            noise = (levels.astype(np.int16) - self.noise_levels).astype(np.int8)
            noise = noise.reshape(original.shape)
        return Draw(down, right, self.mirror and bool(drawn[4] & 1), noise)

    def apply(self, image: np.ndarray, draw: "Draw") -> np.ndarray:
        """The changed picture, uint8 `[H, W, 3]`: shifted, mirrored, with noise, clipped."""
        if draw.down or draw.right:
            rows = _reflected(image.shape[0], draw.down)
            image = image[rows][:, _reflected(image.shape[1], draw.right)]
        if draw.is_mirrored:
            image = image[:, ::-1]
        if draw.noise is not None:
            image = np.clip(image + draw.noise, 0, 255).astype(np.uint8)
        return image

    def _reach(self, side: int) -> int:
        return min(int(self.max_shift * side), side - 1)


@dataclasses.dataclass(frozen=True, eq=False)
class Draw:
    """One change: shifts in pixels, whether mirrored, int8 noise `[H, W, 3]` or None."""

    down: int
    right: int
    is_mirrored: bool
    noise: np.ndarray | None


def _one_of(reach: int, drawn: int) -> int:
    """A whole number in ±reach from 16 random bits (uneven by less than 1 in 65,536 / reach).

    Evenness is a matter of taste here: no error rate rests on these draws.
    """
    return int(drawn * (2 * reach + 1) // 65536 - reach)


def _reflected(side: int, shift: int) -> np.ndarray:
    """Indices of a shifted axis, reflected at its ends."""
    places = np.abs(np.arange(side) - shift)
    return np.where(places < side, places, 2 * (side - 1) - places)
