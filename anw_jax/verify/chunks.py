"""Evaluate `objective` for every (image, slot) pair, in fixed-size chunks that fit in memory.

A JAX model is traced and compiled together with the mark (`run_traced`); any other function is
called on NumPy batches (`run_untraced`).
"""

import collections
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from anw_jax import _check
from anw_jax.marks import MarkTables
from anw_jax.verify.losses import LossFn, as_partial, cross_entropy, rows_of
from anw_jax.verify.objective import objective
from anw_jax.verify.tracing import check_classes

DEFAULT_MEMORY_BYTES = 2**30

# Larger chunks gain nothing on CPU, the only backend measured, and cost cache locality.
_LARGEST_CHUNK = 512

# Chunks larger than this are a multiple of it.
_CHUNK_STEP = 64

# Chunks dispatched before the oldest is read, so that host and device work at the same time.
_IN_FLIGHT = 2

Answers = Iterator[tuple["Chunk", np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Chunk:
    """One chunk of pairs, padded to the plan's size by repeating its last pair.

    Attributes:
      images: int64 `[chunk_images]`, indices of the originals used by this chunk, padded the
        same way.
      image_of_pair: int32 `[chunk_size]`, positions in `images`.
      slot_of_pair: int32 `[chunk_size]`.
      start: flat index of the first pair.
      num_pairs: number of pairs without padding.
    """

    images: np.ndarray
    image_of_pair: np.ndarray
    slot_of_pair: np.ndarray
    start: int
    num_pairs: int


@dataclasses.dataclass(frozen=True)
class QueryPlan:
    """Partition of all (image, slot) pairs into chunks; the slot index varies fastest.

    Attributes:
      num_images: number of originals.
      num_slots: number of slots, including slot 0.
      chunk_size: number of pairs in every chunk, padding included, so that one trace suffices.

    Example:
      >>> plan = QueryPlan(num_images=3, num_slots=4, chunk_size=8)
      >>> [(c.start, c.num_pairs, c.images.tolist()) for c in plan]
      [(0, 8, [0, 1, 1]), (8, 4, [2, 2, 2])]
    """

    num_images: int
    num_slots: int
    chunk_size: int

    def __post_init__(self):
        _check.integer_at_least(1, num_images=self.num_images)
        _check.integer_at_least(1, num_slots=self.num_slots)
        _check.integer_at_least(1, chunk_size=self.chunk_size)

    @property
    def num_pairs(self) -> int:
        """Number of pairs, without padding."""
        return self.num_images * self.num_slots

    @property
    def images_per_chunk(self) -> int:
        """Largest number of originals that one chunk uses."""
        return min(self.num_images, -(-(self.chunk_size - 1) // self.num_slots) + 1)

    def __len__(self) -> int:
        return -(-self.num_pairs // self.chunk_size)

    def __iter__(self) -> Iterator[Chunk]:
        for start in range(0, self.num_pairs, self.chunk_size):
            stop = min(start + self.chunk_size, self.num_pairs)
            pairs = np.minimum(np.arange(start, start + self.chunk_size), stop - 1)
            images = pairs // self.num_slots
            touched = np.arange(images[0], images[0] + self.images_per_chunk)
            yield Chunk(
                images=np.minimum(touched, images[-1]),
                image_of_pair=(images - images[0]).astype(np.int32),
                slot_of_pair=(pairs % self.num_slots).astype(np.int32),
                start=start,
                num_pairs=stop - start,
            )


def plan_queries(
    num_images: int,
    num_slots: int,
    *,
    bytes_per_pair: int,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    chunk_size: int | None = None,
    multiple_of: int = 1,
) -> QueryPlan:
    """Choose the largest chunk size that fits a memory budget.

    Args:
      num_images: number of originals.
      num_slots: number of slots queried per original.
      bytes_per_pair: peak memory of one forward pass, per pair, in bytes.
      memory_bytes: the budget in bytes, excluding the originals and the weights.
      chunk_size: overrides the computed size; rounded up to a multiple of `multiple_of`.
      multiple_of: number of devices that share a chunk.

    Example:
      >>> plan_queries(1000, 12, bytes_per_pair=2**20, memory_bytes=2**27).chunk_size
      128
    """
    _check.integer_at_least(1, memory_bytes=memory_bytes)
    if chunk_size is not None:
        _check.integer_at_least(1, chunk_size=chunk_size)
    else:
        affordable = max(1, memory_bytes // max(1, bytes_per_pair))
        affordable = max(1, affordable // multiple_of) * multiple_of
        chunk_size = _equal_chunks(num_images * num_slots, min(affordable, _LARGEST_CHUNK))
    chunk_size = -(-chunk_size // multiple_of) * multiple_of
    return QueryPlan(num_images, num_slots, chunk_size)


def _equal_chunks(num_pairs: int, largest: int) -> int:
    """Return a chunk size of at most `largest` for which the last chunk has little padding.

    Sizes are rounded up to a coarse step, so that tables of different lengths share compiled
    programs.
    """
    if num_pairs <= largest:
        return num_pairs
    equal = -(-num_pairs // -(-num_pairs // largest))
    return min(largest, -(-equal // _CHUNK_STEP) * _CHUNK_STEP)


@functools.partial(jax.jit, static_argnames="publish_pixels")
def chunk_losses(
    loss: jax.tree_util.Partial,
    predict: jax.tree_util.Partial,
    publish_pixels: Callable[[jax.Array, Any], jax.Array],
    parameters: Any,
    images: jax.Array,
    targets: Any,
    mark_of_image: jax.Array,
    image_of_pair: jax.Array,
    slot_of_pair: jax.Array,
) -> jax.Array:
    """Compute the terms of `objective` for one chunk of pairs, float32 `[chunk_size]`.

    Equivalent to `vmap` of `objective` over signatures, but flattened to (image, slot) pairs,
    so that chunks can have any size and the model receives an ordinary batch.
    """

    def publish(image: jax.Array, entry: Any) -> jax.Array:
        return publish_pixels(image, entry).astype(jnp.float32) / jnp.float32(255.0)

    owner = mark_of_image[image_of_pair]
    entries = jax.tree.map(lambda table: table[owner, slot_of_pair], parameters)
    images, targets = rows_of((images, targets), image_of_pair)
    return objective(predict, images, targets, publish, entries, loss)[1]


def run_traced(
    loss: LossFn,
    predict: jax.tree_util.Partial,
    images: np.ndarray,
    targets: Any,
    tables: MarkTables,
    plan: QueryPlan,
) -> Answers:
    """Mark and query inside one compiled program; yield losses chunk by chunk.

    Weights and mark tables are arguments of the program, not constants, so one trace serves
    all chunks, all checkpoints of equal shape and all marks of a type. Pairs are sharded over
    the devices.
    """
    devices = devices_for(predict)
    mesh = jax.sharding.Mesh(np.asarray(devices), ("pairs",))
    shared = NamedSharding(mesh, PartitionSpec())
    split = NamedSharding(mesh, PartitionSpec("pairs"))
    everywhere = (predict, tables.parameters, as_partial(loss))
    predict, parameters, loss = jax.device_put(everywhere, shared)
    # Programs on several CPU devices share a thread pool: two programs in flight that each
    # reduce over the batch can deadlock.
    on_shared_threads = len(devices) > 1 and devices[0].platform == "cpu"
    in_flight = 0 if on_shared_threads else _IN_FLIGHT
    pending: collections.deque[tuple[Chunk, jax.Array]] = collections.deque()
    for chunk in plan:
        rows = rows_of((images, targets, tables.mark_of_image), chunk.images)
        block = jax.device_put(rows, shared)
        pairs = jax.device_put((chunk.image_of_pair, chunk.slot_of_pair), split)
        losses = chunk_losses(loss, predict, tables.publish_pixels, parameters, *block, *pairs)
        pending.append((chunk, losses))
        if len(pending) > in_flight:
            chunk, losses = pending.popleft()
            yield chunk, np.asarray(losses)[: chunk.num_pairs]
    for chunk, losses in pending:
        yield chunk, np.asarray(losses)[: chunk.num_pairs]


def checked_targets(loss: LossFn, targets: Any, num_images: int) -> Any:
    """Validate labels, or the targets of another loss, and return them as NumPy arrays."""
    if not callable(loss):
        raise TypeError(f"loss must be callable, got {type(loss).__name__}")
    if loss is cross_entropy:
        return _check.class_labels(num_images, labels=targets)
    targets = jax.tree.map(np.asarray, targets)
    shapes = [leaf.shape for leaf in jax.tree.leaves(targets)]
    if any(shape[:1] != (num_images,) for shape in shapes):
        raise ValueError(f"targets must have leading axis {num_images}, got shapes {shapes}")
    return targets


def devices_for(predict: Callable) -> list[jax.Device]:
    """Return the devices that the weights are committed to, or all local devices."""
    for leaf in jax.tree.leaves(predict):
        if isinstance(leaf, jax.Array) and leaf.committed:
            return sorted(leaf.sharding.device_set, key=lambda device: device.id)
    return jax.local_devices()


def run_untraced(
    loss: LossFn,
    predict: Callable[[np.ndarray], Any],
    images: np.ndarray,
    targets: Any,
    tables: MarkTables,
    plan: QueryPlan,
) -> Answers:
    """Mark on the host and call `predict` on NumPy batches, without padding."""
    for chunk in plan:
        of_image = chunk.images[chunk.image_of_pair[: chunk.num_pairs]]
        pairs = zip(of_image, chunk.slot_of_pair, strict=False)  # slots are padded
        marked = np.stack([tables.publish(images[i], i, slot) for i, slot in pairs])
        batch = marked.astype(np.float32) / np.float32(255)
        own = rows_of(targets, of_image)
        if loss is cross_entropy:
            yield chunk, host_losses(predict(batch), own)
        else:
            yield chunk, _checked_losses(loss(predict, batch, own), len(batch))


def _checked_losses(losses: Any, num_images: int) -> np.ndarray:
    losses = np.asarray(losses)
    if losses.shape != (num_images,) or not np.issubdtype(losses.dtype, np.floating):
        raise ValueError(
            f"loss must return one float for each of {num_images} images, got "
            f"{losses.dtype} {losses.shape}"
        )
    return losses.astype(np.float32)


def host_losses(logits: Any, labels: np.ndarray) -> np.ndarray:
    """Compute the float32 cross-entropy of logits in nats, with NumPy.

    Raises:
      ValueError: the logits are not `[batch, num_classes]`, or a label is out of range.
    """
    scores = np.asarray(logits).astype(np.float64)
    if scores.ndim != 2 or len(scores) != len(labels):
        raise ValueError(
            f"predict must return logits [batch, num_classes] for a batch of {len(labels)}, "
            f"got shape {scores.shape}"
        )
    check_classes(scores.shape[1], labels)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        shifted = scores - scores.max(axis=1, keepdims=True)
        log_sums = np.log(np.exp(shifted).sum(axis=1))
        losses = log_sums - shifted[np.arange(len(labels)), labels]
        return losses.astype(np.float32)
