"""Training of a classifier on labelled photos: `fit` with one particular loss."""

import dataclasses
import functools
import hashlib
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import _check, data, verify
from anw_jax.models import Model
from anw_jax.train.batches import Batches, IndicesFn
from anw_jax.train.checkpoints import differences, digest
from anw_jax.train.losses import classification_loss
from anw_jax.train.recipe import PLAIN, Batch, Recipe, classification_batch, plain_values
from anw_jax.train.runner import TrainResult, fit, seconds_each
from anw_jax.train.settings import TrainSettings, learning_rate_fn, optimizer
from anw_jax.train.step import Step, TrainState, make_step, value_and_grad

TRAINABLE = ("all", "head")

# Constants folded into the root key, so that no two uses share a stream.
_INIT_STREAM = 0
_STEP_STREAM = 1

# For `forecast_seconds`: forward and backward pass together cost about three forward passes,
# and a layer from the middle of a small ResNet approximates the whole network.
_PASSES = 3.0
_PROBE_IMAGES, _PROBE_SIDE, _PROBE_WIDTH = 32, 16, 96


def train(
    model: Model,
    settings: TrainSettings,
    images: np.ndarray | data.StreamedImages,
    labels: np.ndarray,
    indices_fn: IndicesFn,
    *,
    recipe: Recipe = PLAIN,
    targets: np.ndarray | None = None,
    initial_variables: Any = None,
    trainable: str = "all",
    **options: Any,
) -> TrainResult:
    """Train a classifier, from its newest checkpoint if there is one.

    This is `fit` with the loss of classification: all rules of `fit` hold.

    Args:
      model: the network.
      settings: how it is trained.
      images: uint8 `[n, H, W, 3]`, which are held on the devices; or a `data.StreamedImages`,
        whose batches are read when they are needed.
      labels: integers `[n]`, each in [0, model.num_classes).
      indices_fn: the batch plan, `(first_step, num_steps)` to int32
        `[num_steps, batch_size]` rows of `images`; must be a pure function.
      recipe: further changes of batches and gradients.
      targets: float32 `[n, c]`, rows that sum to 1: distributions over the classes to learn
        instead of the labels (distillation); None = the labels. Accuracy is then that of the
        most likely classes of the targets.
      initial_variables: weights to start from, of the shapes that `model.init` returns; they
        stay unchanged. None = drawn from `settings.seed`.
      trainable: "all" parameters, or only those of the last dense layer ("head"); the rest of
        the network is then in evaluation mode and stays unchanged.
      **options: of `fit`: `checkpoint_dir`, `on_start`, `on_segment`, `should_stop`,
        `num_devices`, `segment_steps`, `checkpoint_seconds`, `max_seconds`.

    Returns:
      The last state, and whether training is complete. Metrics of the reports are "loss"
      (nats, on augmented batches), "accuracy" and "learning_rate".

    Raises:
      ValueError: if arguments do not fit each other.
      TypeError: if an argument is of the wrong kind.
      SettingsError: in a run of several processes.
      CheckpointError: see `fit`.
      DivergenceError: see `fit`.
      JaxError: if jax computes wrong numbers; see `verify.check_jax`.
    """
    check_model(model, settings)
    if not isinstance(images, data.StreamedImages):
        images = _check.uint8_images(images=images)
    labels = _check.class_labels(len(images), model.num_classes, labels=labels)
    check_changes(model, images.shape[1:], recipe, initial_variables, trainable)
    if targets is not None:
        targets = _soft_targets(targets, (len(images), model.num_classes))
    step = classification_step(
        model, settings, settings.steps_per_epoch(len(images)), recipe, trainable
    )
    columns = Batch(images, labels, targets)
    unusual = {
        "recipe": recipe.plain() or None,
        "targets": None if targets is None else digest(targets),
        "initial_variables": initial_variables and digest(initial_variables),
        "trainable": None if trainable == "all" else trainable,
    }
    return fit(
        step,
        first_state(step, model, settings, images.shape[1:], initial_variables),
        Batches(columns, indices_fn, (settings.batch_size,)),
        num_steps=settings.num_steps(len(images)),
        key=step_key(settings),
        identity={
            "model": plain_values(model),
            "settings": plain_values(settings),
            "dataset": _digest(images, labels),
            # Left out where a training has none, as in checkpoints of earlier versions.
            **{name: value for name, value in unusual.items() if value is not None},
        },
        **options,
    )


