"""Run a pass over shards in this process, or in several."""

import concurrent.futures
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from anw_jax import _check, progress
from anw_jax.errors import SourceError
from anw_jax.shards.shard import Shard

Result = TypeVar("Result")

# To start processes takes about as long as to mark this many bytes of photo files.
_LEAST_BYTES = 2**23
_SECONDS_BETWEEN = 0.2

# Of a worker process: set by `_begin`.
_shared: dict[str, Any] = {}


class _Stopped(Exception):
    """The main process was interrupted."""


def num_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_pass(
    run: Callable[[Shard, Callable[[], None]], Result],
    shards: Sequence[Shard],
    *,
    workers: int = 1,
    num_bytes: int | None = None,
    on_progress: progress.ProgressFn = progress.silent,
) -> list[Result]:
    """Run a pass over all shards; return its results in their order.

    Worker processes are new interpreters (the method "spawn") and import no jax. If one is
    killed, its shards are run again by half as many; if this process is interrupted, they stop
    after the photo in hand; if it is killed, they stop at once.

    Args:
      run: a pass, which can be pickled.
      shards: in order.
      workers: most processes; 1 for this one.
      num_bytes: of all files; this process alone handles few. None if not known.
      on_progress: called with (photos done, photos in all).

    Raises:
      TypeError, ValueError: workers below 1.
      SourceError: the only worker left ended while it handled a shard.
    """
    workers = min(_check.integer_at_least(1, workers=workers), len(shards))
    num_photos = sum(len(shard.photos) for shard in shards)
    if workers < 2 or (num_bytes is not None and num_bytes < _LEAST_BYTES):
        return _run_here(run, shards, num_photos, on_progress)
    results: dict[int, Result] = {}
    on_progress(0, num_photos)
    while len(results) < len(shards):
        left = [shard for shard in shards if shard.number not in results]
        try:
            _run_in_pool(run, left, min(workers, len(left)), num_photos, results, on_progress)
        except BrokenProcessPool:
            if workers == 1 and left[0].number not in results:
                raise SourceError(_ended(left[0])) from None
            workers = max(1, workers // 2)
            warnings.warn(
                "a worker process ended before its work was done (killed, or short of "
                f"memory?); going on with {workers}",
                stacklevel=2,
            )
    on_progress(num_photos, num_photos)
    return [results[shard.number] for shard in shards]


def _ended(shard: Shard) -> str:
    names = [str(getattr(photo, "name", photo)) for photo in shard.photos]
    return (
        f"a worker process ended while it handled shard {shard.number} ({names[0]} … "
        f"{names[-1]}): if memory is short, close other programs; else remove the photo that "
        "its decoder crashes on"
    )


def _run_here(run, shards, num_photos, on_progress) -> list:
    done = 0

    def on_photo() -> None:
        nonlocal done
        done += 1
        on_progress(done, num_photos)

    return [run(shard, on_photo) for shard in shards]


def _run_in_pool(run, shards, workers, num_photos, results, on_progress) -> None:
    """Fill `results` by number, and raise BrokenProcessPool if a worker ended."""
    context = multiprocessing.get_context("spawn")
    before = num_photos - sum(len(shard.photos) for shard in shards)
    # Without locks, which a killed worker would hold; a few photos may go uncounted.
    stop, count = context.RawValue("b", 0), context.RawValue("q", 0)
    pool = concurrent.futures.ProcessPoolExecutor(workers, context, _begin, (stop, count))
    try:
        futures = {pool.submit(_run_there, run, shard): shard.number for shard in shards}
        waiting = set(futures)
        while waiting:
            ended, waiting = concurrent.futures.wait(
                waiting, _SECONDS_BETWEEN, concurrent.futures.FIRST_COMPLETED
            )
            on_progress(min(before + count.value, num_photos - 1), num_photos)
            broken = False
            for future in ended:
                try:
                    results[futures[future]] = future.result()
                except BrokenProcessPool:
                    broken = True
            if broken:
                raise BrokenProcessPool
    except BaseException:
        stop.value = 1
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(stop: Any, count: Any) -> None:
    """Prepare a worker process."""
    _shared.update(stop=stop, count=count)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process says when to stop
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the main process was killed, so that no two write one file."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _run_there(run: Callable[[Shard, Callable[[], None]], Result], shard: Shard) -> Result:
    return run(shard, _on_photo)


def _on_photo() -> None:
    _shared["count"].value += 1
    if _shared["stop"].value:
        raise _Stopped
