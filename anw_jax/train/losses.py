"""Losses for `make_step`, and the mean loss of a model on labelled images."""

import functools
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from anw_jax import _check, data
from anw_jax.models import Diffusion, Model
from anw_jax.train.recipe import Batch
from anw_jax.train.step import LossFn, Metrics

# `(params, model_state, batch, rng) -> scalar`.
PenaltyFn = Callable[[chex.ArrayTree, chex.ArrayTree, Any, chex.PRNGKey], jax.Array]


def classification_loss(
    model: Model, label_smoothing: float = 0.0, *, is_frozen: bool = False
) -> LossFn:
    """Make the cross-entropy of a classifier on prepared batches; its metric is "accuracy".

    Args:
      model: the network.
      label_smoothing: mass moved from each label to all classes; soft targets stay.
      is_frozen: whether the network is in evaluation mode: its batch statistics stay
        unchanged, and no unit is dropped.

    Returns:
      A loss for `make_step`; its batches are `Batch` of float images.
    """

    def loss_fn(
        params: chex.ArrayTree, model_state: chex.ArrayTree, batch: Batch, rng: chex.PRNGKey
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


def denoising_loss(model: Diffusion) -> LossFn:
    """Make the loss of a diffusion model: its squared error about noise at random steps.

    Ho, Jain, Abbeel (2020), eq. 14, https://arxiv.org/abs/2006.11239. In an audit
    `verify.denoising_error` computes it with known noises.

    Args:
      model: the network, without a condition on classes or with one.

    Returns:
      A loss for `make_step`; its batches are `Batch` of float images in [0, 1]; labels are used
      where the model is conditioned on classes.
    """

    def loss_fn(
        params: chex.ArrayTree, model_state: chex.ArrayTree, batch: Batch, rng: chex.PRNGKey
    ) -> tuple[jax.Array, tuple[Any, Metrics]]:
        images, labels, _ = batch
        step_key, noise_key = jax.random.split(rng)
        steps = jax.random.randint(step_key, (len(images),), 0, model.num_steps)
        noise = jax.random.normal(noise_key, images.shape)
        noisy = model.add_noise(images, steps, noise)
        conditions = () if model.num_classes is None else (labels,)
        seen = model.predict_noise({"params": params}, noisy, steps, *conditions)
        return jnp.square(seen - noise).mean(), (model_state, {})

    return loss_fn


def with_penalties(loss_fn: LossFn, **penalties: PenaltyFn) -> LossFn:
    """Add penalties to a loss; each is a metric under its own name.

    Args:
      loss_fn: any loss for `make_step`.
      **penalties: `(params, model_state, batch, rng) -> scalar`, already weighted.

    Example:
      >>> def loss_fn(params, model_state, batch, rng):
      ...     return jnp.abs(params - batch), (model_state, {})
      >>> both = with_penalties(loss_fn, size=lambda params, *rest: 0.5 * params**2)
      >>> loss, (_, metrics) = both(jnp.float32(2.0), (), jnp.float32(1.0), None)
      >>> float(loss), float(metrics["size"])
      (3.0, 2.0)
    """

    def total_fn(
        params: chex.ArrayTree, model_state: chex.ArrayTree, batch: Any, rng: chex.PRNGKey
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


def evaluate(
    predict_fn: Callable[[jax.Array], jax.Array],
    images: np.ndarray | data.StreamedImages,
    labels: np.ndarray,
    batch_size: int = 256,
) -> tuple[float, float]:
    """Return mean loss and accuracy on labelled images, without augmentation.

    The last batch is padded, so a `jax.tree_util.Partial` is traced once per image shape,
    whatever the number of images and the weights.

    Args:
      predict_fn: float32 images `[b, H, W, 3]` in [0, 1] to logits `[b, c]`, such as
        `Model.predict_fn` returns.
      images: uint8 `[n, H, W, 3]`, n at least 1, streamed or not.
      labels: integers `[n]`.
      batch_size: images per call.

    Returns:
      `(loss, accuracy)`: mean softmax cross-entropy in nats, and a fraction.

    Raises:
      ValueError: if shapes do not fit or there are no images.
      TypeError: if images are not uint8 or labels not integers.
    """
    is_streamed = isinstance(images, data.StreamedImages)
    if not is_streamed:
        images = _check.uint8_images(images=images)
    labels = _check.class_labels(len(images), labels=labels)
    if not len(images):
        raise ValueError("images must hold at least one image, got none")
    _check.integer_at_least(1, batch_size=batch_size)
    if not isinstance(predict_fn, jax.tree_util.Partial):
        predict_fn = jax.tree_util.Partial(predict_fn)
    read = functools.partial(_padded, images, labels, batch_size)
    starts = range(0, len(images), batch_size)
    batches = data.prefetch(read, starts) if is_streamed else map(read, starts)
    sums = [_batch_sums(predict_fn, *batch) for batch in batches]
    loss, num_correct = np.sum(jax.device_get(sums), axis=0, dtype=np.float64)
    return float(loss / len(images)), float(num_correct / len(images))


def _padded(
    images: np.ndarray | data.StreamedImages, labels: np.ndarray, batch_size: int, start: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = np.arange(start, start + batch_size)
    is_real = rows < len(images)
    rows = np.where(is_real, rows, 0)
    return images[rows], labels[rows], is_real


@jax.jit
def _batch_sums(
    predict_fn: jax.tree_util.Partial,
    images: jax.Array,
    labels: jax.Array,
    is_real: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    logits = predict_fn(images.astype(jnp.float32) / 255.0).astype(jnp.float32)
    losses = jnp.where(is_real, cross_entropy(logits, labels), 0.0)
    correct = jnp.where(is_real, logits.argmax(-1) == labels, False)
    return losses.sum(), correct.astype(jnp.float32).sum()
