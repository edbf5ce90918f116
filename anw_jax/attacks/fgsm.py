"""Adversarial training with one step."""

import dataclasses

import jax

from anw_jax import _check, train
from anw_jax.attacks._adversarial import ascend, with_adversary, within


@dataclasses.dataclass(frozen=True)
class Fgsm:
    """Trains on x + ε sign(∇ loss), clipped to [0, 1], in place of x.

    Goodfellow, Shlens, Szegedy 2015 (https://arxiv.org/abs/1412.6572), section 4. Only the
    perturbed images are learnt from (there, half the loss is of clean ones). .1 is
    the value of the authors' code of the anti-neuron watermark; 8 / 255 is usual for CIFAR.

    The gradient is that of the network as the step uses it: BatchNorm takes the statistics of
    the batch (running averages say little in the first epochs, and lag behind a perturbed
    batch), its moved averages are dropped, and units are dropped under a key of its own. The
    averages that evaluation uses are those of perturbed batches. Where only the head is
    trained, all is in evaluation mode.

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
        """Refuses a radius below 0 or beyond the whole scale."""
        _check.in_interval(0.0, 1.0, epsilon=self.epsilon)

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
        moved = ascend(lambda moved: loss_fn(key, moved), images, self.epsilon)
        return within(moved, images, self.epsilon)
