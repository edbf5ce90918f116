"""Attacks on watermarks inside a network: hidden layers in other coordinates, overwriting.

The first leaves every answer as it was. A layer with the output h gives h M instead, and the
next layer, whose kernel K becomes N K with M N = 1, undoes it: a reader that takes hidden
values as they are finds noise. Permuted and scaled neurons, LFEA (linear functionality
equivalence) and dummy neurons (structural obfuscation, USENIX Security 2023) are such maps M.
"""

import dataclasses
from typing import Any

import numpy as np

from anw_jax import _check
from anw_jax.attacks.kinds import Material, TrainedModel, derive_seed
from anw_jax.keys import Bits, MarkKey, Plan, draw_bits
from anw_jax.schemes import TapsFn, multitask, weights_digest

KINDS = ("permute", "scale", "mix", "dummy")


@dataclasses.dataclass(frozen=True)
class Rebase:
    """Puts hidden layers in other coordinates; the model's answers stay the same.

    Kinds: "permute" reorders the channels; "scale" multiplies each by a factor between 0.1 and
    10; "mix" applies a random invertible matrix; "dummy" adds channels that are random mixtures
    of the others, and mixes them all, so that they cannot be told apart. It is the last attack
    on a model: later training would need the changed network's code.

    Attributes:
      kind: one of `KINDS`.
      layers: names of the layers, as `variables["params"]` has them; () for all blocks and
        convolutions of the network's top level.
      more: for "dummy", added channels per channel, above 0.

    Raises:
      TypeError, ValueError: an unknown kind, a number out of range.

    Example:
      >>> Rebase(kind="mix", layers=("BasicBlock_1",))
      Rebase(kind='mix', layers=('BasicBlock_1',), more=0.5)
    """

    kind: str = "mix"
    layers: tuple[str, ...] = ()
    more: float = 0.5

    def __post_init__(self) -> None:
        """Check names and numbers."""
        _check.one_of(KINDS, kind=self.kind)
        _check.positive(more=self.more)
        object.__setattr__(self, "layers", tuple(self.layers))

    def change(self, trained: TrainedModel, material: Material) -> TrainedModel:
        """Return the model with `layer_maps`; its answers are those of `trained`.

        Raises:
          ValueError: a layer that the network does not have.
        """
        params = trained.variables["params"]
        names = self.layers or tuple(name for name in params if _has_channels(params[name]))
        for name in names:
            _check.one_of(params, layers=name)
        maps = dict(trained.layer_maps)
        for name in names:
            seed = derive_seed(material.seed, "rebase", self.kind, name)
            before = maps.get(name, np.eye(num_channels(params[name])))
            maps[name] = before @ self.matrix(before.shape[1], np.random.default_rng(seed))
        return dataclasses.replace(
            trained, layer_maps=maps, details={**trained.details, "rebased": list(names)}
        )

    def matrix(self, width: int, rng: np.random.Generator) -> np.ndarray:
        """Draw M, float64 `[width, width]`, or with more columns for "dummy"."""
        if self.kind == "permute":
            return np.eye(width)[rng.permutation(width)]
        if self.kind == "scale":
            return np.diag(10.0 ** rng.uniform(-1.0, 1.0, width))
        if self.kind == "mix":
            return _well_conditioned(width, rng)
        added = max(1, round(self.more * width))
        mixtures = rng.normal(size=(width, added)) / np.sqrt(width)
        wide = np.concatenate([np.eye(width), mixtures], axis=1)
        return wide @ _well_conditioned(width + added, rng)


