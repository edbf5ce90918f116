"""Low-rank adapters (LoRA): fine-tune a small update of each kernel, with the rest frozen.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2021), eq. 3,
https://arxiv.org/abs/2106.09685. A kernel W becomes W + down · up with `down` `[fan_in, rank]`
and `up` `[rank, out]`; a convolution's kernel is the matrix `[height · width · in, out]`.
"""

import math
from typing import Any

import chex
import jax
import jax.numpy as jnp

from anw_jax import _check
from anw_jax.train.step import LossFn

ADAPTERS = "adapters"


def with_adapters(params: dict[str, Any], rank: int, key: chex.PRNGKey) -> dict[str, Any]:
    """Add adapters to parameters; they leave every kernel as it is until they are trained.

    Args:
      params: nested dicts; every leaf named "kernel" of two or more axes gets an adapter.
      rank: of the updates, at least 1.
      key: typed PRNG key, for `down`; `up` starts at 0.

    Returns:
      `{"frozen": params, "adapters": {path: {"down", "up"}}}`; train "adapters" alone
      (`make_step(adapted_loss(loss_fn), ..., trained=(ADAPTERS,))`).

    Raises:
      TypeError, ValueError: a rank below 1, or no kernel.

    Example:
      >>> params = {"dense": {"kernel": jnp.ones((4, 3)), "bias": jnp.zeros(3)}}
      >>> adapted = with_adapters(params, 2, jax.random.key(0))
      >>> {name: leaf.shape for name, leaf in adapted["adapters"]["dense/kernel"].items()}
      {'down': (4, 2), 'up': (2, 3)}
      >>> bool((merged(adapted)["dense"]["kernel"] == 1).all())
      True
    """
    _check.integer_at_least(1, rank=rank)
    adapters = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if path[-1].key == "kernel" and leaf.ndim >= 2:
            *fans, out = leaf.shape
            fan_in = math.prod(fans)
            draw = jax.random.normal(jax.random.fold_in(key, len(adapters)), (fan_in, rank))
            adapters[_name(path)] = {
                "down": (draw / math.sqrt(fan_in)).astype(leaf.dtype),
                "up": jnp.zeros((rank, out), leaf.dtype),
            }
    if not adapters:
        raise ValueError(f"params must hold a kernel, got {', '.join(params) or 'none'}")
    return {"frozen": params, ADAPTERS: adapters}


def merged(adapted: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters with the adapters' updates added to their kernels."""

    def updated(path: Any, leaf: jax.Array) -> jax.Array:
        adapter = adapted[ADAPTERS].get(_name(path))
        if adapter is None:
            return leaf
        return leaf + (adapter["down"] @ adapter["up"]).reshape(leaf.shape)

    return jax.tree_util.tree_map_with_path(updated, adapted["frozen"])


def adapted_loss(loss_fn: LossFn) -> LossFn:
    """Return the loss as a function of parameters with adapters."""

    def of_adapted(params: Any, model_state: Any, batch: Any, rng: chex.PRNGKey) -> Any:
        return loss_fn(merged(params), model_state, batch, rng)

    return of_adapted


def _name(path: Any) -> str:
    return "/".join(entry.key for entry in path)
