"""Which rows each step of training sees, as a pure function of (seed, epoch, step)."""

import dataclasses
import functools

import numpy as np

from anw_jax import _check
from anw_jax.data import _random


@functools.lru_cache(maxsize=4)
def _epoch_order(seed: int, epoch: int, num_examples: int) -> np.ndarray:
    order = _random.permutation(seed, epoch, num_examples)
    order.flags.writeable = False  # it is shared by all who ask
    return order


@dataclasses.dataclass(frozen=True)
class BatchPlan:
    """The order of training rows; to resume it needs the step number and nothing else.

    Epoch `e` goes through the permutation drawn from `fold_in(key(seed), e)`, so each
    row is seen at most once per epoch; the last, partial batch is dropped.

    Attributes:
      num_examples: rows of the training set, at least `batch_size`.
      batch_size: rows of a step.
      seed: integer in `[0, 2**32)`.

    Raises:
      ValueError: if a number is out of range.

    Example:
      >>> plan = BatchPlan(num_examples=10, batch_size=4, seed=0)
      >>> plan.steps_per_epoch, plan.rows(first_step=1, num_steps=3).shape
      (2, (3, 4))
    """

    num_examples: int
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        _check.integer_at_least(1, batch_size=self.batch_size)
        _check.integer_at_least(1, num_examples=self.num_examples)
        _random.check_seed(self.seed)
        if self.num_examples < self.batch_size:
            raise ValueError(
                f"batch_size must be at most num_examples = {self.num_examples}, "
                f"got {self.batch_size}"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in one pass."""
        return self.num_examples // self.batch_size

    def indices(self, epoch: int, step_in_epoch: int) -> np.ndarray:
        """Returns int32 `[batch_size]` rows of one step.

        Args:
          epoch: from 0.
          step_in_epoch: in `[0, steps_per_epoch)`.

        Raises:
          ValueError: if either is out of range.
        """
        epoch = _check.integer_at_least(0, epoch=epoch)
        step = _check.integer_at_least(0, step_in_epoch=step_in_epoch)
        if step >= self.steps_per_epoch:
            raise ValueError(f"step_in_epoch must be below {self.steps_per_epoch}, got {step}")
        order = _epoch_order(self.seed, epoch, self.num_examples)
        return order[step * self.batch_size : (step + 1) * self.batch_size]

    def rows(self, first_step: int, num_steps: int) -> np.ndarray:
        """Returns int32 `[num_steps, batch_size]` rows from global step `first_step` on.

        Args:
          first_step: counted from 0 across epochs.
          num_steps: at least 1; may cross the end of an epoch.

        Raises:
          ValueError: if either is out of range.
        """
        first_step = _check.integer_at_least(0, first_step=first_step)
        num_steps = _check.integer_at_least(1, num_steps=num_steps)
        steps = range(first_step, first_step + num_steps)
        return np.stack([self.indices(*divmod(s, self.steps_per_epoch)) for s in steps])
