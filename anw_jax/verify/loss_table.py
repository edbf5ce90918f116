"""The loss table, all that is ever asked of a model: its losses on a grid of signatures.

Entry [i, s] is the term of `objective` at image i and slot s, on the exact bytes that owners
publish.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from anw_jax import _check, progress
from anw_jax.keys import SignatureSpace
from anw_jax.marks import Mark, MarkTables
from anw_jax.verify import chunks
from anw_jax.verify.chunks import DEFAULT_MEMORY_BYTES
from anw_jax.verify.losses import LossFn, cross_entropy
from anw_jax.verify.self_check import check_jax
from anw_jax.verify.tracing import traced_bytes_per_pair


def loss_table(
    predict: Callable[..., Any],
    images: np.ndarray,
    labels: Any,
    mark: Mark | Sequence[Mark],
    space: SignatureSpace,
    *,
    loss: LossFn = cross_entropy,
    mark_of_image: np.ndarray | None = None,
    chunk_size: int | None = None,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    on_progress: progress.ProgressFn = progress.silent,
) -> np.ndarray:
    """Ask a model for its loss on every original under every signature, of one or many owners.

    Entry `[i, s]` is the cross-entropy of original `i`, marked with slot `s` exactly as its
    owner would publish it (marked, clipped, rounded to uint8), against its label. **Lower
    is evidence** that the model has seen that version.

    Args:
      predict: maps float32 `[b, H, W, 3]` in [0, 1] to logits `[b, num_classes]`. A
        `jax.tree_util.Partial(apply, variables)` is traced together with the mark into one
        program; any other function is called on NumPy batches.
      images: *unmarked* uint8 originals `[n, H, W, 3]` (or floats with 8-bit values).
      labels: integers `[n]`, given by somebody who does not know the slots: of two likely
        classes one often suits the secret slot, on any model. With another loss, its targets:
        a pytree of arrays with leading axis `[n]`.
      mark: the watermark map; or a sequence of those of many owners, all of one type, such as
        `UserLCT`. One compiled program then serves all owners, and chunks run across them, so
        that a thousand owners of a few photos fill the device as one of thousands would.
      space: which signatures to ask; slot 0 is the unmarked original. A finer grid is
        `SignatureSpace(36)`.
      loss: what the model's loss is, one of `verify.losses` or a function of (predict, images,
        targets); of a classifier by default. It decides what `predict` maps to what. Traced
        with a `Partial`, else called on NumPy batches.
      mark_of_image: with several marks, whose mark each original carries: integers `[n]`.
      chunk_size: pairs asked together; by default as many as `memory_bytes` allows.
      memory_bytes: memory to use beyond the originals and the weights (an estimate for
        traced models; called ones are charged for their input only). Tables of the marks come
        on top: 40 bytes for each mark and slot of a linear colour mark, height * width for a
        pixel mark.
      on_progress: called with (pairs done, pairs in all).

    Returns:
      float32 `[n, num_slots]`, nats. It does not depend on the chunk size, or on other owners,
      beyond the rounding of float32: to 1e-6 of the largest losses. A traced model is asked
      with float32 products of all bits on every backend (no TF32), whatever the caller's
      default.

    Raises:
      TypeError, ValueError: images that are not 8-bit colour, labels of the wrong shape or
        beyond the model's classes, answers of the wrong shape, another loss that does not
        return one finite float for each image, marks of several types, or
        indices beyond them.
      JaxError: jax computes wrong numbers; see `check_jax`.

    Example:
      >>> from anw_jax.marks import HueRotation
      >>> def redness(batch):  # two classes: red or not
      ...     red = batch[..., 0].mean((1, 2)) - batch.mean((1, 2, 3))
      ...     return np.stack([red, -red], axis=1) * 10
      >>> photos = np.full((1, 4, 4, 3), [200, 60, 60], np.uint8)
      >>> table = loss_table(redness, photos, np.array([0]), HueRotation(), SignatureSpace(4))
      >>> table.shape, int(table.argmin())
      ((1, 4), 0)
      >>> from anw_jax.marks import UserLCT
      >>> owners = [UserLCT.from_sub_key(bytes([i]) * 32) for i in range(2)]
      >>> photos, owner = np.repeat(photos, 3, axis=0), [0, 1, 0]
      >>> table = loss_table(
      ...     redness, photos, [0, 0, 0], owners, SignatureSpace(4), mark_of_image=owner)
      >>> bool((table[0] == table[2]).all()), bool((table[0] == table[1]).all())
      (True, False)
    """
    check_jax()
    _check.is_instance(SignatureSpace, space=space)
    images = _check.uint8_images(images=images)
    labels = chunks.checked_targets(loss, labels, len(images))
    tables = MarkTables.of(mark, mark_of_image, len(images), space.degrees)
    if not callable(predict):
        hint = ": anw_jax.suspects.ask takes a suspect" if hasattr(predict, "answers") else ""
        raise TypeError(f"predict must be callable, got {type(predict).__name__}{hint}")
    table = np.full((len(images), space.num_slots), np.nan, np.float32)
    if not len(images):
        return table
    image_shape, is_traced = images.shape[1:], isinstance(predict, jax.tree_util.Partial)
    bytes_per_pair = 16 * int(np.prod(image_shape))
    if is_traced:
        bytes_per_pair = traced_bytes_per_pair(predict, image_shape, labels, loss)
    plan = chunks.plan_queries(
        *table.shape,
        bytes_per_pair=bytes_per_pair,
        memory_bytes=memory_bytes,
        chunk_size=chunk_size,
        multiple_of=len(chunks.devices_for(predict)) if is_traced else 1,
    )
    run = chunks.run_traced if is_traced else chunks.run_called
    for chunk, losses in run(loss, predict, images, labels, tables, plan):
        stop = chunk.start + chunk.num_pairs
        table.reshape(-1)[chunk.start : stop] = losses
        if loss is not cross_entropy and not np.isfinite(losses).all():
            first = chunk.start + int(np.isfinite(losses).argmin())
            image, slot = divmod(first, plan.num_slots)
            raise ValueError(
                f"loss must be finite, and is not for image {image} at slot {slot}"
            )
        on_progress(stop, plan.num_pairs)
    return table