def folded(kernel: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return the kernel of the next layer, which undoes M: N K, with N a left inverse of M.

    Args:
      kernel: `[…, c, d]`.
      matrix: M, `[c, C]`, of rank c.

    Returns:
      `[…, C, d]`.

    Example:
      >>> matrix, kernel = np.array([[0.0, 2.0], [1.0, 0.0]]), np.array([[3.0], [5.0]])
      >>> (matrix @ folded(kernel, matrix)).tolist()
      [[3.0], [5.0]]
    """
    return np.linalg.pinv(matrix) @ kernel


def taps_of(trained: TrainedModel, names: tuple[str, ...]) -> TapsFn:
    """Return what a reader sees of a model's layers: M applied where there is one.

    Args:
      trained: attacked or not.
      names: of the layers.
    """
    plain = multitask.tapped(trained.model, trained.variables, names)
    maps = [trained.layer_maps.get(name) for name in names]

    def taps_fn(images: np.ndarray) -> list[np.ndarray]:
        layers = [np.asarray(layer) for layer in plain(images)]
        return [
            layer if matrix is None else (layer @ matrix).astype(layer.dtype)
            for layer, matrix in zip(layers, maps, strict=True)
        ]

    return taps_fn


@dataclasses.dataclass(frozen=True)
class Overwrite:
    """Embeds marks of the attacker's own, in the layers that the owner may have used.

    Each has its own key, keyed inputs and projection, and is embedded as an owner would, with
    the stolen model in the place of the clean one.

    Attributes:
      layers: names of the layers.
      times: marks, one after another, at least 1.
      num_bits: of each.
      num_steps: of each embedding.
      learning_rate: of each embedding.
      drift: weight of R_func; 0 = without.
      primary: weight of the task's own loss, which keeps the stolen model useful; 0 = without.

    Raises:
      TypeError, ValueError: a field out of its range.

    Example:
      >>> Overwrite(layers=("BasicBlock_1",), times=4).times
      4
    """

    layers: tuple[str, ...]
    times: int = 1
    num_bits: int = 300
    num_steps: int = 400
    learning_rate: float = 5e-4
    drift: float = 1.0
    primary: float = 1.0

    def __post_init__(self) -> None:
        """Check names and numbers."""
        object.__setattr__(self, "layers", tuple(self.layers))
        _check.integer_at_least(1, times=self.times)
        self._settings(0)

    def change(self, trained: TrainedModel, material: Material) -> TrainedModel:
        """Return the model with the attacker's marks in it."""
        variables, shares = trained.variables, []
        for number in range(1, self.times + 1):
            seed = derive_seed(material.seed, "overwrite", number)
            key = MarkKey.for_experiment(seed, "overwrite")
            decoder = multitask.make_decoder(
                key,
                weights_digest(variables),
                self.layers,
                num_bits=self.num_bits,
                image_shape=material.clean_images.shape[1:],
            )
            bits = draw_bits(key, Plan("bit_signs", 0.5, decoder.mark), self.num_bits)
            embedding = self._embed(trained, variables, [(decoder, bits)], material, seed)
            variables = embedding.variables
            shares.append(embedding.share_right)
        return TrainedModel.of(trained.model, variables, overwritten=shares)

    def _embed(
        self,
        trained: TrainedModel,
        variables: dict[str, Any],
        decoders: list[tuple[multitask.Decoder, Bits]],
        material: Material,
        seed: int,
    ) -> multitask.Embedding:
        return multitask.embed(
            trained.model,
            variables,
            decoders,
            material.clean_images,
            material.clean_labels,
            self._settings(seed),
        )[0]

    def _settings(self, seed: int) -> multitask.EmbedSettings:
        return multitask.EmbedSettings(
            num_steps=self.num_steps,
            learning_rate=self.learning_rate,
            margin=2.0,
            drift=self.drift,
            tuning=0.0,
            primary=self.primary,
            seed=seed,
        )


def erase(
    trained: TrainedModel,
    decoder: multitask.Decoder,
    bits: Bits,
    material: Material,
    settings: multitask.EmbedSettings,
) -> TrainedModel:
    """Erase the mark of a key that a claim has opened, by embedding its opposite bits.

    Args:
      trained: the stolen model.
      decoder: as the claim shows it.
      bits: as the claim shows them.
      material: what the attacker has; its clean images are used by R_DA alone.
      settings: of the embedding.
    """
    own = dataclasses.replace(decoder, base=weights_digest(trained.variables))
    opposite = Bits(-bits.signs)
    embedding = multitask.embed(
        trained.model,
        trained.variables,
        [(own, opposite)],
        material.clean_images,
        material.clean_labels,
        settings,
    )[0]
    return TrainedModel.of(trained.model, embedding.variables)


def spoil(
    trained: TrainedModel,
    decoder: multitask.Decoder,
    bits: Bits,
    branch: multitask.Branch,
    material: Material,
    settings: multitask.EmbedSettings,
) -> TrainedModel:
    """Spoil a branch that a claim has revealed: train the network until it says the opposite.

    Args:
      trained: the stolen model.
      decoder: as the claim shows it.
      bits: as the claim shows them.
      branch: c_WM, as the claim shows it; it stays as it is.
      material: what the attacker has; its clean images are used by R_DA alone.
      settings: of the training; `drift` keeps the model useful.
    """
    variables = multitask.move_under_branch(
        trained.model,
        trained.variables,
        decoder,
        Bits(-bits.signs),
        branch,
        material.clean_images,
        material.clean_labels,
        settings,
    )
    return TrainedModel.of(trained.model, variables)


def num_channels(layer: dict[str, Any]) -> int:
    """Return the number of channels that a layer of the network's top level returns."""
    return max(
        (np.shape(leaf)[-1] for leaf in _leaves(layer)),
        default=0,
    )


def _has_channels(layer: dict[str, Any]) -> bool:
    return any(np.ndim(leaf) == 4 for leaf in _leaves(layer))


def _leaves(layer: Any) -> list[Any]:
    if not isinstance(layer, dict):
        return [layer]
    return [leaf for part in layer.values() for leaf in _leaves(part)]


def _well_conditioned(width: int, rng: np.random.Generator) -> np.ndarray:
    """Draw an invertible matrix: a random rotation, stretched by factors between 1/3 and 3."""
    rotation, triangle = np.linalg.qr(rng.normal(size=(width, width)))
    rotation = rotation * np.sign(np.diag(triangle))
    return rotation * 3.0 ** rng.uniform(-1.0, 1.0, width)
