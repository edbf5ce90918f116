"""Several models of different seeds answer together."""

import dataclasses
import math

import jax
import jax.numpy as jnp

from anw_jax import _check
from anw_jax.attacks._retrain import derive_seed, retrain
from anw_jax.attacks.kinds import Material, TrainedModel

AVERAGES = ("probabilities", "log_probabilities")


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """Trains more models on the same photos and averages the answers of all.

    Deep ensembles (Lakshminarayanan et al. 2017, https://arxiv.org/abs/1612.01474) average
    probabilities; averaging their logarithms gives the geometric mean, which the softmax makes
    sum to 1. The suspect is the first member; each other one is trained plainly with
    `material.settings` from a seed of its own.

    Attributes:
      num_models: members, the suspect among them, at least 2.
      average: "probabilities" or "log_probabilities".

    Raises:
      ValueError: if `num_models` is below 2 or `average` unknown.
      TypeError: if `num_models` is not an integer.

    Example:
      >>> Ensemble(num_models=5)
      Ensemble(num_models=5, average='probabilities')
    """

    num_models: int = 3
    average: str = "probabilities"

    def __post_init__(self) -> None:
        """Refuses settings that cannot be meant."""
        _check.integer_at_least(2, num_models=self.num_models)
        _check.one_of(AVERAGES, average=self.average)

    def change(self, suspect: TrainedModel, material: Material) -> TrainedModel:
        """The ensemble: `predict` holds all members' weights, `variables` the suspect's only.

        A white-box look at `variables` therefore sees one member of several.
        """
        predicts = [suspect.predict]
        for member in range(1, self.num_models):
            seed = derive_seed(material.seed, "ensemble", member)
            settings = dataclasses.replace(material.settings, seed=seed)
            variables, _ = retrain(suspect.model, settings, material.images, material.labels)
            predicts.append(suspect.model.predict_fn(variables))
        predict = averaged(predicts, self.average)
        details = {"num_models": self.num_models}
        return TrainedModel(suspect.model, suspect.variables, predict, details)


def averaged(predicts: list[jax.tree_util.Partial], average: str) -> jax.tree_util.Partial:
    """One function of images for several, which are its arguments: traced once per shape."""
    fun = _mean_probability if average == "probabilities" else _mean_log_probability
    return jax.tree_util.Partial(fun, tuple(predicts))


def _mean_probability(
    predicts: tuple[jax.tree_util.Partial, ...], images: jax.Array
) -> jax.Array:
    """Logarithm of the mean of the probabilities, `[b, c]`."""
    logs = _log_probabilities(predicts, images)
    return jax.nn.logsumexp(logs, axis=0) - jnp.float32(math.log(len(predicts)))


def _mean_log_probability(
    predicts: tuple[jax.tree_util.Partial, ...], images: jax.Array
) -> jax.Array:
    return _log_probabilities(predicts, images).mean(axis=0)


def _log_probabilities(
    predicts: tuple[jax.tree_util.Partial, ...], images: jax.Array
) -> jax.Array:
    """float32 `[k, b, c]`."""
    return jnp.stack([jax.nn.log_softmax(predict(images)) for predict in predicts])
