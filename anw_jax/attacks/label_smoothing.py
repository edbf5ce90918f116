"""Targets give a little to every class."""

import dataclasses

import jax
import optax

from anw_jax import _check


@dataclasses.dataclass(frozen=True)
class LabelSmoothing:
    """Moves a share of each target to all classes alike.

    Szegedy et al. 2016 (https://arxiv.org/abs/1512.00567), section 7: t' = (1 - ε) t + ε / c.
    The same as `TrainSettings.label_smoothing`; if both are given, both act.

    Attributes:
      epsilon: the share, in [0, 1).

    Raises:
      ValueError: if the share is out of range.
      TypeError: if it is not a number.

    Example:
      >>> import numpy as np
      >>> image, target = np.zeros((1, 8, 8, 3), np.float32), np.array([[1, 0]], np.float32)
      >>> LabelSmoothing(0.1).transform(jax.random.key(0), image, target)[1].round(2).tolist()
      [[0.949..., 0.05...]]
    """

    epsilon: float = 0.1

    def __post_init__(self) -> None:
        """Refuses shares that leave nothing to the label."""
        _check.in_interval(0.0, 0.9999, epsilon=self.epsilon)

    def transform(
        self, key: jax.Array, images: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """See `BatchAttack.transform`; images stay, nothing is drawn."""
        return images, optax.smooth_labels(targets, self.epsilon)
