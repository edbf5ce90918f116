"""Noise on every pixel."""

import dataclasses

import jax
import jax.numpy as jnp

from anw_jax import _check


@dataclasses.dataclass(frozen=True)
class GaussianNoise:
    """Adds N(0, std²) to each channel of each pixel, then clips to [0, 1].

    Drawn anew in each step. .1 is the value of the authors' code of the anti-neuron watermark.

    Attributes:
      std: standard deviation on the scale of [0, 1], at least 0.

    Raises:
      ValueError: if the spread is out of range.
      TypeError: if it is not a number.

    Example:
      >>> images, targets = jnp.ones((1, 8, 8, 3)) / 2, jnp.ones((1, 2)) / 2
      >>> noisy, _ = GaussianNoise(std=0.1).transform(jax.random.key(0), images, targets)
      >>> 0.08 < float(noisy.std()) < 0.12
      True
    """

    std: float = 0.1

    def __post_init__(self) -> None:
        """Refuses spreads below 0 or beyond the whole scale."""
        _check.in_interval(0.0, 1.0, std=self.std)

    def transform(
        self, key: jax.Array, images: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """See `BatchAttack.transform`; targets stay."""
        noise = self.std * jax.random.normal(key, images.shape, images.dtype)
        return jnp.clip(images + noise, 0.0, 1.0), targets
