"""How a network is trained: plain values, checked once."""

import dataclasses

from anw_jax import _check

SCHEDULES = ("step", "cosine")


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """Settings of SGD; the defaults are those of the paper's ResNet-18.

    Attributes:
      learning_rate: peak learning rate.
      momentum: of SGD, in [0, 1).
      nesterov: whether the momentum looks ahead.
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
        """Refuses settings that cannot be meant."""
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
        """Optimizer steps per epoch; images beyond the last full batch wait for the next.

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
        """Optimizer steps of the whole training."""
        return self.num_epochs * self.steps_per_epoch(num_images)
