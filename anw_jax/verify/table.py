"""The loss table: the only thing ever asked of a model."""

from collections.abc import Callable
from typing import Any

import numpy as np

from anw_jax import _check, progress
from anw_jax.keys import SignatureSpace
from anw_jax.marks import Mark
from anw_jax.verify.plan import DEFAULT_MEMORY_BYTES
from anw_jax.verify.tables import loss_tables


def loss_table(
    predict: Callable[[Any], Any],
    images: np.ndarray,
    labels: np.ndarray,
    mark: Mark,
    space: SignatureSpace,
    *,
    executor: str = "auto",
    chunk_size: int | None = None,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    on_progress: progress.ProgressFn = progress.silent,
) -> np.ndarray:
    """Asks a model for its loss on every original under every signature.

    Entry `[i, s]` is the cross-entropy of original `i`, marked with slot `s` exactly as its
    owner would publish it (marked, clipped, rounded to uint8), against its label. **Lower
    is evidence** that the model has seen that version.

    Args:
      predict: maps float32 `[b, H, W, 3]` in [0, 1] to logits `[b, num_classes]`. A
        `jax.tree_util.Partial(apply, variables)` is traced together with the mark into one
        program; any other function is called on NumPy batches.
      images: *unmarked* uint8 originals `[n, H, W, 3]` (or floats with 8-bit values).
      labels: integers `[n]`, given by somebody who does not know the slots: of two likely
        classes one often suits the secret slot, on any model.
      mark: the watermark map.
      space: which signatures to ask; slot 0 is the unmarked original. A finer grid is
        `SignatureSpace(36)`.
      executor: "auto", or "traced" or "called" to insist on one.
      chunk_size: pairs asked together; by default as many as `memory_bytes` allows.
      memory_bytes: memory to use beyond the originals and the weights (an estimate for
        traced models; called ones are charged for their input only).
      on_progress: called with (pairs done, pairs in all).

    Returns:
      float32 `[n, num_slots]`, nats. It does not depend on the chunk size beyond the rounding
      of float32: to 1e-6 of the largest losses. A traced model is asked with float32 products
      of all bits on every backend (no TF32), whatever the caller's default.

    Raises:
      TypeError, ValueError: images that are not 8-bit colour, labels of the wrong shape or
        beyond the model's classes, answers of the wrong shape.

    Example:
      >>> from anw_jax.marks import HueRotation
      >>> def redness(batch):  # two classes: red or not
      ...     red = batch[..., 0].mean((1, 2)) - batch.mean((1, 2, 3))
      ...     return np.stack([red, -red], axis=1) * 10
      >>> photos = np.full((1, 4, 4, 3), [200, 60, 60], np.uint8)
      >>> table = loss_table(redness, photos, np.array([0]), HueRotation(), SignatureSpace(4))
      >>> table.shape, int(table.argmin())
      ((1, 4), 0)
    """
    images = _check.uint8_images(images=images)
    return loss_tables(
        predict,
        images,
        labels,
        [mark],
        np.zeros(len(images), np.int32),
        space,
        executor=executor,
        chunk_size=chunk_size,
        memory_bytes=memory_bytes,
        on_progress=on_progress,
    )
