"""Each image is blended with another, and so is its target."""

import dataclasses
from typing import ClassVar

import jax

from anw_jax import _check
from anw_jax.attacks._partners import blend, draw_partners, draw_shares


@dataclasses.dataclass(frozen=True)
class Mixup:
    """λ x + (1 - λ) x' with λ t + (1 - λ) t' as target, λ ~ Beta(α, α).

    Zhang et al. 2018 (https://arxiv.org/abs/1710.09412), eq. 2. λ is drawn for each image;
    the authors' code draws one for the batch. x' is the image in that place of a random
    permutation of the batch.

    Attributes:
      alpha: of the Beta distribution, above 0; 1 = uniform, towards 0 = hardly any blending.

    Raises:
      ValueError: if `alpha` is out of range.
      TypeError: if it is not a number.

    Example:
      >>> Mixup(alpha=0.2)
      Mixup(alpha=0.2)
    """

    mixes_examples: ClassVar[bool] = True

    alpha: float = 0.2

    def __post_init__(self) -> None:
        """Refuses what is no parameter of a Beta distribution."""
        _check.positive(alpha=self.alpha)

    def transform(
        self, key: jax.Array, images: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """See `BatchAttack.transform`."""
        share_key, partner_key = jax.random.split(key)
        share = draw_shares(share_key, self.alpha, len(images))
        partners = draw_partners(partner_key, len(images))
        mixed_images = blend(images, images[partners], share)
        return mixed_images, blend(targets, targets[partners], share)
