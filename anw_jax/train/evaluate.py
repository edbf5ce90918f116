"""Loss and accuracy of a model on labelled images."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import _check, data
from anw_jax.train.losses import cross_entropy


def evaluate(
    predict_fn: Callable[[jax.Array], jax.Array],
    images: np.ndarray | data.StreamedImages,
    labels: np.ndarray,
    batch_size: int = 256,
) -> tuple[float, float]:
    """Return the mean loss and accuracy, without augmentation.

    The last batch is padded, so a `jax.tree_util.Partial` is traced once per shape of
    image, whatever the number of images and the weights.

    Args:
      predict_fn: float32 images `[b, H, W, 3]` in [0, 1] to logits `[b, c]`; what
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
