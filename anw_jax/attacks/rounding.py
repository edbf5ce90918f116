"""Answers are probabilities with a few decimals."""

import dataclasses

import jax
import jax.numpy as jnp

from anw_jax import _check
from anw_jax.attacks.kinds import Material, TrainedModel

# Beyond it float32 has no more digits to round.
_MOST_DECIMALS = 6


@dataclasses.dataclass(frozen=True)
class Rounding:
    """Rounds the probabilities that go online, to the nearest with `decimals` decimals.

    One of the defences of Shokri et al. 2017 (https://arxiv.org/abs/1610.05820, section 7.1,
    "coarsen precision"). A probability rounded to 0 would be an infinite loss; it is read as
    half a unit of the last decimal, 10^-d / 2, the largest value that rounds to 0. Halves go to
    the even neighbour. Rounded probabilities need not sum to 1; who asks for a loss divides by
    their sum, as every softmax does. Losses are then equal for many signatures, and ties count
    against the claim. The gradient of an answer is 0.

    Attributes:
      decimals: d, 1 to 6.

    Raises:
      ValueError: if `decimals` is out of range.
      TypeError: if it is not an integer.

    Example:
      >>> sure = jax.tree_util.Partial(lambda images: jnp.log(jnp.array([[0.0004, 0.9996]])))
      >>> jnp.exp(rounded_predict_fn(sure, 2)(None)).round(4).tolist()
      [[0.004999..., 1.0]]
    """

    decimals: int = 2

    def __post_init__(self) -> None:
        """Refuses decimals that float32 does not have."""
        _check.integer_at_least(1, decimals=self.decimals)
        if self.decimals > _MOST_DECIMALS:
            raise ValueError(f"decimals must be at most {_MOST_DECIMALS}, got {self.decimals}")

    def change(self, suspect: TrainedModel, material: Material) -> TrainedModel:
        """The same weights behind rounded answers; `material` is not used."""
        predict = rounded_predict_fn(suspect.predict, self.decimals)
        return dataclasses.replace(suspect, predict=predict)


def rounded_predict_fn(predict: jax.tree_util.Partial, decimals: int) -> jax.tree_util.Partial:
    """`predict` with answers log(max(round(p, decimals), 10^-decimals / 2)).

    The unit is an argument, so all precisions compile once.
    """
    return jax.tree_util.Partial(_rounded, predict, jnp.float32(10**decimals))


def _rounded(predict: jax.tree_util.Partial, units: jax.Array, images: jax.Array) -> jax.Array:
    """`units` is the number of units of the last decimal in 1."""
    probabilities = jax.nn.softmax(predict(images).astype(jnp.float32))
    counts = jnp.rint(probabilities * units)
    return jnp.log(jnp.maximum(counts, jnp.float32(0.5)) / units)
