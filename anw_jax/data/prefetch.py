"""Reading ahead in threads, in order (Grain)."""

import os
import types
from collections.abc import Callable, Iterator
from typing import TypeVar

from anw_jax import _check, errors

_Item = TypeVar("_Item")
# Decoders let go of Python's lock, so threads do; processes would need absl's flags parsed.
_MOST_THREADS = 16


def _grain() -> types.ModuleType:
    try:
        import grain
    except ImportError:
        raise errors.SourceError(
            "reading photos ahead needs Grain: pip install 'grain>=0.2.18,<0.3'"
        ) from None
    return grain


def prefetch(
    read_fn: Callable[[int], _Item], steps: range, num_threads: int | None = None
) -> Iterator[_Item]:
    """Calls `read_fn` on each step, ahead of need in threads; gives results in order.

    As many results wait as there are threads. The threads end with the iterator: at its
    last step, when it is closed, or when nobody holds it any more.

    Args:
      read_fn: a pure function of the step, safe to call from several threads at once.
      steps: which steps, in order.
      num_threads: at least 1; None for one per processor, at most 16.

    Returns:
      An iterator of `read_fn(step)`.

    Raises:
      SourceError: if Grain is not installed.
      ValueError: if `num_threads` is below 1.

    Example:
      >>> list(prefetch(lambda step: step**2, range(3, 6)))
      [9, 16, 25]
    """
    _check.is_instance(range, steps=steps)
    if num_threads is None:
        num_threads = min(_MOST_THREADS, os.cpu_count() or 1)
    num_threads = _check.integer_at_least(1, num_threads=num_threads)
    return _read_ahead(_grain(), read_fn, steps, num_threads)


def _read_ahead(
    grain: types.ModuleType, read_fn: Callable[[int], _Item], steps: range, num_threads: int
) -> Iterator[_Item]:
    def read(step: int) -> tuple[_Item | None, Exception | None]:
        # Grain writes a note of its own into errors that pass through it.
        try:
            return read_fn(step), None
        except Exception as error:
            return None, error

    options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=num_threads)
    iterator = iter(grain.MapDataset.source(steps).map(read).to_iter_dataset(options))
    try:
        for item, error in iterator:
            if error is not None:
                raise error
            yield item
    finally:
        iterator.close()
