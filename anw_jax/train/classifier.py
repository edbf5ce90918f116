"""Training of a classifier on labelled photos: one loss of many, with its settings."""

import dataclasses
import functools
import hashlib
from typing import Any

import jax
import numpy as np

from anw_jax import _check, data, verify
from anw_jax.models import Model
from anw_jax.train.batches import Batches, IndicesFn
from anw_jax.train.checkpoints import differences, digest, some
from anw_jax.train.losses import classification_loss
from anw_jax.train.recipe import PLAIN, Batch, Recipe, classification_batch
from anw_jax.train.runner import StartReport, TrainResult, fit
from anw_jax.train.settings import TrainSettings, learning_rate_fn, optimizer
from anw_jax.train.step import Step, TrainState, make_step, value_and_grad

TRAINABLE = ("all", "head")

# Constants folded into the root key, so that no two uses share a stream.
_INIT_STREAM = 0
_STEP_STREAM = 1


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
    """Train a classifier; resume where the newest checkpoint left off.

    This is `fit` with the loss of classification: every rule of `fit` holds.

    Args:
      model: what to train.
      settings: how.
      images: uint8 `[n, H, W, 3]`; kept on the devices. Or a `data.StreamedImages`, whose
        batches are read as they are needed.
      labels: integers `[n]`, each in [0, model.num_classes).
      indices_fn: the batch plan, `(first_step, num_steps)` to int32
        `[num_steps, batch_size]` rows of `images`; must be a pure function.
      recipe: what is done to batches and gradients besides.
      targets: float32 `[n, c]`, rows that sum to 1: distributions over the classes to learn in
        place of the labels (distillation); None = the labels. Accuracy then counts the classes
        that targets make likeliest.
      initial_variables: weights to start from, of the shapes that `model.init` gives, left as
        they are; None = drawn from `settings.seed`.
      trainable: "all" parameters, or those of the last dense layer ("head") only; the rest of
        the network then stays as it is, BatchNorm's averages too, and drops no units.
      **options: of `fit`: `checkpoint_dir`, `on_start`, `on_segment`, `should_stop`,
        `num_devices`, `segment_steps`, `checkpoint_seconds`, `max_seconds`.

    Returns:
      The last state, and whether training is complete. Metrics of its reports are "loss"
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
            # Named only where a training has it, as before there were such things.
            **{name: value for name, value in unusual.items() if value is not None},
        },
        **options,
    )


def estimate(*arguments: Any, **options: Any) -> StartReport:
    """Return how long a training will take here, from one compiled and timed step.

    A later `train` with the same model, settings, recipe and shapes does not compile again.

    Args:
      *arguments: of `train`.
      **options: of `train`.

    Raises:
      ValueError: if arguments do not fit each other.
      TypeError: if an argument is of the wrong kind.
    """
    reports: list[StartReport] = []
    train(*arguments, on_start=reports.append, max_seconds=-np.inf, **options)
    return reports[0]


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
      model: what to train.
      settings: how; the seed is not used.
      steps_per_epoch: optimizer steps in one epoch, for the learning rate.
      recipe: what is done to batches and gradients besides.
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
    """Return the state before the first step; drawn weights depend on the seed alone."""
    key = jax.random.fold_in(jax.random.key(settings.seed), _INIT_STREAM)
    variables = initial_variables or model.init(key, image_shape)
    return step.init(variables["params"], variables.get("batch_stats", {}))


def step_key(settings: TrainSettings) -> jax.Array:
    """Return the key that every step folds its number into."""
    return jax.random.fold_in(jax.random.key(settings.seed), _STEP_STREAM)


def plain_values(of: Any) -> dict[str, Any]:
    """Return the fields of a dataclass as they come back from JSON."""
    values = dataclasses.asdict(of).items()
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values}


def check_model(model: Model, settings: TrainSettings) -> None:
    """Refuse arguments of another kind, and a jax that computes wrong numbers."""
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
    """Refuse what cannot be done to this model's training.

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
    """Refuse weights that are not those of this model.

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
            f"classes: {some(differing)}"
        )
