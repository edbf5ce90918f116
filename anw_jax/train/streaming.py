"""Training on photos that stay on disk: batches come from the host, ahead of need.

While a step runs, the next batch is on its way to the devices and those after it are being
decoded in threads. The rows of each batch are those of the batch plan, so the device sees
what it would have gathered from a set in memory, and a resumed run needs only its step.
"""

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Generator, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from anw_jax import data
from anw_jax.models import Model
from anw_jax.train.devices import replicated
from anw_jax.train.drivers import shares_threads
from anw_jax.train.recipe import PLAIN, Recipe
from anw_jax.train.settings import TrainSettings
from anw_jax.train.state import Metrics, TrainState
from anw_jax.train.step import Batch, StepFn, make_step_fn

StreamAdvanceFn = Callable[[TrainState, Iterator[Batch], jax.Array], tuple[TrainState, Metrics]]


class HostFeed:
    """Gives the batches of one run, on the devices, in the order of its steps.

    It reads on from one segment to the next; asked for any other step it starts afresh there,
    so what it gives depends on the step alone. Threads read ahead until the last step, or until
    `close`.

    Args:
      dataset: columns on the host, images a `data.StreamedImages`.
      rows_fn: `(first_step, num_steps)` to int32 `[num_steps, batch_size]`, pure.
      num_steps: of the whole run; nothing beyond is read ahead.
      mesh: the devices that share each batch.
    """

    def __init__(
        self,
        dataset: Batch,
        rows_fn: Callable[[int, int], np.ndarray],
        num_steps: int,
        mesh: Mesh,
    ) -> None:
        self._dataset, self._rows_fn = dataset, rows_fn
        self._num_steps = num_steps
        self._sharding = NamedSharding(mesh, PartitionSpec("data"))
        self._begin(range(0))

    def batches(self, first_step: int, num_steps: int) -> Iterator[Batch]:
        """The batches of steps `first_step` to `first_step + num_steps - 1`."""
        end = first_step + num_steps
        if first_step != self._next_step or end > self._end:
            self.close()
            self._begin(range(first_step, max(end, self._num_steps)))
        self._next_step = end
        return itertools.islice(self._stream, num_steps)

    def close(self) -> None:
        """Ends the threads that read ahead; asked for more batches, it begins afresh."""
        # A stream knows its feed, so nobody would end it before the garbage collector.
        self._stream.close()
        self._next_step = -1

    def _begin(self, steps: range) -> None:
        self._stream = self._sent_ahead(steps)
        self._next_step, self._end = -1, steps.stop

    def _sent_ahead(self, steps: range) -> Generator[Batch, None, None]:
        """Each batch is on its way to the devices when the one before it is handed out."""
        ahead = None
        with contextlib.closing(data.prefetch(self._read, steps)) as batches:
            for batch in batches:
                current, ahead = ahead, jax.device_put(batch, self._sharding)
                if current is not None:
                    yield current
        if ahead is not None:
            yield ahead

    def _read(self, step: int) -> Batch:
        (rows,) = self._rows_fn(step, 1)
        return jax.tree.map(lambda column: column[rows], self._dataset)


def make_stream_advance_fn(
    model: Model,
    settings: TrainSettings,
    steps_per_epoch: int,
    mesh: Mesh,
    recipe: Recipe = PLAIN,
    trainable: str = "all",
) -> StreamAdvanceFn:
    """A function that takes a step on each batch that it is given.

    Trainings that differ only in seed or data share one compilation.

    Returns:
      `(state, batches, key) -> (state, summed metrics)`; `state` is donated, `key` is the
      run's root key.
    """
    seedless = dataclasses.replace(settings, seed=0)
    return _cached_advance_fn(model, seedless, steps_per_epoch, mesh, recipe, trainable)


@functools.lru_cache(maxsize=16)
def _cached_advance_fn(
    model: Model,
    settings: TrainSettings,
    steps_per_epoch: int,
    mesh: Mesh,
    recipe: Recipe,
    trainable: str,
) -> StreamAdvanceFn:
    step_fn = make_step_fn(model, settings, steps_per_epoch, recipe, trainable)
    return _stream_loop(step_fn, mesh)


def _stream_loop(step_fn: StepFn, mesh: Mesh) -> StreamAdvanceFn:
    whole, takes_turns = replicated(mesh), shares_threads(mesh)
    jitted = jax.jit(
        functools.partial(_take_step, step_fn), donate_argnums=(0, 1), out_shardings=whole
    )

    def advance(
        state: TrainState, batches: Iterator[Batch], key: jax.Array
    ) -> tuple[TrainState, Metrics]:
        metrics = jax.device_put(Metrics.zeros(), whole)
        for batch in batches:
            state, metrics = jitted(state, metrics, batch, key)
            if takes_turns:
                jax.block_until_ready(metrics)
        return state, metrics

    return advance


def _take_step(
    step_fn: StepFn, state: TrainState, metrics: Metrics, batch: Batch, key: jax.Array
) -> tuple[TrainState, Metrics]:
    state, new = step_fn(state, batch, jax.random.fold_in(key, state.step))
    return state, jax.tree.map(jnp.add, metrics, new)
