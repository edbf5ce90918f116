"""Brightness, contrast, saturation and hue of each image move at random."""

import dataclasses

import dm_pix
import jax
import jax.numpy as jnp

from anw_jax import _check
from anw_jax.marks import HueRotation, apply_lct, lct_matrix


@dataclasses.dataclass(frozen=True)
class ColorJitter:
    """Moves the colours of each image, anew in each step.

    In this order, clipped to [0, 1] after each: brightness, `x + u` with u uniform in
    ±brightness; contrast, `m + f (x - m)` about each channel's mean m, f uniform in
    1 ± contrast; saturation of HSV times f, f uniform in 1 ± saturation; hue, turned by an
    angle uniform in ±hue of a full turn.

    **Hue is turned in YIQ, as the mark turns it**, which is what the paper does ("the same hue
    transformation we used for watermarking", section 5.3) and the hardest case for the owner:
    the jittered mark is another mark, and at hue = .5 all marks are equally likely in every
    step. `dm_pix.adjust_hue` (like torchvision and TensorFlow) shifts the hue of HSV
    instead, with the opposite sign and other colours; it would leave a marked photo beside the
    marks, and the test would be easier to pass than it should.

    The other three are dm_pix's, which follow TensorFlow. Other than in torchvision, brightness
    is added and not multiplied, contrast is about each channel's mean, saturation is
    that of HSV and the order is fixed.

    Attributes:
      brightness: half-range of the shift on the scale of [0, 1], in [0, 1].
      contrast: half-range of the factor, in [0, 1].
      saturation: half-range of the factor, in [0, 1].
      hue: half-range as a fraction of a full turn, in [0, .5]; .5 = any hue.

    Raises:
      ValueError: if a number is out of range.
      TypeError: if it is not a number.

    Example:
      >>> ColorJitter(hue=0.5)
      ColorJitter(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.5)
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self) -> None:
        """Refuses ranges beyond the scale of each quantity."""
        _check.in_interval(0.0, 1.0, brightness=self.brightness)
        _check.in_interval(0.0, 1.0, contrast=self.contrast)
        _check.in_interval(0.0, 1.0, saturation=self.saturation)
        _check.in_interval(0.0, 0.5, hue=self.hue)

    def transform(
        self, key: jax.Array, images: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """See `BatchAttack.transform`; targets stay."""
        draws = jax.random.uniform(key, (4, len(images)), jnp.float32, -1.0, 1.0)
        adjustments = (
            (dm_pix.adjust_brightness, self.brightness, 0.0),
            (dm_pix.adjust_contrast, self.contrast, 1.0),
            (dm_pix.adjust_saturation, self.saturation, 1.0),
            (_turn_hue, 360.0 * self.hue, 0.0),
        )
        for draw, (adjust, half_range, middle) in zip(draws, adjustments, strict=True):
            if half_range > 0.0:
                # dm_pix 0.4.5 adds a bool to a float, which strict promotion refuses.
                with jax.numpy_dtype_promotion("standard"):
                    moved = jax.vmap(adjust)(images, middle + half_range * draw)
                images = jnp.clip(moved, 0.0, 1.0)
        return images, targets


def _turn_hue(image: jax.Array, degrees: jax.Array) -> jax.Array:
    return apply_lct(lct_matrix(HueRotation().basis, degrees), image)
