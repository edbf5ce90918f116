"""The query plan: all image × slot pairs in equal, padded chunks."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from anw_jax import _check

DEFAULT_MEMORY_BYTES = 2**30

# Larger chunks gain nothing on any backend measured and cost cache locality on CPU.
_LARGEST_CHUNK = 512

# XLA keeps the operands of one operation and the results of the next alive together.
_LIVE_FACTOR = 2


@dataclasses.dataclass(frozen=True)
class Chunk:
    """One chunk of pairs, padded to the plan's size by repeating its last pair.

    Attributes:
      images: int64 `[chunk_images]`, the originals this chunk touches (padded likewise).
      image_of_pair: int32 `[chunk_size]`, positions in `images`.
      slot_of_pair: int32 `[chunk_size]`.
      start: the flat index of the first pair.
      num_pairs: how many pairs are real.
    """

    images: np.ndarray
    image_of_pair: np.ndarray
    slot_of_pair: np.ndarray
    start: int
    num_pairs: int


@dataclasses.dataclass(frozen=True)
class QueryPlan:
    """Which pairs are asked together. Pairs are numbered image by image, slot by slot.

    Attributes:
      num_images: how many originals.
      num_slots: how many slots, slot 0 included.
      chunk_size: pairs in a chunk; every chunk has this many, so one trace serves all.

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
        """All pairs, without padding."""
        return self.num_images * self.num_slots

    @property
    def images_per_chunk(self) -> int:
        """The most originals that one chunk can touch."""
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
    """Chooses the largest chunk that stays within a memory budget.

    Args:
      num_images: originals.
      num_slots: slots asked per original.
      bytes_per_pair: memory one pair takes while the model answers it.
      memory_bytes: the budget, beyond the originals and the weights.
      chunk_size: overrides the choice.
      multiple_of: the number of devices that share a chunk.

    Example:
      >>> plan_queries(1000, 12, bytes_per_pair=2**20, memory_bytes=2**27).chunk_size
      128
    """
    _check.integer_at_least(1, memory_bytes=memory_bytes)
    if chunk_size is None:
        affordable = max(1, memory_bytes // max(1, bytes_per_pair))
        chunk_size = min(affordable, _LARGEST_CHUNK, num_images * num_slots)
    _check.integer_at_least(1, chunk_size=chunk_size)
    chunk_size = -(-chunk_size // multiple_of) * multiple_of
    return QueryPlan(num_images, num_slots, chunk_size)


def traced_bytes_per_pair(predict: Callable[[Any], Any], image_shape: tuple[int, ...]) -> int:
    """Estimates the memory one answer takes, from the operations of `predict`.

    The largest sum of one operation's inputs and outputs that depend on the image, weights
    excluded, doubled. Nothing is compiled or run.
    """
    image = jax.ShapeDtypeStruct((2, *image_shape), np.float32)
    jaxpr = jax.make_jaxpr(predict)(image).jaxpr
    return _LIVE_FACTOR * max(_largest_operation(jaxpr) // 2, 4 * int(np.prod(image_shape)))


def _largest_operation(jaxpr: Any) -> int:
    """Bytes of the largest operation of a jaxpr; constants are weights and do not count."""
    weights = {id(variable) for variable in jaxpr.constvars}
    largest = 0
    for equation in jaxpr.eqns:
        operands = [v for v in (*equation.invars, *equation.outvars) if id(v) not in weights]
        # A two-image batch leads every array that grows with the images.
        sizes = [
            v.aval.size * v.aval.dtype.itemsize
            for v in operands
            if getattr(v.aval, "ndim", 0) > 1 and v.aval.shape[0] == 2
        ]
        largest = max(largest, sum(sizes))
        for parameter in equation.params.values():
            inner = getattr(parameter, "jaxpr", None)
            if hasattr(inner, "eqns"):
                largest = max(largest, _largest_operation(inner))
    return largest
