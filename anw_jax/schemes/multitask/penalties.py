"""The terms that embed bits into a network: watermark, drift (R_func), tuning (R_DA).

Each is a penalty for `train.with_penalties`, already weighted. Li and Wang 2021
(https://arxiv.org/abs/2103.10021) name the terms; their sizes here are our own.

Watermark inputs pass the network in evaluation mode, so that they move no batch statistics.
Their scores are those that a reader reads: a change that alignment to w0 undoes does not count.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import _check
from anw_jax.keys import Bits
from anw_jax.schemes.multitask.decoder import Decoder
from anw_jax.schemes.multitask.reader import cell_weights, flattened, pooled, project, spread
from anw_jax.schemes.scheme import TapsFn
from anw_jax.train.losses import PenaltyFn
from anw_jax.train.step import LossFn

# `(variables, inputs) -> taps`, traceable.
NetworkTapsFn = Callable[[dict[str, Any], jax.Array], Sequence[jax.Array]]


# Added to the correlations of a layer's channels, which may be singular in float32.
_RIDGE = 1e-4


@dataclasses.dataclass(frozen=True, eq=False)
class Target:
    """What the embedding moves, as arrays: **secret**, since it holds the bits.

    Attributes:
      inputs: float32 `[num_bits, 2, H, W, 3]`, or int32 `[num_bits, 2, length]`.
      directions: float32 `[num_bits, D]`, over the spread of w0's features.
      base_scores: float32 `[num_bits]`, those of w0.
      signs: float32 `[num_bits]`, the bits as ±1.
      probes: `[num_probes, H, W, 3]` or `[num_probes, length]`.
      base_probes: features of w0 on the probes, float32 `[num_probes, cells, channels]` for
        each tap.
      scale: standard deviation of `base_scores`, the unit of a margin.
      side: cells along each side.
    """

    inputs: jax.Array
    directions: jax.Array
    base_scores: jax.Array
    signs: jax.Array
    probes: jax.Array
    base_probes: tuple[jax.Array, ...]
    scale: float
    side: int


def target_of(decoder: Decoder, base: TapsFn, bits: Bits) -> Target:
    """Prepare the embedding of a key's bits; `base` are the taps of w0."""
    if len(bits) != decoder.num_bits:
        raise ValueError(f"bits must have {decoder.num_bits} entries, got {len(bits)}")
    inputs, side = decoder.inputs(), decoder.side
    probes = decoder.probes()
    base_probes = [pooled(layer, side) for layer in base(probes)]
    spreads = [spread(layer)[None] for layer in base_probes]
    features = [pooled(layer, side) for layer in base(inputs)]
    scaled = [layer / by for layer, by in zip(features, spreads, strict=True)]
    scores = project(decoder, flattened(scaled))
    scale = float(scores.std())
    if not scale > 0.0:
        raise ValueError(
            "base must tell the inputs apart at its taps: all its scores are equal"
        )
    by = flattened(spreads)
    return Target(
        inputs=jnp.asarray(inputs.reshape(decoder.num_bits, 2, *inputs.shape[1:])),
        directions=jnp.asarray(decoder.directions(by.shape[1]) / by, jnp.float32),
        base_scores=jnp.asarray(scores, jnp.float32),
        signs=jnp.asarray(bits.signs, jnp.float32),
        probes=jnp.asarray(probes),
        base_probes=tuple(jnp.asarray(layer, jnp.float32) for layer in base_probes),
        scale=scale,
        side=side,
    )


def watermark_penalty(
    taps_fn: NetworkTapsFn,
    target: Target,
    *,
    margin: float,
    pairs: int,
    probes: int,
    weight: float = 1.0,
) -> PenaltyFn:
    """Make the watermark loss: the mean of max(0, margin - y (a - a0) / scale)² over pairs.

    It is 0 once every score has moved from w0's by `margin` standard deviations, in the
    direction that its bit says.

    Args:
      taps_fn: the network's taps.
      target: of `target_of`.
      margin: above 0.
      pairs: pairs of inputs per step, drawn anew each step.
      probes: probes that a step aligns by, drawn anew each step; with their cells they should
        be several times as many as a layer has channels.
      weight: factor.
    """
    _check.positive(margin=margin)
    num_bits, num_probes = len(target.signs), len(target.probes)
    pairs = min(_check.integer_at_least(1, pairs=pairs), num_bits)
    probes = min(_check.integer_at_least(2, probes=probes), num_probes)

    def penalty_fn(
        params: chex.ArrayTree, model_state: chex.ArrayTree, batch: Any, rng: chex.PRNGKey
    ) -> jax.Array:
        pairs_key, probes_key = jax.random.split(rng)
        rows = jax.random.permutation(pairs_key, num_bits)[:pairs]
        chosen = jax.random.permutation(probes_key, num_probes)[:probes]
        variables = {"params": params, "batch_stats": model_state}
        moved = moved_scores(taps_fn, target, variables, rows, chosen)
        return weight * jnp.square(jax.nn.relu(margin - target.signs[rows] * moved)).mean()

    return penalty_fn


