"""What a model answers to many photos."""

import jax
import jax.numpy as jnp
import numpy as np

_BATCH_SIZE = 256


def answers(predict: jax.tree_util.Partial, images: np.ndarray) -> np.ndarray:
    """Logits float32 `[n, c]` of uint8 photos `[n, H, W, 3]`, n at least 1.

    The last batch is padded, so that one program serves any number of photos.
    """
    batches = []
    for start in range(0, len(images), _BATCH_SIZE):
        rows = np.minimum(np.arange(start, start + _BATCH_SIZE), len(images) - 1)
        batches.append(np.asarray(_batch_logits(predict, images[rows])))
    return np.concatenate(batches)[: len(images)]


@jax.jit
def _batch_logits(predict: jax.tree_util.Partial, images: jax.Array) -> jax.Array:
    return predict(images.astype(jnp.float32) / jnp.float32(255.0)).astype(jnp.float32)
