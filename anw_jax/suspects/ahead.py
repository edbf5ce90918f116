"""Work done ahead in one thread, through a queue that holds little."""

import queue
import threading
from collections.abc import Iterator
from typing import Any, TypeVar

from anw_jax import _check

_Item = TypeVar("_Item")

# How often a thread that waits for room looks whether anybody still wants its work.
_LOOK_SECONDS = 0.05


def ahead(items: Iterator[_Item], depth: int = 2) -> Iterator[_Item]:
    """Yields `items` in order while a thread makes the next ones.

    Args:
      items: advanced in a thread of its own.
      depth: how many finished items may wait, at least 1.

    Returns:
      A generator. An error of `items` is raised where its item would have come; the thread
      ends with the generator, however that ends.

    Example:
      >>> list(ahead(iter("abc")))
      ['a', 'b', 'c']
    """
    depth = _check.integer_at_least(1, depth=depth)
    return _ahead(items, depth)


def _ahead(items: Iterator[_Item], depth: int) -> Iterator[_Item]:
    done: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
    nobody = threading.Event()
    thread = threading.Thread(target=_make, args=(items, done, nobody), daemon=True)
    thread.start()
    try:
        while True:
            what, value = done.get()
            if what == "end":
                return
            if what == "error":
                raise value
            yield value
    finally:
        nobody.set()
        thread.join()


def _make(items: Iterator, done: queue.Queue, nobody: threading.Event) -> None:
    def put(entry: tuple[str, Any]) -> bool:
        while not nobody.is_set():
            try:
                done.put(entry, timeout=_LOOK_SECONDS)
                return True
            except queue.Full:
                continue
        return False

    try:
        for item in items:
            if not put(("item", item)):
                return
        put(("end", None))
    except BaseException as error:
        put(("error", error))
