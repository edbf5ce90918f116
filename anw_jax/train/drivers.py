"""Two ways to take many steps: from Python, or in one loop on the device.

On accelerators a loop on the device ("scan") saves a dispatch per step. On CPU the
gradients of convolutions are 11-26 times slower inside such a loop than in the same step
called from Python ("loop"; measured with jax 0.10.2 on two cores).
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh

from anw_jax import _check
from anw_jax.models import Model
from anw_jax.train.devices import replicated, split_last_axis
from anw_jax.train.recipe import PLAIN, Recipe
from anw_jax.train.settings import TrainSettings
from anw_jax.train.state import Metrics, TrainState
from anw_jax.train.step import Batch, StepFn, make_step_fn

DRIVERS = ("auto", "loop", "scan")
# The device loop has one shape, whatever the number of steps, so it compiles once.
MAX_SEGMENT_STEPS = 2048

AdvanceFn = Callable[[TrainState, Batch, np.ndarray, jax.Array], tuple[TrainState, Metrics]]


def resolve_driver(driver: str, is_streamed: bool = False) -> str:
    """The driver that "auto" stands for on this machine.

    Streamed images have one of their own, "stream": `anw_jax.train.streaming`.
    """
    if is_streamed:
        _check.one_of(("auto", "stream"), **{"driver of streamed images": driver})
        return "stream"
    _check.one_of(DRIVERS, driver=driver)
    if driver != "auto":
        return driver
    return "loop" if jax.default_backend() == "cpu" else "scan"


def make_advance_fn(
    driver: str,
    model: Model,
    settings: TrainSettings,
    steps_per_epoch: int,
    mesh: Mesh,
    recipe: Recipe = PLAIN,
    trainable: str = "all",
) -> AdvanceFn:
    """A function that takes the steps of one segment.

    Trainings that differ only in seed or data share one compilation.

    Returns:
      `(state, dataset, rows, key) -> (state, summed metrics)`; `state` is donated, `rows`
      are int32 `[num_steps, batch_size]` on the host, `key` is the run's root key.
    """
    seedless = dataclasses.replace(settings, seed=0)
    return _cached_advance_fn(driver, model, seedless, steps_per_epoch, mesh, recipe, trainable)


@functools.lru_cache(maxsize=16)
def _cached_advance_fn(
    driver: str,
    model: Model,
    settings: TrainSettings,
    steps_per_epoch: int,
    mesh: Mesh,
    recipe: Recipe,
    trainable: str,
) -> AdvanceFn:
    step_fn = make_step_fn(model, settings, steps_per_epoch, recipe, trainable)
    return (_python_loop if driver == "loop" else _device_loop)(step_fn, mesh)


def _take_step(
    step_fn: StepFn,
    state: TrainState,
    metrics: Metrics,
    dataset: Batch,
    row: jax.Array,
    key: jax.Array,
) -> tuple[TrainState, Metrics]:
    batch = jax.tree.map(lambda leaf: leaf[row], dataset)
    state, new = step_fn(state, batch, jax.random.fold_in(key, state.step))
    return state, jax.tree.map(jax.numpy.add, metrics, new)


def shares_threads(mesh: Mesh) -> bool:
    """Whether two steps in flight can wait for each other for ever.

    Sums over several CPU devices share a few threads (seen on two busy cores); accelerators
    have queues of their own.
    """
    return mesh.size > 1 and mesh.devices.flat[0].platform == "cpu"


def _python_loop(step_fn: StepFn, mesh: Mesh) -> AdvanceFn:
    row_sharding, whole = split_last_axis(mesh, 1), replicated(mesh)
    takes_turns = shares_threads(mesh)
    jitted = jax.jit(
        functools.partial(_take_step, step_fn), donate_argnums=(0, 1), out_shardings=whole
    )

    def advance(
        state: TrainState, dataset: Batch, rows: np.ndarray, key: jax.Array
    ) -> tuple[TrainState, Metrics]:
        metrics = jax.device_put(Metrics.zeros(), whole)
        for row in rows:
            on_device = jax.device_put(row, row_sharding)
            state, metrics = jitted(state, metrics, dataset, on_device, key)
            if takes_turns:
                jax.block_until_ready(metrics)
        return state, metrics

    return advance


def _device_loop(step_fn: StepFn, mesh: Mesh) -> AdvanceFn:
    row_sharding, whole = split_last_axis(mesh, 2), replicated(mesh)

    def many(
        state: TrainState, dataset: Batch, rows: jax.Array, count: jax.Array, key: jax.Array
    ) -> tuple[TrainState, Metrics]:
        def body(
            index: jax.Array, carry: tuple[TrainState, Metrics]
        ) -> tuple[TrainState, Metrics]:
            return _take_step(step_fn, *carry, dataset, rows[index], key)

        return jax.lax.fori_loop(0, count, body, (state, Metrics.zeros()))

    jitted = jax.jit(many, donate_argnums=0, out_shardings=whole)

    def advance(
        state: TrainState, dataset: Batch, rows: np.ndarray, key: jax.Array
    ) -> tuple[TrainState, Metrics]:
        padding = ((0, MAX_SEGMENT_STEPS - len(rows)), (0, 0))
        on_device = jax.device_put(np.pad(rows, padding), row_sharding)
        return jitted(state, dataset, on_device, np.int32(len(rows)), key)

    return advance
