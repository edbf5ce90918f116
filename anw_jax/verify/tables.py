"""The loss tables of many owners at once."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from anw_jax import _check, progress
from anw_jax.keys import SignatureSpace
from anw_jax.marks import Mark
from anw_jax.verify import executors
from anw_jax.verify.mark_tables import MarkTables, check_marks
from anw_jax.verify.plan import (
    DEFAULT_MEMORY_BYTES,
    QueryPlan,
    plan_queries,
    traced_bytes_per_pair,
)
from anw_jax.verify.self_check import check_jax

EXECUTORS = ("auto", "traced", "called")


def loss_tables(
    predict: Callable[[Any], Any],
    images: np.ndarray,
    labels: np.ndarray,
    marks: Sequence[Mark],
    mark_of_image: np.ndarray,
    space: SignatureSpace,
    *,
    executor: str = "auto",
    chunk_size: int | None = None,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    on_progress: progress.ProgressFn = progress.silent,
) -> np.ndarray:
    """Asks a model about the originals of many owners, each under the owner's own mark.

    `loss_table` for a crowd, in one compiled program: chunks run across owners, so a
    thousand owners of a few photos each fill the device as one owner of thousands would, and
    no owner costs a compilation. Pick an owner's rows out of the result by `mark_of_image`.

    Args:
      predict: as for `loss_table`.
      images: *unmarked* uint8 originals of all owners `[n, H, W, 3]`.
      labels: integers `[n]`.
      marks: the owners' marks, all of one type: a list of `UserLCT`, or one mark that all
        share.
      mark_of_image: integers `[n]` in [0, len(marks)): whose mark each original carries.
      space: which signatures to ask, the same for all owners.
      executor: as for `loss_table`.
      chunk_size: as for `loss_table`.
      memory_bytes: as for `loss_table`. The tables of the marks come on top: 40 bytes for
        each mark and slot of a linear colour mark, height * width for a pixel mark.
      on_progress: called with (pairs done, pairs in all).

    Returns:
      float32 `[n, num_slots]`, nats. Bit for bit what `loss_table` gives for each owner alone
      where both split the owner's pairs into the same chunks; otherwise, as there, to 1e-6
      of the largest losses, since other chunks may be summed in another order.

    Raises:
      TypeError, ValueError: as `loss_table`; no marks, marks of several types, or indices
        beyond them.
      JaxError: jax computes wrong numbers; see `check_jax`.

    Example:
      >>> from anw_jax.marks import UserLCT
      >>> def brightness(batch):  # two classes: bright or not
      ...     bright = batch.mean((1, 2, 3)) - 0.5
      ...     return np.stack([bright, -bright], axis=1) * 10
      >>> photos = np.full((3, 4, 4, 3), [200, 60, 60], np.uint8)
      >>> owners = [UserLCT.from_sub_key(bytes([i]) * 32) for i in range(2)]
      >>> table = loss_tables(
      ...     brightness, photos, np.zeros(3, int), owners, [0, 1, 0], SignatureSpace(4))
      >>> bool((table[0] == table[2]).all()), bool((table[0] == table[1]).all())
      (True, False)
    """
    check_jax()
    _check.one_of(EXECUTORS, executor=executor)
    _check.is_instance(SignatureSpace, space=space)
    images = _check.uint8_images(images=images)
    labels = _check.class_labels(len(images), labels=labels)
    mark_of_image = check_marks(marks, mark_of_image, len(images))
    traced = executor == "traced" or (executor == "auto" and executors.is_traceable(predict))
    if traced and not executors.is_traceable(predict):
        raise TypeError(
            "executor='traced' needs predict = jax.tree_util.Partial(apply, variables), got "
            f"{type(predict).__name__}"
        )
    if not traced and not callable(predict):
        hint = ": anw_jax.suspects.ask takes a suspect" if hasattr(predict, "answers") else ""
        raise TypeError(f"predict must be callable, got {type(predict).__name__}{hint}")
    table = np.full((len(images), space.num_slots), np.nan, np.float32)
    if not len(images):
        return table
    plan = _plan(predict, images, labels, space, traced, memory_bytes, chunk_size)
    tables = MarkTables.of(marks, mark_of_image, space.degrees)
    run = executors.run_traced if traced else executors.run_called
    flat = table.reshape(-1)
    for chunk, losses in run(predict, images, labels, tables, plan):
        stop = chunk.start + chunk.num_pairs
        flat[chunk.start : stop] = losses
        on_progress(stop, plan.num_pairs)
    return table


def _plan(
    predict: Callable[[Any], Any],
    images: np.ndarray,
    labels: np.ndarray,
    space: SignatureSpace,
    traced: bool,
    memory_bytes: int,
    chunk_size: int | None,
) -> QueryPlan:
    """Chunks that fit the memory, by what one answer of the model takes."""
    image_shape = images.shape[1:]
    bytes_per_pair, multiple_of = 16 * int(np.prod(image_shape)), 1
    if traced:
        jaxpr = executors.trace_answers(predict, image_shape, labels)
        num_weights = len(jax.tree.leaves(predict))
        bytes_per_pair = traced_bytes_per_pair(jaxpr, num_weights, image_shape)
        multiple_of = len(executors.devices_for(predict))
    return plan_queries(
        len(images),
        space.num_slots,
        bytes_per_pair=bytes_per_pair,
        memory_bytes=memory_bytes,
        chunk_size=chunk_size,
        multiple_of=multiple_of,
    )
