"""A box of each image comes from another, and so does its share of the target."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from anw_jax import _check
from anw_jax.attacks._boxes import box_masks, draw_centres
from anw_jax.attacks._partners import blend, draw_partners, draw_shares


@dataclasses.dataclass(frozen=True)
class Cutmix:
    """Pastes a box of another image; the target follows the pixels that are left.

    Yun et al. 2019 (https://arxiv.org/abs/1905.04899), section 3.1: λ ~ Beta(α, α), a box of
    √(1 - λ) of each side, rounded down, its centre uniform over the pixels, cut off at the
    border; the target is mixed by the pixels really kept. λ, box and partner are drawn for
    each image; the authors' code draws one λ and box for the batch.

    Attributes:
      alpha: of the Beta distribution, above 0; 1 = uniform, as in the paper.

    Raises:
      ValueError: if `alpha` is out of range.
      TypeError: if it is not a number.

    Example:
      >>> Cutmix()
      Cutmix(alpha=1.0)
    """

    mixes_examples: ClassVar[bool] = True

    alpha: float = 1.0

    def __post_init__(self) -> None:
        """Refuses what is no parameter of a Beta distribution."""
        _check.positive(alpha=self.alpha)

    def transform(
        self, key: jax.Array, images: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """See `BatchAttack.transform`."""
        share_key, centre_key, partner_key = jax.random.split(key, 3)
        num_images, height, width, _ = images.shape
        share = draw_shares(share_key, self.alpha, num_images)
        size = jnp.array([[height, width]], jnp.float32)
        sides = jnp.floor(jnp.sqrt(1.0 - share)[:, None] * size).astype(jnp.int32)
        centres = draw_centres(centre_key, num_images, height, width)
        is_pasted = box_masks(centres, sides, height, width)
        partners = draw_partners(partner_key, num_images)
        kept = 1.0 - is_pasted.astype(jnp.float32).mean(axis=(1, 2))
        pasted = jnp.where(is_pasted[..., None], images[partners], images)
        return pasted, blend(targets, targets[partners], kept)
