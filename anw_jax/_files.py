"""Files that a kill cannot leave half written, and folders that one process holds."""

import contextlib
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import IO


def write_whole(path: str | os.PathLike, body: bytes, *, durable: bool = True) -> None:
    """Writes a file whole or leaves the old one: to a neighbour first, then renamed.

    Args:
      path: the file; its folder is made.
      body: all its bytes.
      durable: wait for the disk, which a heartbeat or a picture need not.

    Raises:
      OSError: it cannot be written; no partial file stays behind.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as file:
            file.write(body)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def lock(file: IO, busy: Callable[[], Exception]) -> None:
    """Keeps other processes out until `file` is closed (where the system can).

    Raises:
      Exception: what `busy` makes, if another process holds the file.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise busy() from None


@contextlib.contextmanager
def only_one(folder: pathlib.Path, busy: Callable[[], Exception]) -> Iterator[None]:
    """Holds the file LOCK of a folder that is there, as `lock` does, while the body runs."""
    with (folder / "LOCK").open("w") as file:
        lock(file, busy)
        yield
