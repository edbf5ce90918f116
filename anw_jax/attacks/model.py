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
    """Continues the training on images that carry no mark.

    The two ways of Adi et al. 2018 (https://arxiv.org/abs/1802.04633, section 5), "fine-tune
    all layers" and "fine-tune last layer". Momentum starts from 0, the learning rate
    follows the schedule of the training over `num_epochs` without warm-up; crops and mirror
    images are those of the training. Labels are hard.

    Attributes:
      layers: "all", or "head" for the last dense layer alone; then the rest of the weights and
        all averages of BatchNorm stay bit for bit.
      num_epochs: passes over the clean images, at least 1.
      learning_rate: peak learning rate, above 0.
      batch_size: images per step, at most the number of clean images.

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
        """Check names and numbers."""
        _check.one_of(LAYERS, layers=self.layers)
        _check.integer_at_least(1, num_epochs=self.num_epochs)
        _check.positive(learning_rate=self.learning_rate)
        _check.integer_at_least(1, batch_size=self.batch_size)

    def change(self, trained: TrainedModel, material: Material) -> TrainedModel:
        """Return the model after more training on `material.clean_images`.

        Raises:
          ValueError: if there are fewer clean images than one batch holds.
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
            trained.model,
            settings,
            material.clean_images,
            material.clean_labels,
            initial_variables=trained.variables,
            trainable=self.layers,
        )
        return TrainedModel.of(trained.model, variables, **details)


@dataclasses.dataclass(frozen=True)
class EarlyStopping:
    """Repeats the training and stops it after a share of its epochs.

    Stops before images are memorised (Prechelt 1998, https://doi.org/10.1007/3-540-49430-8_3,
    with a fixed time in place of a validation set). It trains anew from `material` with
    `material.settings`, seed included, and the plain recipe: the same first weights, batches
    (`BatchPlan` of `settings.seed`) and learning rates, up to that epoch. If the model was
    trained that way, the result is the same model at that epoch.

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
        """Check the share."""
        _check.in_open_interval(0.0, 1.0, fraction=self.fraction)

    def num_epochs(self, planned_epochs: int) -> int:
        """Return how many of the planned epochs are trained, at least 1."""
        return max(1, math.floor(self.fraction * planned_epochs + 0.5))

    def change(self, trained: TrainedModel, material: Material) -> TrainedModel:
        """Return the model at the earlier epoch, which `details` hold as `num_epochs`."""
        settings = material.settings
        num_epochs = self.num_epochs(settings.num_epochs)
        last_step = num_epochs * settings.steps_per_epoch(len(material.images))
        steps_taken = []
        variables, details = retrain(
            trained.model,
            settings,
            material.images,
            material.labels,
            segment_steps=_segment_steps(last_step),
            on_segment=lambda report: steps_taken.append(report.step),
            should_stop=lambda: steps_taken[-1] >= last_step,
        )
        return TrainedModel.of(trained.model, variables, num_epochs=num_epochs, **details)


def _segment_steps(last_step: int) -> int:
    """Return the longest segment that ends at `last_step`: its largest allowed divisor.

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
    """Trains more models on the same images and averages the answers of all.

    Deep ensembles (Lakshminarayanan et al. 2017, https://arxiv.org/abs/1612.01474) average
    probabilities; averaging their logarithms gives the geometric mean, which the softmax makes
    sum to 1. The given model is the first member; each other one is trained plainly with
    `material.settings` from a separate seed.

    Attributes:
      num_models: members, the given model among them, at least 2.
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
        """Check names and numbers."""
        _check.integer_at_least(2, num_models=self.num_models)
        _check.one_of(AVERAGES, average=self.average)

    def change(self, trained: TrainedModel, material: Material) -> TrainedModel:
        """Return the ensemble: `predict` holds all members' weights, `variables` the first's.

        A white-box test of `variables` therefore sees one member of several.
        """
        predicts = [trained.predict]
        for member in range(1, self.num_models):
            seed = derive_seed(material.seed, "ensemble", member)
            settings = dataclasses.replace(material.settings, seed=seed)
            variables, _ = retrain(trained.model, settings, material.images, material.labels)
            predicts.append(trained.model.predict_fn(variables))
        predict = averaged(predicts, self.average)
        details = {"num_models": self.num_models}
        return TrainedModel(trained.model, trained.variables, predict, details)


def averaged(predicts: list[jax.tree_util.Partial], average: str) -> jax.tree_util.Partial:
    """Average several functions of images, which become arguments of one traced function."""
    fun = _mean_probability if average == "probabilities" else _mean_log_probability
    return jax.tree_util.Partial(fun, tuple(predicts))


def _mean_probability(
    predicts: tuple[jax.tree_util.Partial, ...], images: jax.Array
) -> jax.Array:
    """Return the logarithm of the mean of the probabilities, `[b, c]`."""
    logs = _log_probabilities(predicts, images)
    return jax.nn.logsumexp(logs, axis=0) - jnp.float32(math.log(len(predicts)))


def _mean_log_probability(
    predicts: tuple[jax.tree_util.Partial, ...], images: jax.Array
) -> jax.Array:
    return _log_probabilities(predicts, images).mean(axis=0)


def _log_probabilities(
    predicts: tuple[jax.tree_util.Partial, ...], images: jax.Array
) -> jax.Array:
    """Return float32 `[k, b, c]`."""
    return jnp.stack([jax.nn.log_softmax(predict(images)) for predict in predicts])


@dataclasses.dataclass(frozen=True)
class Prune:
    """Sets the weights with the smallest magnitudes, over all layers together, to 0.

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
        """Check the share."""
        _check.in_open_interval(0.0, 1.0, fraction=self.fraction)

    def change(self, trained: TrainedModel, material: Material) -> TrainedModel:
        """Return the pruned model; `material` is not used.

        `details` hold the numbers of weights and of pruned weights, and the largest magnitude
        that was pruned.
        """
        params, details = prune_kernels(trained.variables["params"], self.fraction)
        variables = unbound(trained.variables | {"params": params})
        return TrainedModel.of(trained.model, variables, **details)


def prune_kernels(params: Any, fraction: float) -> tuple[Any, dict[str, Any]]:
    """Copy a parameter tree with its smallest kernel weights set to 0.

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
    """Set `num_pruned` of `[n]` weights to 0, ties by order; also return the largest."""
    if not num_pruned:
        return weights, 0.0
    magnitudes = np.abs(weights)
    # Linear in n; a stable sort of the millions of weights of a ResNet-152 is not.
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
    """Train a model to the end, with batches ordered by `settings.seed`.

    Args:
      model: the architecture.
      settings: how it is trained.
      images: uint8 `[n, H, W, 3]`.
      labels: integers `[n]`.
      **options: further keyword arguments of `train.train`.

    Returns:
      `(variables, details)`: weights bound to no device, so that models of several trainings
      can be used in one program; the last segment's mean training loss in nats and accuracy.

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
    """Copy weights so that they are bound to no device."""
    return jax.tree.map(jnp.asarray, jax.device_get(variables))
