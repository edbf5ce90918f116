"""Segments: loops over steps that run on the devices, for one model or for many."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from anw_jax import _check
from anw_jax.train.batches import Batches, Feed, data_mesh, replicated, shares_threads
from anw_jax.train.step import Metrics, Step, TrainState

OVER_MODELS = ("map", "vmap")

# Models share the number of the step; the rest of their state has a leading axis.
_MODEL_AXES = TrainState(step=None, params=0, model_state=0, opt_state=0)


@dataclasses.dataclass(frozen=True)
class Run:
    """The parts of a training that are the same in all segments; made by `prepare`."""

    batches: Batches
    num_steps: int
    mesh: Mesh
    key: jax.Array
    feed: Feed
    advance_fn: Callable[..., tuple[TrainState, Metrics]]

    def advance(
        self, state: TrainState, first_step: int, num_steps: int
    ) -> tuple[TrainState, dict[str, np.ndarray]]:
        """Take steps; donate the state, and wait for the sums of the metrics."""
        sums = []
        for columns, rows, count in self.feed.pieces(first_step, num_steps):
            state, metrics = self.advance_fn(state, columns, rows, np.int32(count), self.key)
            sums.append(metrics)
            if shares_threads(self.mesh):
                jax.block_until_ready(metrics)
        # Reading the sums is the only wait for the device in a segment.
        sums = jax.device_get(sums)
        return state, {name: sum(metrics[name] for metrics in sums) for name in sums[0]}


def prepare(
    step: Step,
    batches: Batches,
    num_steps: int,
    key: chex.PRNGKey,
    over_models: str | None,
    num_devices: int | None,
) -> Run:
    """Put the columns on the devices, without compiling.

    Raises:
      ValueError: if arguments do not fit each other.
    """
    if over_models is not None:
        _check.one_of(OVER_MODELS, over_models=over_models)
        num_devices = 1
        if batches.is_streamed:
            raise ValueError("batches must be in memory for many models, got streamed columns")
    if len(batches.batch_shape) != (1 if over_models is None else 2):
        raise ValueError(
            "indices_fn must return integers of shape (num_steps, batch_size), and "
            "(num_steps, num_models, batch_size) for many models; got for one step "
            f"{batches.batch_shape}"
        )
    mesh = data_mesh(batches.batch_shape[-1], num_devices)
    return Run(
        batches=batches,
        num_steps=num_steps,
        mesh=mesh,
        key=jax.device_put(key, replicated(mesh)),
        feed=batches.feed(mesh, num_steps),
        advance_fn=_advance_fn(step, mesh, over_models),
    )


@functools.lru_cache(maxsize=16)
def _advance_fn(
    step: Step, mesh: Mesh, over_models: str | None
) -> Callable[..., tuple[TrainState, Metrics]]:
    """Return the compiled segment, which trainings with the same step share."""
    segment = functools.partial(_segment, step)
    if over_models == "vmap":
        segment = jax.vmap(
            segment, in_axes=(_MODEL_AXES, None, 1, None, 0), out_axes=(_MODEL_AXES, 0)
        )
    elif over_models == "map":
        segment = _mapped(segment)
    return jax.jit(segment, donate_argnums=0, out_shardings=replicated(mesh))


def _segment(
    step: Step,
    state: TrainState,
    columns: chex.ArrayTree,
    rows: jax.Array | None,
    count: jax.Array,
    key: chex.PRNGKey,
) -> tuple[TrainState, Metrics]:
    """Take `count` steps on the batches of the first rows; sum their metrics."""

    def batch_of(index: jax.Array | int) -> chex.ArrayTree:
        if rows is None:
            return columns
        return jax.tree.map(lambda column: column[rows[index]], columns)

    def body(index: jax.Array, carry: tuple[TrainState, Metrics]) -> tuple[TrainState, Metrics]:
        state, sums = carry
        state, metrics = step.update(state, batch_of(index), key)
        return state, jax.tree.map(jnp.add, sums, metrics)

    batch = jax.eval_shape(batch_of, 0)
    jax.eval_shape(step.check, state, batch, key)
    _, metrics = jax.eval_shape(step.update, state, batch, key)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), metrics)
    return jax.lax.fori_loop(0, count, body, (state, zeros))


def _mapped(
    segment: Callable[..., tuple[TrainState, Metrics]],
) -> Callable[..., tuple[TrainState, Metrics]]:
    """Run the segment of one model after another, in one program."""

    def many(
        state: TrainState, columns: Any, rows: jax.Array, count: jax.Array, keys: jax.Array
    ) -> tuple[TrainState, Metrics]:
        def one(given: Any) -> tuple[Any, Metrics]:
            own, own_rows, key = given
            moved, sums = segment(own.replace(step=state.step), columns, own_rows, count, key)
            return moved.replace(step=()), sums

        given = state.replace(step=()), jnp.moveaxis(rows, 1, 0), keys
        moved, sums = jax.lax.map(one, given)
        return moved.replace(step=state.step + count), sums

    return many
