"""Attacks on a trained model: fine-tune, prune, stop early, train an ensemble."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import _check, data, train
from anw_jax.attacks.kinds import Material, TrainedModel, derive_seed
from anw_jax.models import Model

Variables = dict[str, Any]

LAYERS = ("all", "head")
AVERAGES = ("probabilities", "log_probabilities")

# Segments of a training have at most this many steps (`train.batches`).
_LARGEST_SEGMENT = 2048


@dataclasses.dataclass(frozen=True)
class FineTune:
    """Trains the weights on with photos that carry no mark.

    The two ways of Adi et al. 2018 (https://arxiv.org/abs/1802.04633, section 5), "fine-tune
    all layers" and "fine-tune last layer". Momentum starts from 0, the schedule of the
    training is run through anew over `num_epochs` without warm-up, crops and mirror images are
    those of the training. Labels are hard.

    Attributes:
      layers: "all", or "head" for the last dense layer alone; then the rest of the weights and
        all averages of BatchNorm stay bit for bit.
      num_epochs: passes over the clean photos, at least 1.
      learning_rate: peak learning rate, above 0.
      batch_size: photos per step, at most the number of clean photos.

    Raises:
      ValueError: if a number is out of range or `layers` unknown.
      TypeError: if a number is not a number.

    Example:
      >>> FineTune(layers="head", num_epochs=5)
      FineTune(layers='head', num_epochs=5, learning_rate=0.01, batch_size=64)
    """

    layers: str = "all"
    num_epochs: int = 10
    learning_rate: float = 0.01
    batch_size: int = 64

    def __post_init__(self) -> None:
        """Refuses settings that cannot be meant."""
        _check.one_of(LAYERS, layers=self.layers)
        _check.integer_at_least(1, num_epochs=self.num_epochs)
        _check.positive(learning_rate=self.learning_rate)
        _check.integer_at_least(1, batch_size=self.batch_size)

    def change(self, suspect: TrainedModel, material: Material) -> TrainedModel:
        """The model after more training on `material.clean_images`; plain logits.

        Raises:
          ValueError: if there are fewer clean photos than one batch holds.
        """
        settings = dataclasses.replace(
            material.settings,
            num_epochs=self.num_epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            warmup_epochs=0,
            label_smoothing=0.0,
            seed=derive_seed(material.seed, "fine_tune"),
        )
        variables, details = retrain(
            suspect.model,
            settings,
            material.clean_images,
            material.clean_labels,
            initial_variables=suspect.variables,
            trainable=self.layers,
        )
        return TrainedModel.of(suspect.model, variables, **details)


@dataclasses.dataclass(frozen=True)
class EarlyStopping:
    """The same training, stopped after a share of its epochs.

    Stops memorisation where it begins (Prechelt 1998, https://doi.org/10.1007/3-540-49430-8_3,
    with a fixed time in place of a validation set). As a model attack it trains anew from
    `material` with `material.settings`, seed included, and the plain recipe: same first
    weights, same batches (`BatchPlan` of `settings.seed`), same learning rates, which have not
    yet fallen as far as they would have. If the suspect was trained that way, the result is the
    suspect as it stood at that epoch.

    Attributes:
      fraction: share of the epochs, strictly between 0 and 1; rounded to whole epochs, halves
        up, at least one.

    Raises:
      ValueError: if `fraction` is out of range.
      TypeError: if it is not a number.

    Example:
      >>> EarlyStopping(fraction=0.25).num_epochs(90)
      23
    """

    fraction: float = 0.25

    def __post_init__(self) -> None:
        """Refuses a share that is no share."""
        _check.in_open_interval(0.0, 1.0, fraction=self.fraction)

    def num_epochs(self, planned_epochs: int) -> int:
        """Whole epochs out of those planned, at least 1."""
        return max(1, math.floor(self.fraction * planned_epochs + 0.5))

    def change(self, suspect: TrainedModel, material: Material) -> TrainedModel:
        """The model at the earlier epoch; `details` hold it as `num_epochs`."""
        settings = material.settings
        num_epochs = self.num_epochs(settings.num_epochs)
        last_step = num_epochs * settings.steps_per_epoch(len(material.images))
        steps_taken = []
        variables, details = retrain(
            suspect.model,
            settings,
            material.images,
            material.labels,
            segment_steps=_segment_steps(last_step),
            on_segment=lambda report: steps_taken.append(report.step),
            should_stop=lambda: steps_taken[-1] >= last_step,
        )
        return TrainedModel.of(suspect.model, variables, num_epochs=num_epochs, **details)


def _segment_steps(last_step: int) -> int:
    """The longest segment that ends at `last_step`: its largest divisor within the limit.

    Example:
      >>> _segment_steps(300), _segment_steps(4096)
      (300, 2048)
    """
    num_segments = math.ceil(last_step / _LARGEST_SEGMENT)
    while last_step % num_segments:
        num_segments += 1
    return last_step // num_segments


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


def retrain(
    model: Model,
    settings: train.TrainSettings,
    images: np.ndarray,
    labels: np.ndarray,
    **options: Any,
) -> tuple[Variables, dict[str, float]]:
    """Trains to the end, batches ordered by `settings.seed`.

    Args:
      model: what to train.
      settings: how.
      images: uint8 `[n, H, W, 3]`.
      labels: integers `[n]`.
      **options: further keyword arguments of `train.train`.

    Returns:
      `(variables, details)`: weights bound to no device, so that models of several trainings
      meet in one program; the last segment's mean training loss in nats and accuracy.

    Raises:
      ValueError: if there are fewer images than one batch holds, or shapes do not fit.
    """
    settings.num_steps(len(images))  # names batch_size where there are too few images
    plan = data.BatchPlan(len(images), settings.batch_size, settings.seed)
    result = train.train(model, settings, images, labels, plan.rows, **options)
    last = result.reports[-1]
    details = {"train_loss": last.loss, "train_accuracy": last.metrics["accuracy"]}
    return unbound(result.state.variables), details


def unbound(variables: Variables) -> Variables:
    """A copy of weights that JAX may use on whatever devices a caller shares them over."""
    return jax.tree.map(jnp.asarray, jax.device_get(variables))
