"""What a training run carries from step to step."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from anw_jax.models import Model
from anw_jax.train.schedule import optimizer
from anw_jax.train.settings import TrainSettings
from anw_jax.train.trees import trained_part

# Constants folded into the root key, so that no two uses share a stream.
_INIT_STREAM = 0
_AUGMENT_STREAM = 1


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Plain trees of arrays.

    Attributes:
      step: int32 scalar, optimizer steps taken.
      params: float32 parameters.
      batch_stats: float32 averages of BatchNorm.
      opt_state: the optimizer's, of the parameters that are trained.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any

    @property
    def variables(self) -> dict[str, Any]:
        """What `Model.apply` and `Model.predict_fn` take."""
        return {"params": self.params, "batch_stats": self.batch_stats}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Metrics:
    """Sums over steps, so that a segment is read from the device once.

    Attributes:
      loss: sum over steps of the batch's mean training loss, nats.
      accuracy: sum over steps of the batch's accuracy, fractions.
    """

    loss: jax.Array
    accuracy: jax.Array

    @classmethod
    def zeros(cls) -> "Metrics":
        """Nothing summed yet."""
        return cls(loss=jnp.zeros(()), accuracy=jnp.zeros(()))


def init_state(
    model: Model,
    settings: TrainSettings,
    image_shape: tuple[int, int, int],
    steps_per_epoch: int,
    *,
    initial_variables: Any = None,
    trainable: str = "all",
) -> TrainState:
    """The state before the first step.

    Weights are a copy of `initial_variables`, or drawn: a function of `settings.seed` only.
    """
    key = jax.random.fold_in(jax.random.key(settings.seed), _INIT_STREAM)
    if initial_variables is None:
        variables = model.init(key, image_shape)
    else:
        # Steps donate the state: the caller's weights must outlive the first of them.
        variables = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), initial_variables)
    trained = trained_part(model, variables["params"], trainable)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables.get("batch_stats", {}),
        opt_state=optimizer(settings, steps_per_epoch).init(trained),
    )


def augment_key(settings: TrainSettings) -> jax.Array:
    """The key that every step folds its number into."""
    return jax.random.fold_in(jax.random.key(settings.seed), _AUGMENT_STREAM)
