"""The settings of a split training, known to all parties, and its weights as one vector."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from anw_jax import _check, train
from anw_jax.models import Inverter, SplitNet
from anw_jax.partition.defence import NO_DEFENCE, Defence, released
from anw_jax.partition.masked_sum import check_threshold

Params = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class SplitSettings:
    """A training in rounds: steps in which the server sees activations, then a masked average.

    Optimizers (Adam) begin afresh in each round, so that a round depends on the weights at its
    beginning alone.

    Attributes:
      net: the network, cut in two.
      num_owners: data owners, at least 3: of two, each could subtract himself from the sum.
      image_shape: `(H, W, 3)`, with H and W even.
      num_rounds: each ends with an average of the bottom halves.
      steps_per_round: optimizer steps of each round.
      batch_size: images of each owner in a step.
      learning_rate: of the first round; it falls to 0 as a half cosine.
      defence: what owners do against a curious server.
      adversary_width: channels of the adversary, where the defence has one.
      threshold: owners without whom training stops; None for just above half.
      seed: of first weights and batches.
      silence_seconds: after which an owner counts as gone.
    """

    net: SplitNet
    num_owners: int
    image_shape: tuple[int, int, int]
    num_rounds: int
    steps_per_round: int = 20
    batch_size: int = 32
    learning_rate: float = 3e-3
    defence: Defence = NO_DEFENCE
    adversary_width: int = 16
    threshold: int | None = None
    seed: int = 0
    silence_seconds: float = 600.0

    def __post_init__(self):
        _check.integer_at_least(3, num_owners=self.num_owners)
        for name in ("num_rounds", "steps_per_round", "batch_size", "adversary_width"):
            _check.integer_at_least(1, **{name: getattr(self, name)})
        for name in ("learning_rate", "silence_seconds"):
            _check.positive(**{name: getattr(self, name)})
        _check.integer_at_least(0, seed=self.seed)
        check_threshold(self.needed_owners, self.num_owners)
        if len(self.image_shape) != 3 or any(side % 2 for side in self.image_shape[:2]):
            raise ValueError(f"image_shape must be (even, even, 3), got {self.image_shape}")

    @property
    def needed_owners(self) -> int:
        """Owners without whom training stops."""
        return self.num_owners // 2 + 1 if self.threshold is None else self.threshold

    @property
    def adversary(self) -> Inverter:
        """The network that rebuilds images while the bottom half is trained."""
        return Inverter(self.adversary_width)

    @property
    def program(self) -> "SplitSettings":
        """The same settings but for what changes no compiled program."""
        return dataclasses.replace(
            self,
            num_rounds=1,
            steps_per_round=1,
            learning_rate=1.0,
            threshold=None,
            seed=0,
            silence_seconds=1.0,
        )

    def rate(self, number: int) -> float:
        """Return the learning rate of a round, counted from 0."""
        share = number / self.num_rounds
        return self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * share))

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """Adam, whose rate is part of its state: rounds share one compilation."""
        return optax.inject_hyperparams(train.adam)(schedule=self.learning_rate)

    def first_weights(self) -> tuple[Params, Params]:
        """Return what owners train ("bottom", and "adversary" if there is one), and the top."""
        return _first_weights(self)

    def unravel(self) -> tuple[Callable[[np.ndarray], Params], Callable[[np.ndarray], Params]]:
        """Return the functions from vectors to the trees of `first_weights`."""
        owned, top = self.first_weights()
        return ravel_pytree(owned)[1], ravel_pytree(top)[1]

    def predict_fn(self, bottom: Params, top: Params) -> jax.tree_util.Partial:
        """Return the trained network, images to logits, with the owners' defence at the cut."""
        return jax.tree_util.Partial(_Predict(self.net, self.defence), bottom, top)


@functools.lru_cache(maxsize=4)
def _first_weights(settings: SplitSettings) -> tuple[Params, Params]:
    key = jax.random.key(settings.seed)
    params = settings.net.init(key, settings.image_shape)
    owned = {"bottom": params["bottom"]}
    if settings.defence.adversary:
        images = jnp.zeros((1, *settings.image_shape), jnp.float32)
        shape = jax.eval_shape(settings.net.bottom, params["bottom"], images).shape[1:]
        owned["adversary"] = settings.adversary.init(jax.random.fold_in(key, 1), shape)
    return owned, params["top"]


@dataclasses.dataclass(frozen=True)
class _Predict:
    """Networks with equal settings compare as equal, and compile once."""

    net: SplitNet
    defence: Defence

    def __call__(self, bottom: Params, top: Params, images: jax.Array) -> jax.Array:
        seen = released(self.net.bottom(bottom, images), self.defence, jax.random.key(0))
        return self.net.top(top, seen)


def at_rate(optimizer_state: Any, rate: float) -> Any:
    """Return a state of `SplitSettings.optimizer` with another learning rate."""
    return optax.tree_utils.tree_set(optimizer_state, schedule=jnp.float32(rate))


def to_vector(tree: Params) -> np.ndarray:
    """Return all weights of a tree: float32 `[n]`."""
    return np.asarray(ravel_pytree(tree)[0])
