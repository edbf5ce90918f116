"""The loss table: the only thing ever asked of a model."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from anw_jax import _check, progress
from anw_jax.keys import SignatureSpace
from anw_jax.marks import Mark
from anw_jax.verify import executors
from anw_jax.verify.plan import DEFAULT_MEMORY_BYTES, plan_queries, traced_bytes_per_pair

EXECUTORS = ("auto", "traced", "called")


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
      labels: integers `[n]`.
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
    _check.one_of(EXECUTORS, executor=executor)
    _check.is_instance(SignatureSpace, space=space)
    images = _check.uint8_images(images=images)
    labels = _check.class_labels(len(images), labels=labels)
    traced = executor == "traced" or (executor == "auto" and executors.is_traceable(predict))
    if traced and not executors.is_traceable(predict):
        raise TypeError(
            "executor='traced' needs predict = jax.tree_util.Partial(apply, variables), got "
            f"{type(predict).__name__}"
        )
    table = np.full((len(images), space.num_slots), np.nan, np.float32)
    if not len(images):
        return table
    image_shape = images.shape[1:]
    if traced:
        jaxpr = executors.trace_answers(predict, image_shape, labels)
        num_weights = len(jax.tree.leaves(predict))
        bytes_per_pair = traced_bytes_per_pair(jaxpr, num_weights, image_shape)
        run, multiple_of = executors.run_traced, len(executors.devices_for(predict))
    else:
        bytes_per_pair = 16 * int(np.prod(image_shape))
        if not callable(predict):
            raise TypeError(f"predict must be callable, got {type(predict).__name__}")
        run, multiple_of = executors.run_called, 1
    plan = plan_queries(
        *table.shape,
        bytes_per_pair=bytes_per_pair,
        memory_bytes=memory_bytes,
        chunk_size=chunk_size,
        multiple_of=multiple_of,
    )
    flat = table.reshape(-1)
    parameters = mark.parameters(space.degrees)
    for chunk, losses in run(predict, images, labels, mark, parameters, plan):
        stop = chunk.start + chunk.num_pairs
        flat[chunk.start : stop] = losses
        on_progress(stop, plan.num_pairs)
    return table