def forecast_seconds(
    model: Model, settings: TrainSettings, num_images: int, image_shape: tuple[int, int, int]
) -> float | None:
    """Estimate the seconds of a training on this machine from FLOPs, within a small factor.

    The FLOPs of the network, as XLA counts them before compiling, are divided by the speed of
    one convolution with its gradient, which takes about a second to measure. The
    report that `train` passes to `on_start` is more accurate, but it comes after compiling
    and timing the first step, which may take minutes for a deep network.

    Args:
      model: the network.
      settings: how it is trained.
      num_images: in the training set.
      image_shape: `(H, W, 3)`.

    Returns:
      Seconds, or None where the backend does not count FLOPs.
    """
    flops_per_image = _PASSES * forward_flops(model, image_shape)
    if math.isnan(flops_per_image):
        return None
    images = settings.num_steps(num_images) * settings.batch_size
    return images * flops_per_image / _flops_per_second()


def forward_flops(model: Model, image_shape: tuple[int, int, int]) -> float:
    """Return the FLOPs of one image's forward pass; a multiply-add counts as two.

    NaN where the backend does not count them.

    Example:
      >>> from anw_jax import models
      >>> round(forward_flops(models.create("testing", 10), (32, 32, 3)) / 1e6, 1)
      1.1
    """
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), image_shape))
    image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    return _counted_flops(jax.jit(model.__call__).lower(variables, image).cost_analysis())


def _counted_flops(costs: Any) -> float:
    """Return the FLOPs of a backend's cost analysis: a dict, a list of one, or None."""
    if isinstance(costs, list | tuple):
        costs = costs[0] if costs else None
    flops = costs.get("flops", math.nan) if isinstance(costs, dict) else math.nan
    return float(flops) if flops > 0 else math.nan  # some backends return -1 for "unknown"


