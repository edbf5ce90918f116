"""Attacks on fingerprints in weights: collusion, rounding, noise, permutation, overwriting.

`collude` mixes several copies; the others change one model and are created by name.
"""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from anw_jax import _check
from anw_jax.attacks.kinds import Material, TrainedModel, derive_seed
from anw_jax.keys import Bits, MarkKey
from anw_jax.models import by_path, from_paths
from anw_jax.schemes import fingerprint

COLLUSIONS = ("average", "median", "min_max", "min", "pick")

# Averages of BatchNorm are variances too: they are mixed, and stay above 0.
_Weights = dict[str, np.ndarray]


def collude(copies: Sequence[TrainedModel], how: str, *, seed: int = 0) -> TrainedModel:
    """Mix copies of one model, weight by weight.

    Args:
      copies: at least two, of one network.
      how: of `COLLUSIONS`: the mean, the median, the middle of the smallest and the largest,
        the smallest, or for each weight that of a copy chosen at random.
      seed: of "pick".

    Raises:
      ValueError: fewer than two copies, networks that differ, an unknown name.
    """
    _check.one_of(COLLUSIONS, how=how)
    if len(copies) < 2 or any(one.model != copies[0].model for one in copies):
        raise ValueError("copies must be at least two, of one network")
    paths = [by_path(one.variables) for one in copies]
    rng = np.random.default_rng(derive_seed(seed, "collude", how))
    mixed = {name: _mixed(how, [one[name] for one in paths], rng) for name in paths[0]}
    return TrainedModel.of(copies[0].model, _tree(mixed), colluders=len(copies))


@dataclasses.dataclass(frozen=True)
class Quantise:
    """Rounds the weights of each kernel to evenly spaced values, symmetric about 0.

    Attributes:
      bits: 2^bits - 1 values between minus and plus the largest magnitude; 2 to 16.

    Example:
      >>> np.round(quantised(np.array([-1.0, 0.4, 0.7]), 2), 3).tolist()
      [-1.0, 0.0, 1.0]
    """

    bits: int = 8

    def __post_init__(self) -> None:
        """Check the number."""
        if not 2 <= _check.integer_at_least(2, bits=self.bits) <= 16:
            raise ValueError(f"bits must be at most 16, got {self.bits}")

    def change(self, trained: TrainedModel, material: Material) -> TrainedModel:
        """Return the model with rounded kernels; `material` is not used."""
        return _changed(trained, lambda kernel, _: quantised(kernel, self.bits))


def quantised(kernel: np.ndarray, bits: int) -> np.ndarray:
    """Round to multiples of the largest magnitude over 2^(bits - 1) - 1."""
    largest = np.abs(kernel).max(initial=0.0)
    if largest == 0.0:
        return kernel
    step = largest / (2 ** (bits - 1) - 1)
    return np.rint(kernel / step) * step


@dataclasses.dataclass(frozen=True)
class WeightNoise:
    """Adds normal noise to the weights of each kernel.

    Attributes:
      share: standard deviation, as a share of the kernel's root mean square; above 0.
    """

    share: float = 0.1

    def __post_init__(self) -> None:
        """Check the share."""
        _check.positive(share=self.share)

    def change(self, trained: TrainedModel, material: Material) -> TrainedModel:
        """Return the model with noisy kernels."""
        rng = np.random.default_rng(derive_seed(material.seed, "weight_noise"))

        def noisy(kernel: np.ndarray, name: str) -> np.ndarray:
            size = self.share * np.sqrt(np.mean(np.square(kernel)))
            return kernel + size * rng.normal(size=kernel.shape)

        return _changed(trained, noisy)


@dataclasses.dataclass(frozen=True)
class PermuteWeights:
    """Reorders and scales the channels of a residual network; its answers stay the same.

    Unlike `Rebase`, which only changes what a reader of hidden values sees, it changes the
    weights themselves.

    Attributes:
      most_scale: channels are scaled by factors up to this, and down to one over it; 1 = only
        reordered.
    """

    most_scale: float = 2.0

    def __post_init__(self) -> None:
        """Check the factor."""
        if not _check.finite(most_scale=self.most_scale) >= 1.0:
            raise ValueError(f"most_scale must be at least 1, got {self.most_scale}")

    def change(self, trained: TrainedModel, material: Material) -> TrainedModel:
        """Return the model with other weights and the same answers, but for rounding.

        Raises:
          ValueError: the network is not residual.
        """
        rng = np.random.default_rng(derive_seed(material.seed, "permute_weights"))
        paths = _plain(trained)
        for group in fingerprint.groups_of(trained.variables):
            width = paths[group.writers[0]].shape[-1]
            paths = fingerprint.permuted(paths, group, rng.permutation(width))
            before, after = (self.most_scale ** rng.uniform(-1.0, 1.0, width) for _ in range(2))
            paths = fingerprint.scaled(paths, group, before, after)
        return TrainedModel.of(trained.model, _tree(paths))


@dataclasses.dataclass(frozen=True)
class OverwriteCode:
    """Embeds a code of the attacker's own, with a projection of his own.

    Attributes:
      strength: as in `schemes.fingerprint.embed`.
    """

    strength: float = 0.05

    def __post_init__(self) -> None:
        """Check the strength."""
        _check.positive(strength=self.strength)

    def change(self, trained: TrainedModel, material: Material) -> TrainedModel:
        """Return the model with one more code in it."""
        seed = derive_seed(material.seed, "overwrite_code")
        rng = np.random.default_rng(seed)
        carrier = fingerprint.make_carrier(
            MarkKey.for_experiment(seed, "overwrite code"), trained.variables, 1
        )
        code, common = (
            Bits(rng.integers(0, 2, count) * 2 - 1)
            for count in (carrier.num_bits, carrier.num_owner_bits)
        )
        variables = fingerprint.embed(
            carrier, trained.variables, code, common, strength=self.strength
        )
        return TrainedModel.of(trained.model, variables)


def _mixed(how: str, leaves: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    stacked = np.stack([np.asarray(leaf, np.float64) for leaf in leaves])
    if how == "average":
        return stacked.mean(axis=0)
    if how == "median":
        return np.median(stacked, axis=0)
    if how == "min_max":
        return (stacked.min(axis=0) + stacked.max(axis=0)) / 2
    if how == "min":
        return stacked.min(axis=0)
    chosen = rng.integers(len(stacked), size=stacked.shape[1:])
    return np.take_along_axis(stacked, chosen[None], axis=0)[0]


def _changed(trained: TrainedModel, change_fn) -> TrainedModel:
    paths = {
        name: change_fn(leaf, name) if name.endswith("kernel") else leaf
        for name, leaf in _plain(trained).items()
    }
    return TrainedModel.of(trained.model, _tree(paths))


def _plain(trained: TrainedModel) -> _Weights:
    return {n: np.asarray(leaf, np.float64) for n, leaf in by_path(trained.variables).items()}


def _tree(paths: _Weights) -> dict:
    leaves = {name: jnp.asarray(leaf.astype(np.float32)) for name, leaf in paths.items()}
    return {"params": {}, "batch_stats": {}} | from_paths(leaves)
