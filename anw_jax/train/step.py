"""One optimizer step: `(state, batch, key) -> (state, metrics)`, pure."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from anw_jax.models import Model
from anw_jax.train.augment import augment
from anw_jax.train.schedule import optimizer
from anw_jax.train.settings import TrainSettings
from anw_jax.train.state import Metrics, TrainState


class Batch(NamedTuple):
    """Images uint8 `[b, H, W, 3]` and labels int32 `[b]`."""

    images: jax.Array
    labels: jax.Array


StepFn = Callable[[TrainState, Batch, jax.Array], tuple[TrainState, Metrics]]


def make_step_fn(model: Model, settings: TrainSettings, steps_per_epoch: int) -> StepFn:
    """A training step, not yet jitted.

    Augmentation happens inside, so images arrive as uint8.

    Args:
      model: what to train.
      settings: how.
      steps_per_epoch: optimizer steps in one epoch, for the learning rate.

    Returns:
      `(state, batch, key) -> (state, metrics)`; `key` is the step's own.
    """
    sgd = optimizer(settings, steps_per_epoch)

    def step_fn(state: TrainState, batch: Batch, key: jax.Array) -> tuple[TrainState, Metrics]:
        images = augment(key, batch.images.astype(jnp.float32) / 255.0, settings)

        def loss_fn(params: Any) -> tuple[jax.Array, tuple[jax.Array, Any]]:
            variables = {"params": params, "batch_stats": state.batch_stats}
            logits, batch_stats = model.apply(variables, images, train=True)
            loss = cross_entropy(logits, batch.labels, settings.label_smoothing).mean()
            return loss, (logits, batch_stats)

        gradient_fn = jax.value_and_grad(loss_fn, has_aux=True)
        (loss, (logits, batch_stats)), gradients = gradient_fn(state.params)
        updates, opt_state = sgd.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        accuracy = (logits.argmax(-1) == batch.labels).astype(jnp.float32).mean()
        moved = TrainState(state.step + 1, params, batch_stats, opt_state)
        return moved, Metrics(loss, accuracy)

    return step_fn


def cross_entropy(
    logits: jax.Array, labels: jax.Array, label_smoothing: float = 0.0
) -> jax.Array:
    """Softmax cross-entropy in nats, float32 `[b]`, of logits `[b, c]` and labels `[b]`."""
    if label_smoothing == 0.0:
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    targets = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    smoothed = optax.smooth_labels(targets, label_smoothing)
    return optax.softmax_cross_entropy(logits, smoothed)
