"""What the rivals read from a model: each photo's loss, and whether its label is hit."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import _check


def answers(
    predict: Callable[[jax.Array], jax.Array],
    images: np.ndarray,
    labels: np.ndarray,
    *,
    batch_size: int = 256,
) -> tuple[np.ndarray, np.ndarray]:
    """Loss and correctness of each photo, asked as it is, without augmentation.

    Args:
      predict: float32 images `[b, H, W, 3]` in [0, 1] to logits `[b, c]`; a
        `jax.tree_util.Partial` is traced once per shape of image, whatever its weights.
      images: uint8 `[n, H, W, 3]`.
      labels: integers `[n]`.
      batch_size: images per call.

    Returns:
      `(losses, correct)`: float64 `[n]`, softmax cross-entropy in nats (**of the softmax**: the
      original code takes raw logits for log-probabilities), and bool `[n]`, whether the
      largest logit is the label's.

    Raises:
      ValueError: if shapes do not fit.
      TypeError: if images are not uint8 or labels not integers.

    Example:
      >>> def redness(batch):  # two classes: red or not
      ...     red = batch[..., 0].mean((1, 2)) - batch.mean((1, 2, 3))
      ...     return jnp.stack([red, -red], axis=1) * 10
      >>> photos = np.full((2, 4, 4, 3), [200, 60, 60], np.uint8)
      >>> losses, correct = answers(redness, photos, np.array([0, 1]))
      >>> correct.tolist(), bool(losses[0] < losses[1])
      ([True, False], True)
    """
    images = _check.uint8_images(images=images)
    labels = _check.class_labels(len(images), labels=labels)
    _check.integer_at_least(1, batch_size=batch_size)
    if not isinstance(predict, jax.tree_util.Partial):
        predict = jax.tree_util.Partial(predict)
    losses, correct = np.zeros(len(images)), np.zeros(len(images), bool)
    for start in range(0, len(images), batch_size):
        # The last batch is padded by repeating its last image, to keep one trace.
        rows = np.minimum(np.arange(start, start + batch_size), len(images) - 1)
        real = slice(start, min(start + batch_size, len(images)))
        loss, is_hit = _batch_answers(predict, images[rows], labels[rows])
        count = real.stop - real.start
        losses[real], correct[real] = np.asarray(loss)[:count], np.asarray(is_hit)[:count]
    return losses, correct


@jax.jit
def _batch_answers(
    predict: jax.tree_util.Partial, images: jax.Array, labels: jax.Array
) -> tuple[jax.Array, jax.Array]:
    logits = predict(images.astype(jnp.float32) / jnp.float32(255.0)).astype(jnp.float32)
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)
    return -chosen[:, 0], logits.argmax(-1) == labels
