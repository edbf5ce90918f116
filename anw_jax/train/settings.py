"""How a classifier is trained: plain values, its learning rate and its optimizer."""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from anw_jax import _check

SCHEDULES = ("step", "cosine")


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """Settings of SGD; the defaults are those of the paper's ResNet-18.

    Attributes:
      learning_rate: peak learning rate.
      momentum: of SGD, in [0, 1).
      nesterov: whether the momentum is Nesterov's.
      weight_decay: added to the gradient of every parameter, before momentum.
      batch_size: images per optimizer step, over all devices together.
      num_epochs: passes over the training images.
      schedule: "step" (x 0.1 after each third of the epochs) or "cosine" (to 0).
      warmup_epochs: epochs of linear growth from 0, within `num_epochs`.
      crop_padding: black pixels around an image before its random crop; 0 = no crop.
      flip: whether half the images, chosen at random, are mirrored.
      label_smoothing: mass moved from the label to all classes, in [0, 1).
      seed: of initial parameters and augmentation.

    Raises:
      ValueError: if a number is out of range or a name unknown.
      TypeError: if a number is not a number.

    Example:
      >>> TrainSettings(batch_size=100).num_steps(num_images=4_000)
      3600
    """

    learning_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 5e-4
    batch_size: int = 256
    num_epochs: int = 90
    schedule: str = "step"
    warmup_epochs: int = 0
    crop_padding: int = 4
    flip: bool = True
    label_smoothing: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check each setting."""
        _check.positive(learning_rate=self.learning_rate)
        _check.in_interval(0.0, 0.9999, momentum=self.momentum)
        _check.is_instance(bool, nesterov=self.nesterov)
        _check.in_interval(0.0, 1.0, weight_decay=self.weight_decay)
        _check.integer_at_least(1, batch_size=self.batch_size)
        _check.integer_at_least(1, num_epochs=self.num_epochs)
        _check.one_of(SCHEDULES, schedule=self.schedule)
        _check.integer_at_least(0, warmup_epochs=self.warmup_epochs)
        _check.integer_at_least(0, crop_padding=self.crop_padding)
        _check.is_instance(bool, flip=self.flip)
        _check.in_interval(0.0, 0.9999, label_smoothing=self.label_smoothing)
        _check.integer_at_least(0, seed=self.seed)
        if self.warmup_epochs >= self.num_epochs:
            raise ValueError(
                f"warmup_epochs must be below num_epochs = {self.num_epochs}, "
                f"got {self.warmup_epochs}"
            )

    def steps_per_epoch(self, num_images: int) -> int:
        """Return the steps of an epoch; images beyond its full batches are left for the next.

        Raises:
          ValueError: if there are fewer images than one batch holds.
        """
        if num_images < self.batch_size:
            raise ValueError(
                f"batch_size must be at most the number of training images {num_images}, "
                f"got {self.batch_size}"
            )
        return num_images // self.batch_size

    def num_steps(self, num_images: int) -> int:
        """Return the optimizer steps of the whole training."""
        return self.num_epochs * self.steps_per_epoch(num_images)


def learning_rate_fn(settings: TrainSettings, steps_per_epoch: int) -> optax.Schedule:
    """Return the learning rate at each optimizer step.

    "step" multiplies by 0.1 after each third of the epochs (at 30 and 60 of 90, as in
    He et al. 2016, https://arxiv.org/abs/1512.03385); "cosine" falls to 0 (Loshchilov and
    Hutter 2017, https://arxiv.org/abs/1608.03983). Warm-up epochs come first and count
    towards `num_epochs`.

    Args:
      settings: the schedule and its rates.
      steps_per_epoch: optimizer steps in one epoch.

    Returns:
      A function from a step (counted from 0) to a float32 learning rate.

    Example:
      >>> schedule = learning_rate_fn(TrainSettings(), steps_per_epoch=10)
      >>> [round(float(schedule(step)), 4) for step in (0, 299, 300, 899)]
      [0.1, 0.1, 0.01, 0.001]
    """
    num_steps = settings.num_epochs * steps_per_epoch
    num_warmup = settings.warmup_epochs * steps_per_epoch
    peak = settings.learning_rate
    warmup = optax.linear_schedule(0.0, peak, num_warmup)
    if settings.schedule == "cosine":
        parts = [warmup, optax.cosine_decay_schedule(peak, num_steps - num_warmup)]
        joined = optax.join_schedules(parts, [num_warmup])
    else:
        levels = [optax.constant_schedule(peak * factor) for factor in (1.0, 0.1, 0.01)]
        thirds = [max(num_warmup, num_steps * third // 3) for third in (1, 2)]
        joined = optax.join_schedules([warmup, *levels], [num_warmup, *thirds])

    def schedule(step: jax.typing.ArrayLike) -> jax.Array:
        # Optax divides the step by a float, which strict promotion rejects for an integer.
        return joined(jnp.asarray(step, jnp.float32))

    return schedule


def optimizer(settings: TrainSettings, steps_per_epoch: int) -> optax.GradientTransformation:
    """Return SGD as in PyTorch: weight decay is added to the gradient, then comes momentum."""
    return optax.chain(
        optax.add_decayed_weights(settings.weight_decay),
        optax.sgd(
            learning_rate_fn(settings, steps_per_epoch),
            settings.momentum,
            settings.nesterov,
        ),
    )
