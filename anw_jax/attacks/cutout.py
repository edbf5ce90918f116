"""A square of each image is painted over."""

import dataclasses

import jax
import jax.numpy as jnp

from anw_jax import _check
from anw_jax.attacks._boxes import box_masks, draw_centres


@dataclasses.dataclass(frozen=True)
class Cutout:
    """Paints a square of one grey over each image, at a random place.

    DeVries and Taylor 2017 (https://arxiv.org/abs/1708.04552): the centre is uniform over the
    pixels, so part of the square may lie outside. 8 pixels and grey .5 are those of the
    authors' code of the anti-neuron watermark.

    Attributes:
      size: side of the square in pixels, at least 1.
      fill: the grey, in [0, 1].

    Raises:
      ValueError: if a number is out of range.
      TypeError: if it is not a number.

    Example:
      >>> images, targets = jnp.zeros((1, 8, 8, 3)), jnp.ones((1, 2)) / 2
      >>> cut, _ = Cutout(size=16).transform(jax.random.key(0), images, targets)
      >>> float(cut.min())
      0.5
    """

    size: int = 8
    fill: float = 0.5

    def __post_init__(self) -> None:
        """Refuses squares without area and greys that no image has."""
        _check.integer_at_least(1, size=self.size)
        _check.in_interval(0.0, 1.0, fill=self.fill)

    def transform(
        self, key: jax.Array, images: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """See `BatchAttack.transform`; targets stay."""
        num_images, height, width, _ = images.shape
        centres = draw_centres(key, num_images, height, width)
        masks = box_masks(centres, jnp.full((num_images, 2), self.size), height, width)
        return jnp.where(masks[..., None], jnp.float32(self.fill), images), targets