def _flops_per_second() -> float:
    """Return the speed of one 3x3 convolution with its gradient by the kernel."""
    shape = (_PROBE_IMAGES, _PROBE_SIDE, _PROBE_SIDE, _PROBE_WIDTH)
    images = jnp.ones(shape, jnp.float32)
    kernel = jnp.ones((3, 3, _PROBE_WIDTH, _PROBE_WIDTH), jnp.float32)

    @jax.grad
    def slope(kernel: jax.Array) -> jax.Array:
        out = jax.lax.conv_general_dilated(
            images, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return (out * out).sum()

    # Each call needs the one before, so none can overtake another or run beside it.
    descend = jax.jit(lambda kernel: kernel - 1e-12 * slope(kernel))

    def take(count: int) -> jax.Array:
        value = kernel
        for _ in range(count):
            value = descend(value)
        return value

    take(1).block_until_ready()
    flops = 2 * 2 * 9 * _PROBE_WIDTH**2 * _PROBE_IMAGES * _PROBE_SIDE**2
    return flops / seconds_each(take)


def classification_step(
    model: Model,
    settings: TrainSettings,
    steps_per_epoch: int,
    recipe: Recipe = PLAIN,
    trainable: str = "all",
) -> Step:
    """Make the step of a classifier on uint8 images.

    Trainings that differ only in seed or data share one step, and so one compilation.

    Args:
      model: the network.
      settings: how it is trained; the seed is not used.
      steps_per_epoch: optimizer steps in one epoch, for the learning rate.
      recipe: further changes of batches and gradients.
      trainable: "all" parameters, or only those of the "head"; the rest of the network is then
        in evaluation mode.
    """
    seedless = dataclasses.replace(settings, seed=0)
    return _cached_step(model, seedless, steps_per_epoch, recipe, trainable)


@functools.lru_cache(maxsize=16)
def _cached_step(
    model: Model,
    settings: TrainSettings,
    steps_per_epoch: int,
    recipe: Recipe,
    trainable: str,
) -> Step:
    is_head = trainable == "head"
    loss_fn = classification_loss(model, settings.label_smoothing, is_frozen=is_head)
    return make_step(
        loss_fn,
        optimizer(settings, steps_per_epoch),
        trained=(model.head,) if is_head else None,
        prepare_fn=classification_batch(model, settings, recipe, loss_fn=loss_fn),
        gradient_fn=value_and_grad if recipe.privacy is None else recipe.privacy.gradient,
        schedule=learning_rate_fn(settings, steps_per_epoch),
    )


def first_state(
    step: Step,
    model: Model,
    settings: TrainSettings,
    image_shape: tuple[int, int, int],
    initial_variables: Any = None,
) -> TrainState:
    """Return the state before the first step; drawn weights depend only on the seed."""
    key = jax.random.fold_in(jax.random.key(settings.seed), _INIT_STREAM)
    variables = initial_variables or model.init(key, image_shape)
    return step.init(variables["params"], variables.get("batch_stats", {}))


def step_key(settings: TrainSettings) -> jax.Array:
    """Return the key of a training, into which every step folds its number."""
    return jax.random.fold_in(jax.random.key(settings.seed), _STEP_STREAM)


def check_model(model: Model, settings: TrainSettings) -> None:
    """Check the argument types and that jax computes correctly."""
    verify.check_jax()
    _check.is_instance(Model, model=model)
    _check.is_instance(TrainSettings, settings=settings)


def check_changes(
    model: Model,
    image_shape: tuple[int, int, int],
    recipe: Recipe,
    initial_variables: Any,
    trainable: str,
) -> None:
    """Check that recipe, weights and trainable parameters fit the model.

    Raises:
      ValueError: if weights are of another model, or BatchNorm would break privacy.
      TypeError: if an argument is of the wrong kind.
    """
    _check.is_instance(Recipe, recipe=recipe)
    _check.one_of(TRAINABLE, trainable=trainable)
    if initial_variables is not None:
        check_variables(model, image_shape, initial_variables)
    if recipe.privacy is None or trainable == "head":
        return
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), image_shape))
    if jax.tree.leaves(shapes["batch_stats"]):
        raise ValueError(
            f"model must have no BatchNorm under privacy, got {model.name!r} with norm="
            f"{model.norm!r}: its statistics mix the examples of a batch; create it with "
            "norm='group'"
        )


def _soft_targets(targets: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    targets = _check.unit_range(targets=targets).astype(np.float32)
    if targets.shape != shape:
        raise ValueError(f"targets must have shape {shape}, got {targets.shape}")
    sums = targets.sum(axis=1, dtype=np.float64)
    worst = sums[np.abs(sums - 1.0).argmax()]
    if abs(worst - 1.0) > 1e-3:
        raise ValueError(f"targets must sum to 1 in each row, got a row that sums to {worst:g}")
    return targets


def _digest(images: np.ndarray | data.StreamedImages, labels: np.ndarray) -> str:
    hashed = hashlib.sha256(repr(images.shape).encode())
    if isinstance(images, data.StreamedImages):
        hashed.update(images.identity().encode())  # its pixels would take long to read
    else:
        hashed.update(np.ascontiguousarray(images))
    hashed.update(np.ascontiguousarray(labels))
    return hashed.hexdigest()[:16]


def check_variables(model: Model, image_shape: tuple[int, int, int], variables: Any) -> None:
    """Check that the weights belong to this model.

    Raises:
      ValueError: naming up to five leaves that differ.
      TypeError: if `variables` is no dict of arrays.
    """
    is_tree = isinstance(variables, dict) and all(
        hasattr(leaf, "dtype") and hasattr(leaf, "shape") for leaf in jax.tree.leaves(variables)
    )
    if not is_tree:
        raise TypeError(
            "initial_variables must be a dict of arrays, "
            f"got {type(variables).__name__}: {variables!r:.80}"
        )
    wanted = jax.eval_shape(lambda: model.init(jax.random.key(0), image_shape))
    differing = differences(variables, wanted)
    if differing:
        raise ValueError(
            f"initial_variables must be of model {model.name!r} with {model.num_classes} "
            f"classes: {differing}"
        )
