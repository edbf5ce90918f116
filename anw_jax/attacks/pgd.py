"""Adversarial training with several steps."""

import dataclasses

import jax

from anw_jax import _check, train
from anw_jax.attacks._adversarial import ascend, with_adversary, within


@dataclasses.dataclass(frozen=True)
class Pgd:
    """Trains on what projected gradient ascent in an L∞ ball makes of each image.

    Madry et al. 2018 (https://arxiv.org/abs/1706.06083), section 2.1 and eq. 2.1: from a
    uniform place in the ball, `num_steps` times x ← project(x + α sign(∇ loss)), where the
    projection is on the ball about the image and on [0, 1]. The defaults are theirs for CIFAR.
    The network is used as in `Fgsm`. A step of training costs `num_steps` + 1 gradients.

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
        """Refuses a ball or steps that cannot be meant."""
        _check.in_interval(0.0, 1.0, epsilon=self.epsilon)
        _check.positive(step_size=self.step_size)
        _check.integer_at_least(1, num_steps=self.num_steps)

    def add_to(self, recipe: train.Recipe) -> train.Recipe:
        """The recipe with this adversary.

        Raises:
          ValueError: if it has one already.
        """
        return with_adversary(recipe, self)

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
