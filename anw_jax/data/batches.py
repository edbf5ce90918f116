"""Batches: the rows of each training step, and reading ahead in threads (Grain)."""

import dataclasses
import functools
import os
import types
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np

from anw_jax import _check, errors

_Item = TypeVar("_Item")
# Decoders release Python's lock, so threads suffice; processes would need absl's flags parsed.
_MOST_THREADS = 16


@functools.lru_cache(maxsize=4)
def _epoch_order(seed: int, epoch: int, num_examples: int) -> np.ndarray:
    order = permutation(seed, epoch, num_examples)
    order.flags.writeable = False  # it is cached
    return order


@dataclasses.dataclass(frozen=True)
class BatchPlan:
    """The order of training rows, a pure function of seed and step number.

    Epoch `e` follows the permutation drawn from `fold_in(key(seed), e)`, so each row is seen
    at most once per epoch; the last, partial batch is dropped.

    Attributes:
      num_examples: rows of the training set, at least `batch_size`.
      batch_size: rows per step.
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
        check_seed(self.seed)
        if self.num_examples < self.batch_size:
            raise ValueError(
                f"batch_size must be at most num_examples = {self.num_examples}, "
                f"got {self.batch_size}"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Number of full batches in one epoch."""
        return self.num_examples // self.batch_size

    def indices(self, epoch: int, step_in_epoch: int) -> np.ndarray:
        """Return the rows of one step, int32 `[batch_size]`.

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
        """Return the rows of several steps, int32 `[num_steps, batch_size]`.

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


def _grain() -> types.ModuleType:
    try:
        import grain
    except ImportError:
        raise errors.SourceError(
            "reading images ahead needs Grain: pip install 'grain>=0.2.18,<0.3'"
        ) from None
    return grain


def padded_rows(num_rows: int, batch_size: int) -> Iterator[np.ndarray]:
    """Give all rows in order, int32 `[batch_size]` at a time, so that one shape is traced.

    The last batch is filled by repeating the last row: drop those results.

    Example:
      >>> [rows.tolist() for rows in padded_rows(5, 3)]
      [[0, 1, 2], [3, 4, 4]]
    """
    for first in range(0, num_rows, batch_size):
        rows = np.arange(first, first + batch_size, dtype=np.int32)
        yield np.minimum(rows, num_rows - 1)


def prefetch(
    read_fn: Callable[[int], _Item], steps: range, num_threads: int | None = None
) -> Iterator[_Item]:
    """Call `read_fn` on each step, ahead of need in threads; yield results in order.

    As many results are buffered as there are threads. The threads end with the iterator: at its
    last step, when it is closed, or when it is garbage-collected.

    Args:
      read_fn: a pure function of the step, safe to call from several threads at once.
      steps: the arguments of `read_fn`, in order.
      num_threads: at least 1; None for one per processor, at most 16.

    Returns:
      An iterator of `read_fn(step)`.

    Raises:
      SourceError: if Grain is not installed.
      ValueError: if `num_threads` is below 1.

    Example:
      >>> list(prefetch(lambda step: step**2, range(3, 6)))
      [9, 16, 25]
    """
    _check.is_instance(range, steps=steps)
    if num_threads is None:
        num_threads = min(_MOST_THREADS, os.cpu_count() or 1)
    num_threads = _check.integer_at_least(1, num_threads=num_threads)
    return _read_ahead(_grain(), read_fn, steps, num_threads)


def _read_ahead(
    grain: types.ModuleType, read_fn: Callable[[int], _Item], steps: range, num_threads: int
) -> Iterator[_Item]:
    def read(step: int) -> tuple[_Item | None, Exception | None]:
        # Grain adds a note to errors that pass through it.
        try:
            return read_fn(step), None
        except Exception as error:
            return None, error

    options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=num_threads)
    iterator = iter(grain.MapDataset.source(steps).map(read).to_iter_dataset(options))
    try:
        for item, error in iterator:
            if error is not None:
                raise error
            yield item
    finally:
        iterator.close()


def check_seed(seed: int) -> int:
    """Check that a seed is an integer in [0, 2**32), so that no two seeds coincide."""
    seed = _check.integer_at_least(0, seed=seed)
    if seed >= 2**32:
        raise ValueError(f"seed must be below 2**32, got {seed}")
    return seed


def permutation(seed: int, stream: int, num: int) -> np.ndarray:
    """Return permutation number `stream` of `seed`, int32 `[num]`."""
    # The implementation is named because JAX's default is a setting of the caller.
    import jax  # not on import: a process that only marks photos needs none

    key = jax.random.fold_in(jax.random.key(int(seed), impl="threefry2x32"), stream)
    return np.asarray(jax.random.permutation(key, num)).astype(np.int32)
