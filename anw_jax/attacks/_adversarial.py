"""What adversaries of training share: one step against the network, and their place."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from anw_jax import train


def ascend(
    loss_fn: Callable[[jax.Array], jax.Array], images: jax.Array, step_size: float
) -> jax.Array:
    """Moves every channel of every pixel by `step_size` to where the loss grows."""
    return images + step_size * jnp.sign(jax.grad(loss_fn)(images))


def within(images: jax.Array, centres: jax.Array, epsilon: float) -> jax.Array:
    """The nearest images in [0, 1] that differ by at most `epsilon` from `centres`."""
    low = jnp.maximum(centres - epsilon, 0.0)
    high = jnp.minimum(centres + epsilon, 1.0)
    return jnp.clip(images, low, high)


def with_adversary(recipe: train.Recipe, adversary: train.Adversary) -> train.Recipe:
    """The recipe with an adversary.

    Raises:
      ValueError: if it has one already.
    """
    if recipe.adversary is not None:
        raise ValueError(
            f"a recipe must have one adversary at most, got {recipe.adversary!r} and "
            f"{adversary!r}"
        )
    return dataclasses.replace(recipe, adversary=adversary)
