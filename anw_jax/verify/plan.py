"""The query plan: all image × slot pairs in equal, padded chunks."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from anw_jax import _check

DEFAULT_MEMORY_BYTES = 2**30

# Larger chunks gain nothing on CPU, the only backend measured, and cost cache locality.
_LARGEST_CHUNK = 512

# Chunk sizes above it are multiples of it.
_CHUNK_STEP = 64

# Models are traced on this many images to learn their shapes; an odd number, which few
# weights begin with.
TRACED_BATCH = 7

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
    _check.integer_at_least(1, num_images=num_images)
    _check.integer_at_least(1, num_slots=num_slots)
    if chunk_size is None:
        affordable = max(1, memory_bytes // max(1, bytes_per_pair))
        affordable = max(1, affordable // multiple_of) * multiple_of
        chunk_size = _equal_chunks(num_images * num_slots, min(affordable, _LARGEST_CHUNK))
    _check.integer_at_least(1, chunk_size=chunk_size)
    chunk_size = -(-chunk_size // multiple_of) * multiple_of
    return QueryPlan(num_images, num_slots, chunk_size)


def _equal_chunks(num_pairs: int, largest: int) -> int:
    """A chunk size of at most `largest` that leaves the last chunk little padding.

    Sizes are coarse, so that tables of different lengths share a few compiled programs.
    """
    if num_pairs <= largest:
        return num_pairs
    equal = -(-num_pairs // -(-num_pairs // largest))
    return min(largest, -(-equal // _CHUNK_STEP) * _CHUNK_STEP)


def traced_bytes_per_pair(jaxpr: Any, num_weights: int, image_shape: tuple[int, ...]) -> int:
    """Estimates the memory one answer takes, from the operations of a model.

    The largest sum of one operation's inputs and outputs that depend on the image, weights
    excluded, doubled. Nothing is compiled or run.

    Args:
      jaxpr: the model traced on `TRACED_BATCH` images; weights come first.
      num_weights: how many of its inputs are weights.
      image_shape: `(H, W, 3)`.
    """
    weights = {id(variable) for variable in (*jaxpr.constvars, *jaxpr.invars[:num_weights])}
    largest = _largest_operation(jaxpr, weights) // TRACED_BATCH
    return _LIVE_FACTOR * max(largest, 4 * int(np.prod(image_shape)))


def _largest_operation(jaxpr: Any, weights: set[int]) -> int:
    """Bytes of the largest operation of a jaxpr, weights excluded."""
    largest = 0
    for equation in jaxpr.eqns:
        operands = [v for v in (*equation.invars, *equation.outvars) if id(v) not in weights]
        # The batch leads every array that grows with the images.
        sizes = [
            v.aval.size * v.aval.dtype.itemsize
            for v in operands
            if getattr(v.aval, "ndim", 0) > 1 and v.aval.shape[0] == TRACED_BATCH
        ]
        largest = max(largest, sum(sizes))
        for inner in _inner_jaxprs(equation):
            largest = max(largest, _largest_operation(inner, weights))
    return largest


def _inner_jaxprs(equation: Any) -> Iterator[Any]:
    """The jaxprs inside one operation: calls, loops, and the branches of a condition."""
    for parameter in equation.params.values():
        for item in parameter if isinstance(parameter, tuple | list) else (parameter,):
            inner = getattr(item, "jaxpr", item)
            if hasattr(inner, "eqns"):
                yield inner
