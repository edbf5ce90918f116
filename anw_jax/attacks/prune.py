"""The smallest weights of a trained model are set to 0."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import _check
from anw_jax.attacks._retrain import unbound
from anw_jax.attacks.kinds import Material, TrainedModel


@dataclasses.dataclass(frozen=True)
class Prune:
    """Zeroes the share of weights with the smallest magnitudes, over all layers together.

    Global magnitude pruning without retraining (Han et al. 2015,
    https://arxiv.org/abs/1506.02626): all kernels of convolutions and dense layers compete,
    biases and BatchNorm are left alone. Exactly `floor(fraction · n + 1/2)` of the n kernel
    weights become 0; among equal magnitudes, the first in the order of `jax.tree.leaves`, then
    of memory. Weights that were 0 before count among them.

    Attributes:
      fraction: share of the weights to zero, strictly between 0 and 1.

    Raises:
      ValueError: if `fraction` is out of range.
      TypeError: if it is not a number.

    Example:
      >>> kernel = np.array([[0.5, -0.1], [0.2, -0.9]], np.float32)
      >>> pruned, details = prune_kernels({"Dense_0": {"kernel": kernel}}, 0.5)
      >>> (pruned["Dense_0"]["kernel"] != 0).tolist(), details["num_pruned"]
      ([[True, False], [False, True]], 2)
    """

    fraction: float = 0.5

    def __post_init__(self) -> None:
        """Refuses a share that is no share."""
        _check.in_open_interval(0.0, 1.0, fraction=self.fraction)

    def change(self, suspect: TrainedModel, material: Material) -> TrainedModel:
        """The pruned model; answers come from its plain logits, `material` is not used.

        `details` say how many weights there are and were pruned, and the largest magnitude
        that was.
        """
        params, details = prune_kernels(suspect.variables["params"], self.fraction)
        variables = unbound(suspect.variables | {"params": params})
        return TrainedModel.of(suspect.model, variables, **details)


def prune_kernels(params: Any, fraction: float) -> tuple[Any, dict[str, Any]]:
    """A copy of a parameter tree with its smallest kernel weights zeroed, and plain numbers.

    Args:
      params: tree of float arrays; leaves named "kernel" are pruned.
      fraction: share of their weights to zero.

    Returns:
      `(params, details)`; details hold `num_weights`, `num_pruned`, `threshold` (the largest
      magnitude zeroed; 0 where none is).
    """
    named, structure = jax.tree_util.tree_flatten_with_path(params)
    is_kernel = [path[-1].key == "kernel" for path, _ in named]
    leaves = [np.asarray(leaf) for _, leaf in named]
    kernels = [leaf.ravel() for leaf, kept in zip(leaves, is_kernel, strict=True) if kept]
    weights = np.concatenate([np.zeros(0, np.float32), *kernels])
    num_pruned = int(np.floor(fraction * weights.size + 0.5))
    pruned, threshold = _zero_smallest(weights, num_pruned)
    ends = np.cumsum([kernel.size for kernel in kernels])
    parts = iter(np.split(pruned, ends[:-1]) if kernels else [])
    changed = [
        next(parts).reshape(leaf.shape).astype(leaf.dtype) if kept else leaf
        for leaf, kept in zip(leaves, is_kernel, strict=True)
    ]
    details = {"num_weights": weights.size, "num_pruned": num_pruned, "threshold": threshold}
    tree = jax.tree_util.tree_unflatten(structure, map(jnp.asarray, changed))
    return tree, details


def _zero_smallest(weights: np.ndarray, num_pruned: int) -> tuple[np.ndarray, float]:
    """Zeroes `num_pruned` of `[n]` weights, ties by order; and the largest magnitude zeroed."""
    if not num_pruned:
        return weights, 0.0
    magnitudes = np.abs(weights)
    # Linear in n, where a stable sort of the millions of weights of a ResNet-152 is not.
    threshold = np.partition(magnitudes, num_pruned - 1)[num_pruned - 1]
    is_pruned = magnitudes < threshold
    ties = np.flatnonzero(magnitudes == threshold)[: num_pruned - is_pruned.sum()]
    is_pruned[ties] = True
    return np.where(is_pruned, np.zeros((), weights.dtype), weights), float(threshold)
