"""Losses for `make_step`: classification, and penalties on top of any loss."""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from anw_jax.models import Model
from anw_jax.train.augment import augment
from anw_jax.train.settings import PLAIN, Recipe, TrainSettings
from anw_jax.train.step import LossFn, Metrics, PrepareFn

# Folded into the step's key, one for each use. They begin at 2: `augment` splits the same key,
# and `split(key)` is `fold_in(key, 0)` and `fold_in(key, 1)`; 3 is the gradient's.
_TRANSFORMS, _ADVERSARY = 2, 4

# `(params, model_state, batch, rng) -> scalar`.
PenaltyFn = Callable[[chex.ArrayTree, chex.ArrayTree, Any, chex.PRNGKey], jax.Array]


class Batch(NamedTuple):
    """One batch, or a whole set, of labelled images.

    Attributes:
      images: uint8 `[b, H, W, 3]`; float32 in [0, 1] once prepared.
      labels: int32 `[b]`.
      targets: float32 `[b, c]`, soft targets that take the place of labels; or None.
    """

    images: jax.Array
    labels: jax.Array
    targets: jax.Array | None = None


def classification_loss(
    model: Model, label_smoothing: float = 0.0, *, is_frozen: bool = False
) -> LossFn:
    """Make the cross-entropy of a classifier on prepared batches; its metric is "accuracy".

    Args:
      model: the network.
      label_smoothing: mass moved from each label to all classes; soft targets stay.
      is_frozen: whether the network is in evaluation mode: its batch statistics stay, and no
        unit is dropped.

    Returns:
      A loss for `make_step`; its batches are `Batch` of float images.
    """

    def loss_fn(
        params: Any, model_state: Any, batch: Batch, rng: chex.PRNGKey
    ) -> tuple[jax.Array, tuple[Any, Metrics]]:
        images, labels, targets = batch
        chex.assert_rank(images, 4)
        chex.assert_type(images, jnp.float32)
        chex.assert_equal_shape_prefix([images, labels], 1)
        variables = {"params": params, "batch_stats": model_state}
        if is_frozen:
            logits = model.apply(variables, images)
        else:
            logits, model_state = model.apply(variables, images, train=True, key=rng)
        if targets is None:
            loss = cross_entropy(logits, labels, label_smoothing).mean()
        else:
            loss = cross_entropy(logits, targets).mean()
            labels = targets.argmax(-1)
        accuracy = (logits.argmax(-1) == labels).astype(jnp.float32).mean()
        return loss, (model_state, {"accuracy": accuracy})

    return loss_fn


def classification_batch(
    model: Model, settings: TrainSettings, recipe: Recipe = PLAIN, *, loss_fn: LossFn
) -> PrepareFn:
    """Make what is done to a batch of photos before the gradient is taken.

    Photos become floats and are cropped and mirrored; then come the recipe's transforms (which
    make soft targets of labels) and its adversary, who is shown the loss.
    """

    def prepare_fn(params: Any, model_state: Any, batch: Batch, rng: chex.PRNGKey) -> Batch:
        images = augment(rng, batch.images.astype(jnp.float32) / 255.0, settings)
        batch = _transformed(rng, batch._replace(images=images), model, settings, recipe)
        if recipe.adversary is None:
            return batch

        def image_loss(key: chex.PRNGKey, images: jax.Array) -> jax.Array:
            return loss_fn(params, model_state, batch._replace(images=images), key)[0]

        key = jax.random.fold_in(rng, _ADVERSARY)
        return batch._replace(images=recipe.adversary.perturb(key, batch.images, image_loss))

    return prepare_fn


def _transformed(
    rng: chex.PRNGKey, batch: Batch, model: Model, settings: TrainSettings, recipe: Recipe
) -> Batch:
    """Return the batch after the recipe's transforms; with targets if something needs them."""
    images, labels, targets = batch
    if not recipe.transforms and targets is None:
        return batch
    if targets is None:
        targets = jax.nn.one_hot(labels, model.num_classes, dtype=jnp.float32)
    if settings.label_smoothing > 0.0:
        targets = optax.smooth_labels(targets, settings.label_smoothing)
    key = jax.random.fold_in(rng, _TRANSFORMS)
    for index, transform in enumerate(recipe.transforms):
        images, targets = transform.transform(jax.random.fold_in(key, index), images, targets)
    return Batch(images, labels, targets)


def with_penalties(loss_fn: LossFn, **penalties: PenaltyFn) -> LossFn:
    """Add penalties to a loss; each is a metric under its own name.

    Args:
      loss_fn: any loss for `make_step`.
      **penalties: `(params, model_state, batch, rng) -> scalar`, weighted as they shall count.

    Example:
      >>> def loss_fn(params, model_state, batch, rng):
      ...     return jnp.abs(params - batch), (model_state, {})
      >>> both = with_penalties(loss_fn, size=lambda params, *rest: 0.5 * params**2)
      >>> loss, (_, metrics) = both(jnp.float32(2.0), (), jnp.float32(1.0), None)
      >>> float(loss), float(metrics["size"])
      (3.0, 2.0)
    """

    def total_fn(
        params: Any, model_state: Any, batch: Any, rng: chex.PRNGKey
    ) -> tuple[jax.Array, tuple[Any, Metrics]]:
        loss, (moved, metrics) = loss_fn(params, model_state, batch, rng)
        added = {
            name: penalty_fn(params, model_state, batch, rng)
            for name, penalty_fn in penalties.items()
        }
        return loss + sum(added.values()), (moved, metrics | added)

    return total_fn


def cross_entropy(
    logits: jax.Array, labels: jax.Array, label_smoothing: float = 0.0
) -> jax.Array:
    """Return the softmax cross-entropy in nats, float32 `[b]`.

    Args:
      logits: `[b, c]`.
      labels: integers `[b]`, or distributions over the classes `[b, c]`.
      label_smoothing: mass moved from each label to all classes.
    """
    chex.assert_rank(logits, 2)
    if labels.ndim == 1 and label_smoothing == 0.0:
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    if labels.ndim == 1:
        labels = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    if label_smoothing > 0.0:
        labels = optax.smooth_labels(labels, label_smoothing)
    return optax.softmax_cross_entropy(logits, labels)