def moved_scores(
    taps_fn: NetworkTapsFn,
    target: Target,
    variables: dict[str, Any],
    pairs: jax.Array,
    probes: jax.Array,
) -> jax.Array:
    """Return (a - a0) / scale of some pairs, aligned by some probes, float32 `[len(pairs)]`."""
    inputs = target.inputs[pairs]
    inputs = inputs.reshape(-1, *inputs.shape[2:])
    layers = taps_fn(variables, jnp.concatenate([target.probes[probes], inputs]))
    aligned = []
    for layer, base in zip(layers, target.base_probes, strict=True):
        own_probes, own_inputs = jnp.split(pooled_cells(layer, target.side), [len(probes)])
        aligned.append(align(own_probes, base[probes], own_inputs).reshape(len(inputs), -1))
    features = jnp.concatenate(aligned, axis=1)
    differences = features[0::2] - features[1::2]
    scores = jnp.sum(differences * target.directions[pairs], axis=1)
    return (scores - target.base_scores[pairs]) / target.scale


def align(probes: jax.Array, wanted: jax.Array, inputs: jax.Array) -> jax.Array:
    """Align as `reader.align` does: in float32, with a small ridge, and differentiable."""
    rows, targets = (values.reshape(-1, values.shape[-1]) for values in (probes, wanted))
    centre, mean = rows.mean(axis=0, keepdims=True), targets.mean(axis=0, keepdims=True)
    variance = jnp.square(rows - centre).mean(axis=0, keepdims=True)
    scale = jnp.sqrt(jnp.where(variance > 0.0, variance, 1.0))
    rows, targets = (rows - centre) / scale, targets - mean
    product_fn = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    gram = product_fn(rows.T, rows) / len(rows) + _RIDGE * jnp.eye(rows.shape[1])
    moment = product_fn(rows.T, targets) / len(rows)
    matrix = jax.scipy.linalg.solve(gram, moment, assume_a="pos")
    own = (inputs.reshape(-1, inputs.shape[-1]) - centre) / scale
    return (product_fn(own, matrix) + mean).reshape(*inputs.shape[:2], -1)


def drift_penalty(base_params: dict[str, Any], weight: float) -> PenaltyFn:
    """Make R_func: weight · ‖θ - θ0‖², which keeps the network near the clean one.

    Args:
      base_params: θ0, by layer; layers that are left out are free.
      weight: factor.
    """
    _check.positive(drift=weight)

    def penalty_fn(
        params: chex.ArrayTree, model_state: chex.ArrayTree, batch: Any, rng: chex.PRNGKey
    ) -> jax.Array:
        held = {name: params[name] for name in base_params}
        squares = jax.tree.map(
            lambda now, then: jnp.square(now - then).sum(), held, base_params
        )
        return weight * sum(jax.tree.leaves(squares))

    return penalty_fn


def tuning_penalty(
    watermark_fn: PenaltyFn,
    loss_fn: LossFn,
    *,
    weight: float,
    learning_rate: float,
    num_steps: int,
) -> PenaltyFn:
    """Make R_DA: the watermark loss of the network after simulated fine-tuning.

    The network takes `num_steps` steps of gradient descent on the task's batch; their sum is a
    constant for the gradient (first order).

    Args:
      watermark_fn: of `watermark_penalty`.
      loss_fn: the task's loss.
      weight: factor.
      learning_rate: of the simulated steps.
      num_steps: of them.
    """
    _check.positive(tuning=weight)
    _check.positive(learning_rate=learning_rate)
    _check.integer_at_least(1, num_steps=num_steps)

    def penalty_fn(
        params: chex.ArrayTree, model_state: chex.ArrayTree, batch: Any, rng: chex.PRNGKey
    ) -> jax.Array:
        def task_fn(tuned: chex.ArrayTree, key: chex.PRNGKey) -> jax.Array:
            return loss_fn(tuned, model_state, batch, key)[0]

        watermark_key, *keys = jax.random.split(rng, num_steps + 1)
        tuned = params
        for key in keys:
            slope = jax.grad(task_fn)(tuned, key)
            tuned = jax.tree.map(lambda now, by: now - learning_rate * by, tuned, slope)
        displaced = jax.tree.map(
            lambda now, then: then + jax.lax.stop_gradient(now - then), tuned, params
        )
        return weight * watermark_fn(displaced, model_state, batch, watermark_key)

    return penalty_fn


def pooled_flat(values: jax.Array, side: int) -> jax.Array:
    """Average over cells as `reader.pooled` does, and flatten: float32 `[b, cells · c]`."""
    return pooled_cells(values, side).reshape(len(values), -1)


def pooled_cells(values: jax.Array, side: int) -> jax.Array:
    """Average over cells as `reader.pooled` does: float32 `[b, cells, c]`."""
    values = values.astype(jnp.float32)
    if values.ndim == 4:
        rows, columns = (
            jnp.asarray(np.asarray(cell_weights(size, side)), jnp.float32)
            for size in values.shape[1:3]
        )
        values = jnp.einsum("bhwc,ih,jw->bijc", values, rows, columns)
    return values.reshape(len(values), -1, values.shape[-1])
