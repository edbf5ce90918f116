"""Sources of batches, in memory or streamed from disk, and the devices that share a batch.

The rows of each batch are a pure function of the step, so a resumed training needs only its
step, and both sources give the same batches. Devices form one 1-D mesh, named "data": batches
are split over it, everything else is copied.
"""

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Generator, Iterator
from typing import Any

import chex
import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from anw_jax import _check, _jax_settings, data
from anw_jax.errors import SettingsError

IndicesFn = Callable[[int, int], np.ndarray]
# Columns on the devices, their rows for some steps, and the number of these steps to take;
# without rows, the columns are the batch of one step.
Piece = tuple[chex.ArrayTree, jax.Array | None, int]

# All segments have one shape on the device, whatever their number of steps, and compile once.
MAX_SEGMENT_STEPS = 2048


@dataclasses.dataclass(frozen=True, eq=False)
class Batches:
    """A source of batches: columns, and the rows of them that each step gets.

    Attributes:
      columns: a tree of arrays, or of `data.StreamedImages`, that share their first axis.
      indices_fn: the batch plan, `(first_step, num_steps)` to int32 `[num_steps, batch_size]`
        (or `[num_steps, num_models, batch_size]`), pure; `data.BatchPlan(...).rows` is one.
      batch_shape: shape of a step's rows; None = that of the batch plan.

    Raises:
      ValueError: if the columns are not equally long.

    Example:
      >>> plan = data.BatchPlan(num_examples=8, batch_size=4, seed=0)
      >>> Batches({"x": np.zeros((8, 3))}, plan.rows).batch_shape
      (4,)
    """

    columns: Any
    indices_fn: IndicesFn
    batch_shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Set the shape of a batch if it is not given, and check the lengths."""
        if self.batch_shape is None:
            shape = np.shape(self.indices_fn(0, 1))[1:]
            object.__setattr__(self, "batch_shape", shape)
        lengths = {len(column) for column in jax.tree.leaves(self.columns)}
        if len(lengths) != 1:
            raise ValueError(
                f"columns must share the length of their first axis, got {sorted(lengths)}"
            )

    @property
    def num_examples(self) -> int:
        """Number of rows."""
        return len(jax.tree.leaves(self.columns)[0])

    @property
    def is_streamed(self) -> bool:
        """Whether any column is streamed from disk."""
        columns = jax.tree.leaves(self.columns)
        return any(isinstance(column, data.StreamedImages) for column in columns)

    def rows(self, first_step: int, num_steps: int) -> np.ndarray:
        """Return the rows of some steps, checked.

        Raises:
          ValueError: if the batch plan returns a wrong shape, or rows that do not exist.
        """
        rows = np.asarray(self.indices_fn(first_step, num_steps))
        shape = (num_steps, *self.batch_shape)
        if rows.shape != shape or not np.issubdtype(rows.dtype, np.integer):
            raise ValueError(
                f"indices_fn must return integers of shape {shape}, "
                f"got {rows.dtype} of shape {rows.shape}"
            )
        # A gather would silently clamp such a row.
        if rows.min() < 0 or rows.max() >= self.num_examples:
            raise ValueError(
                f"indices_fn must return rows in [0, {self.num_examples}), "
                f"got [{rows.min()}, {rows.max()}]"
            )
        return rows.astype(np.int32)

    def digest(self) -> str:
        """Return 16 hexadecimal digits that identify the columns."""
        hashed = hashlib.sha256()
        for column in jax.tree.leaves(self.columns):
            if isinstance(column, data.StreamedImages):
                hashed.update(column.identity().encode())
            else:
                hashed.update(f"{column.dtype} {column.shape}".encode())
                hashed.update(np.ascontiguousarray(column))
        return hashed.hexdigest()[:16]

    def feed(self, mesh: Mesh, num_steps: int) -> "Feed":
        """Return the feed that sends the batches of `num_steps` steps to the devices."""
        return (StreamedFeed if self.is_streamed else ResidentFeed)(self, mesh, num_steps)


class ResidentFeed:
    """A feed that holds all columns on the devices; a segment is one piece.

    Args:
      batches: the source.
      mesh: the devices that share each batch.
      num_steps: of the whole training.
    """

    def __init__(self, batches: Batches, mesh: Mesh, num_steps: int) -> None:
        del num_steps
        self._batches = batches
        self._columns = jax.device_put(batches.columns, replicated(mesh))
        num_models = int(np.prod(batches.batch_shape[:-1]))
        self.max_steps = max(1, MAX_SEGMENT_STEPS // num_models)
        axes = [None] * len(batches.batch_shape)
        self._sharding = NamedSharding(mesh, PartitionSpec(*axes, "data"))

    def pieces(self, first_step: int, num_steps: int) -> Iterator[Piece]:
        """Yield all steps at once."""
        rows = self._batches.rows(first_step, num_steps)
        padding = ((0, self.max_steps - num_steps), *((0, 0),) * (rows.ndim - 1))
        yield self._columns, jax.device_put(np.pad(rows, padding), self._sharding), num_steps

    def close(self) -> None:
        """Do nothing: there are no threads."""


class StreamedFeed:
    """A feed that prefetches batches in threads; each step is a piece.

    While a step runs, the next batch is being sent to the devices and those after it are being
    decoded. Prefetching continues from one segment to the next; at any other step it restarts,
    so a batch depends only on its step.

    Args:
      batches: the source.
      mesh: the devices that share each batch.
      num_steps: of the whole training; nothing beyond is prefetched.
    """

    max_steps = MAX_SEGMENT_STEPS

    def __init__(self, batches: Batches, mesh: Mesh, num_steps: int) -> None:
        self._batches, self._num_steps = batches, num_steps
        self._sharding = NamedSharding(mesh, PartitionSpec("data"))
        self._begin(range(0))

    def pieces(self, first_step: int, num_steps: int) -> Iterator[Piece]:
        """Yield the batches of steps `first_step` to `first_step + num_steps - 1`."""
        end = first_step + num_steps
        if first_step != self._next_step or end > self._end:
            self.close()
            self._begin(range(first_step, max(end, self._num_steps)))
        self._next_step = end
        for _ in range(num_steps):
            yield next(self._stream), None, 1

    def close(self) -> None:
        """End the threads that prefetch."""
        # The stream refers to its feed: only the garbage collector would end it.
        self._stream.close()
        self._next_step = -1

    def _begin(self, steps: range) -> None:
        self._stream = self._sent(steps)
        self._next_step, self._end = -1, steps.stop

    def _sent(self, steps: range) -> Generator[chex.ArrayTree, None, None]:
        """Yield batches; when one is yielded, the next is already being sent to the devices."""
        ahead = None
        with contextlib.closing(data.prefetch(self._read, steps)) as batches:
            for batch in batches:
                current, ahead = ahead, jax.device_put(batch, self._sharding)
                if current is not None:
                    yield current
        if ahead is not None:
            yield ahead

    def _read(self, step: int) -> chex.ArrayTree:
        (rows,) = self._batches.rows(step, 1)
        return jax.tree.map(lambda column: column[rows], self._batches.columns)


Feed = ResidentFeed | StreamedFeed


def data_mesh(batch_size: int, num_devices: int | None = None) -> Mesh:
    """Return a mesh of the most devices that divide the batch.

    Args:
      batch_size: images per optimizer step.
      num_devices: at most so many; None = all.

    Raises:
      ValueError: if there are fewer devices than `num_devices`.
      SettingsError: in a run of several processes, which is not supported yet.
    """
    if jax.process_count() > 1:
        raise SettingsError(
            f"training over {jax.process_count()} processes is not supported yet: run it in "
            "one process, on the devices of one host"
        )
    devices = jax.devices()
    if num_devices is None:
        num_devices = len(devices)
    _check.integer_at_least(1, num_devices=num_devices)
    if num_devices > len(devices):
        raise ValueError(
            f"num_devices must be at most the {len(devices)} there are, got {num_devices}"
        )
    count = max(n for n in range(1, num_devices + 1) if batch_size % n == 0)
    return Mesh(np.asarray(devices[:count]), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding with a full copy on each device."""
    return NamedSharding(mesh, PartitionSpec())


def shares_threads(mesh: Mesh) -> bool:
    """Return whether two programs in flight can deadlock.

    Sums over several CPU devices share a few threads (seen on two busy cores); accelerators
    have their own queues.
    """
    return mesh.size > 1 and mesh.devices.flat[0].platform == "cpu"


def settings_of_jax() -> dict[str, Any]:
    """Return the settings and flags of jax that affect numbers, without those of devices."""
    of_devices = ("platform", "device_kind", "num_devices")
    settings = _jax_settings.number_settings()
    return {name: value for name, value in settings.items() if name not in of_devices}
