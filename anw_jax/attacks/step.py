"""Attacks on the training step: adversarial training with one gradient or several."""

import dataclasses
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from anw_jax import _check, train


class _Adversary:
    """Base class of the adversaries of this file."""

    def add_to(self, recipe: train.Recipe) -> train.Recipe:
        """Return the recipe with this adversary.

        Raises:
          ValueError: if it has one already.
        """
        if recipe.adversary is not None:
            raise ValueError(
                f"a recipe must have one adversary at most, got {recipe.adversary!r} and "
                f"{self!r}"
            )
        return dataclasses.replace(recipe, adversary=self)


@dataclasses.dataclass(frozen=True)
class Fgsm(_Adversary):
    """Trains on x + ε sign(∇ loss), clipped to [0, 1], in place of x.

    Goodfellow, Shlens, Szegedy 2015 (https://arxiv.org/abs/1412.6572), section 4. Only the
    perturbed images are trained on (there, half the loss is of clean ones). .1 is
    the value of the authors' code of the anti-neuron watermark; 8 / 255 is usual for CIFAR.

    The gradient is that of the network in training mode: BatchNorm uses the statistics of the
    batch (running averages are unreliable in the first epochs, and lag behind a perturbed
    batch), its updated averages are discarded, and dropout has a separate key. The averages
    that evaluation uses are those of perturbed batches. Where only the head is trained, the
    network is in evaluation mode.

    Attributes:
      epsilon: radius of the L∞ ball on the scale of [0, 1].

    Raises:
      ValueError: if the radius is out of range.
      TypeError: if it is not a number.

    Example:
      >>> Fgsm(epsilon=0.1).add_to(train.Recipe()).adversary
      Fgsm(epsilon=0.1)
    """

    epsilon: float = 0.1

    def __post_init__(self) -> None:
        """Check the radius."""
        _check.in_interval(0.0, 1.0, epsilon=self.epsilon)

    def perturb(
        self, key: jax.Array, images: jax.Array, loss_fn: train.ImageLossFn
    ) -> jax.Array:
        """See `train.Adversary.perturb`."""
        moved = ascend(lambda moved: loss_fn(key, moved), images, self.epsilon)
        return within(moved, images, self.epsilon)


@dataclasses.dataclass(frozen=True)
class Pgd(_Adversary):
    """Trains on images found by projected gradient ascent in an L∞ ball around each image.

    Madry et al. 2018 (https://arxiv.org/abs/1706.06083), section 2.1 and eq. 2.1: from a
    uniform point in the ball, `num_steps` times x ← project(x + α sign(∇ loss)), where the
    projection is onto the ball about the image and onto [0, 1]. The defaults are theirs for
    CIFAR. The network is used as in `Fgsm`. A training step costs `num_steps` + 1 gradients.

    Attributes:
      epsilon: radius of the ball on the scale of [0, 1].
      step_size: α, on the same scale, above 0.
      num_steps: at least 1.

    Raises:
      ValueError: if a number is out of range.
      TypeError: if it is not a number.

    Example:
      >>> Pgd(epsilon=0.1, step_size=0.02, num_steps=3).num_steps
      3
    """

    epsilon: float = 8 / 255
    step_size: float = 2 / 255
    num_steps: int = 7

    def __post_init__(self) -> None:
        """Check radius and steps."""
        _check.in_interval(0.0, 1.0, epsilon=self.epsilon)
        _check.positive(step_size=self.step_size)
        _check.integer_at_least(1, num_steps=self.num_steps)

    def perturb(
        self, key: jax.Array, images: jax.Array, loss_fn: train.ImageLossFn
    ) -> jax.Array:
        """See `train.Adversary.perturb`."""
        start_key, loss_key = jax.random.split(key)
        shift = jax.random.uniform(
            start_key, images.shape, images.dtype, -self.epsilon, self.epsilon
        )

        def climb(index: jax.Array, moved: jax.Array) -> jax.Array:
            step_key = jax.random.fold_in(loss_key, index)
            moved = ascend(lambda moved: loss_fn(step_key, moved), moved, self.step_size)
            return within(moved, images, self.epsilon)

        start = within(images + shift, images, self.epsilon)
        return jax.lax.fori_loop(0, self.num_steps, climb, start)


def ascend(
    loss_fn: Callable[[jax.Array], jax.Array], images: jax.Array, step_size: float
) -> jax.Array:
    """Move every channel of every pixel by `step_size` to where the loss is higher."""
    return images + step_size * jnp.sign(jax.grad(loss_fn)(images))


def within(images: jax.Array, centres: jax.Array, epsilon: float) -> jax.Array:
    """Return the nearest images in [0, 1] that differ by at most `epsilon` from `centres`."""
    chex.assert_equal_shape([images, centres])
    low = jnp.maximum(centres - epsilon, 0.0)
    high = jnp.minimum(centres + epsilon, 1.0)
    return jnp.clip(images, low, high)
