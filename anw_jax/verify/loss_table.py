"""The loss table: a model's loss for every original under every signature.

Entry [i, s] is the term of `objective` for image i and slot s, computed from exactly the bytes
that the owner would publish.
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
from anw_jax.verify.tracing import check_binds_arrays, traced_bytes_per_pair


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
    """Compute a model's loss on every original under every signature, for one or many owners.

    Entry `[i, s]` is the cross-entropy of original `i` against its label, after marking it with
    slot `s` exactly as its owner would publish it (marked, clipped, rounded to uint8). **Lower
    values are evidence** that the model was trained on that version.

    Args:
      predict: maps float32 `[b, H, W, 3]` in [0, 1] to logits `[b, num_classes]`. A
        `jax.tree_util.Partial(apply, variables)` is traced and compiled together with the mark;
        every argument that it binds is traced, so bind flags with `functools.partial(apply,
        train=False)`. Any other function is called on NumPy batches.
      images: *unmarked* uint8 originals `[n, H, W, 3]` (or floats with 8-bit values).
      labels: integers `[n]`. Must not be chosen by anyone who knows the slots; otherwise the
        p-value is invalid, because a label can be picked to favour a slot. With another loss,
        its targets: a pytree of arrays with leading axis `[n]`.
      mark: the watermark transform, or a sequence of those of many owners, all of one type,
        such as `UserLCT`. One compiled program then serves all owners, and chunks span owners,
        so many owners with few photos each use the device as efficiently as one large owner.
      space: the signatures to query; slot 0 is the unmarked original. Use `SignatureSpace(36)`
        for a finer grid.
      loss: the model's loss, one of `verify.losses` or a function of (predict, images,
        targets); by default that of a classifier. It determines the inputs and outputs of
        `predict`. Traced if `predict` is a `Partial`, otherwise called on NumPy batches.
      mark_of_image: index into `mark` for each image, integers `[n]`; required with several
        marks.
      chunk_size: pairs per chunk; by default as many as `memory_bytes` allows.
      memory_bytes: memory budget, excluding the originals and the weights (estimated for traced
        models; for other callables only the input size is counted). Mark parameters are not
        included: 40 bytes per mark and slot of a linear colour mark, height * width for a
        pixel mark.
      on_progress: called with (pairs done, pairs in total).

    Returns:
      float32 `[n, num_slots]`, nats. Independent of the chunk size and of other owners up to
      float32 rounding (1e-6 of the largest losses). Traced models run with matmul precision
      "highest" on every backend (no TF32), whatever the caller's default.

    Raises:
      TypeError, ValueError: images that are not 8-bit colour, a `Partial` that binds something
        other than arrays, labels of the wrong shape or out of range, outputs of the wrong
        shape, another loss that does not return one finite float for each image, marks of
        several types, or indices out of range.
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
        check_binds_arrays(predict)
        bytes_per_pair = traced_bytes_per_pair(predict, image_shape, labels, loss)
    plan = chunks.plan_queries(
        *table.shape,
        bytes_per_pair=bytes_per_pair,
        memory_bytes=memory_bytes,
        chunk_size=chunk_size,
        multiple_of=len(chunks.devices_for(predict)) if is_traced else 1,
    )
    run = chunks.run_traced if is_traced else chunks.run_untraced
    for chunk, losses in run(loss, predict, images, labels, tables, plan):
        stop = chunk.start + chunk.num_pairs
        table.reshape(-1)[chunk.start : stop] = losses
        if loss is not cross_entropy and not np.isfinite(losses).all():
            first = chunk.start + int(np.isfinite(losses).argmin())
            image, slot = divmod(first, plan.num_slots)
            raise ValueError(
                f"loss must be finite, got {losses[first - chunk.start]} for image {image} at "
                f"slot {slot}"
            )
        on_progress(stop, plan.num_pairs)
    return table
