"""One optimizer step: `(state, batch, key) -> (state, metrics)`, pure."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from anw_jax.models import Model
from anw_jax.train.augment import augment
from anw_jax.train.recipe import PLAIN, Recipe
from anw_jax.train.schedule import optimizer
from anw_jax.train.settings import TrainSettings
from anw_jax.train.state import Metrics, TrainState
from anw_jax.train.trees import trained_part

# Folded into the step's key, one for each use. They begin at 2: `augment` splits the same key,
# and `split(key)` is `fold_in(key, 0)` and `fold_in(key, 1)`.
_TRANSFORMS, _DROPOUT, _ADVERSARY, _PRIVACY = 2, 3, 4, 5


class Batch(NamedTuple):
    """One batch, or a whole set.

    Attributes:
      images: uint8 `[b, H, W, 3]`.
      labels: int32 `[b]`.
      targets: float32 `[b, c]`, soft targets that take the place of labels; or None.
    """

    images: jax.Array
    labels: jax.Array
    targets: jax.Array | None = None


StepFn = Callable[[TrainState, Batch, jax.Array], tuple[TrainState, Metrics]]
_LossFn = Callable[..., tuple[jax.Array, tuple[jax.Array, Any]]]


def make_step_fn(
    model: Model,
    settings: TrainSettings,
    steps_per_epoch: int,
    recipe: Recipe = PLAIN,
    trainable: str = "all",
) -> StepFn:
    """A training step, not yet jitted.

    Augmentation happens inside, so images arrive as uint8.

    Args:
      model: what to train.
      settings: how.
      steps_per_epoch: optimizer steps in one epoch, for the learning rate.
      recipe: what is done to batches and gradients besides.
      trainable: "all" parameters, or only those of the "head"; the rest of the network is then
        in evaluation mode, its batch statistics fixed and no unit dropped.

    Returns:
      `(state, batch, key) -> (state, metrics)`; `key` is the step's own.
    """
    sgd = optimizer(settings, steps_per_epoch)

    def step_fn(state: TrainState, batch: Batch, key: jax.Array) -> tuple[TrainState, Metrics]:
        images = augment(key, batch.images.astype(jnp.float32) / 255.0, settings)
        images, targets = _apply_transforms(recipe, key, images, batch, model, settings)
        loss_fn = functools.partial(_loss, model, settings, trainable, state)
        params = trained_part(model, state.params, trainable)
        if recipe.adversary is not None:
            images = _perturbed(recipe, key, images, targets, loss_fn, params)
        loss, logits, batch_stats, gradients = _gradient(
            recipe, key, images, targets, loss_fn, params, state
        )
        updates, opt_state = sgd.update(gradients, state.opt_state, params)
        params = state.params | optax.apply_updates(params, updates)
        labels = targets if targets.ndim == 1 else targets.argmax(-1)
        accuracy = (logits.argmax(-1) == labels).astype(jnp.float32).mean()
        moved = TrainState(state.step + 1, params, batch_stats, opt_state)
        return moved, Metrics(loss, accuracy)

    return step_fn


def _loss(
    model: Model,
    settings: TrainSettings,
    trainable: str,
    state: TrainState,
    params: Any,
    images: jax.Array,
    targets: jax.Array,
    key: jax.Array,
) -> tuple[jax.Array, tuple[jax.Array, Any]]:
    """Mean loss of a batch; logits and moved batch statistics beside it."""
    variables = {"params": state.params | params, "batch_stats": state.batch_stats}
    if trainable == "head":
        logits, batch_stats = model.apply(variables, images), state.batch_stats
    else:
        logits, batch_stats = model.apply(variables, images, train=True, key=key)
    # Soft targets have been smoothed before the transforms.
    smoothing = settings.label_smoothing if targets.ndim == 1 else 0.0
    return cross_entropy(logits, targets, smoothing).mean(), (logits, batch_stats)


def _apply_transforms(
    recipe: Recipe,
    key: jax.Array,
    images: jax.Array,
    batch: Batch,
    model: Model,
    settings: TrainSettings,
) -> tuple[jax.Array, jax.Array]:
    """Images, and int `[b]` labels or, where something needs them, float `[b, c]` targets."""
    if not recipe.transforms and batch.targets is None:
        return images, batch.labels
    targets = batch.targets
    if targets is None:
        targets = jax.nn.one_hot(batch.labels, model.num_classes, dtype=jnp.float32)
    if settings.label_smoothing > 0.0:
        targets = optax.smooth_labels(targets, settings.label_smoothing)
    key = jax.random.fold_in(key, _TRANSFORMS)
    for index, transform in enumerate(recipe.transforms):
        images, targets = transform.transform(jax.random.fold_in(key, index), images, targets)
    return images, targets


def _perturbed(
    recipe: Recipe,
    key: jax.Array,
    images: jax.Array,
    targets: jax.Array,
    loss_fn: _LossFn,
    params: Any,
) -> jax.Array:
    def image_loss(key: jax.Array, images: jax.Array) -> jax.Array:
        return loss_fn(params, images, targets, key)[0]

    return recipe.adversary.perturb(jax.random.fold_in(key, _ADVERSARY), images, image_loss)


def _gradient(
    recipe: Recipe,
    key: jax.Array,
    images: jax.Array,
    targets: jax.Array,
    loss_fn: _LossFn,
    params: Any,
    state: TrainState,
) -> tuple[jax.Array, jax.Array, Any, Any]:
    """Loss, logits, batch statistics and gradient, the last two as they will be used."""
    if recipe.privacy is None:
        dropout_key = jax.random.fold_in(key, _DROPOUT)
        gradient_fn = jax.value_and_grad(loss_fn, has_aux=True)
        (loss, (logits, batch_stats)), gradients = gradient_fn(
            params, images, targets, dropout_key
        )
        return loss, logits, batch_stats, gradients

    def example_loss(params: Any, *rest: jax.Array) -> tuple[jax.Array, jax.Array]:
        loss, (logits, _) = loss_fn(params, *rest)
        return loss, logits

    gradients, losses, logits = recipe.privacy.gradient(
        jax.random.fold_in(key, _PRIVACY), example_loss, params, images, targets
    )
    return losses.mean(), logits, state.batch_stats, gradients


def cross_entropy(
    logits: jax.Array, labels: jax.Array, label_smoothing: float = 0.0
) -> jax.Array:
    """Softmax cross-entropy in nats, float32 `[b]`.

    Args:
      logits: `[b, c]`.
      labels: integers `[b]`, or distributions over the classes `[b, c]`.
      label_smoothing: mass moved from each label to all classes.
    """
    if labels.ndim == 1 and label_smoothing == 0.0:
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    if labels.ndim == 1:
        labels = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    if label_smoothing > 0.0:
        labels = optax.smooth_labels(labels, label_smoothing)
    return optax.softmax_cross_entropy(logits, labels)
