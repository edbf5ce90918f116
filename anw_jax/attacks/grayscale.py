"""Some images lose their colours."""

import dataclasses

import dm_pix
import jax
import jax.numpy as jnp

from anw_jax import _check


@dataclasses.dataclass(frozen=True)
class Grayscale:
    """Turns an image into its luma, with a probability, anew in each step.

    Luma is .2989 R + .587 G + .114 B (dm_pix, TensorFlow), the quantity that a hue rotation in
    YIQ keeps but for .0001: a grey copy of a marked photo is that of the original, up to
    clipping. At probability 1 nothing of the mark is left to learn, nor of any colour.

    Attributes:
      probability: in [0, 1].

    Raises:
      ValueError: if the probability is out of range.
      TypeError: if it is not a number.

    Example:
      >>> red = jnp.zeros((1, 8, 8, 3)).at[..., 0].set(1.0)
      >>> grey, _ = Grayscale(1.0).transform(jax.random.key(0), red, jnp.ones((1, 2)) / 2)
      >>> [round(float(value), 4) for value in grey[0, 0, 0]]
      [0.2989, 0.2989, 0.2989]
    """

    probability: float = 1.0

    def __post_init__(self) -> None:
        """Refuses what is no probability."""
        _check.in_interval(0.0, 1.0, probability=self.probability)

    def transform(
        self, key: jax.Array, images: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """See `BatchAttack.transform`; targets stay."""
        is_grey = jax.random.bernoulli(key, self.probability, (len(images),))
        grey = dm_pix.rgb_to_grayscale(images, keep_dims=True)
        return jnp.where(is_grey[:, None, None, None], grey, images), targets
