"""Atomic file writes, safe reads of regular files, and locked folders."""

import contextlib
import errno
import glob
import io
import os
import pathlib
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from typing import IO

import numpy as np

from anw_jax.errors import FileKindError

# Larger files are not read into memory: a sparse file can have any size.
MOST_BYTES = 2**33

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)

# Files and folders made by operating systems and file managers: thumbnails, bins, settings.
_SYSTEM_NAMES = frozenset(
    (
        "@eadir",
        "#recycle",
        "$recycle.bin",
        "__macosx",
        "desktop.ini",
        "ehthumbs.db",
        "icon\r",
        "lost+found",
        "system volume information",
        "thumbs.db",
    )
)


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name is hidden or made by the system.

    Example:
      >>> [is_hidden(name) for name in ("._net.toml", "__MACOSX", "Thumbs.db", "net.toml")]
      [True, True, True, False]
    """
    return name.startswith(".") or name.casefold() in _SYSTEM_NAMES


def irregular(mode: int) -> str:
    """Return the kind of a file from its `st_mode`, such as "a pipe"; "" for a regular file."""
    if stat.S_ISREG(mode):
        return ""
    return next((kind for test, kind in _KINDS if test(mode)), "no regular file")


def check_regular(path: str | os.PathLike) -> None:
    """Raise FileKindError for files whose reading may not end: devices, pipes, sockets.

    Links are followed. Missing or inaccessible files are left to the reader's own error.

    Raises:
      FileKindError: a folder, a device, a pipe or a socket, or an invalid path.

    Example:
      >>> check_regular(os.devnull)
      Traceback (most recent call last):
      ...
      anw_jax.errors.FileKindError: ... must be a file, but is a device
    """
    try:
        kind = irregular(os.stat(path).st_mode)
    except OSError:
        return
    except ValueError as error:  # a NUL in the path
        raise FileKindError(f"{os.fspath(path)!r} is no path of a file: {error}") from None
    if kind:
        raise FileKindError(f"{os.fspath(path)} must be a file, but is {kind}")


def open_regular(path: str | os.PathLike, most_bytes: int = MOST_BYTES) -> IO[bytes]:
    """Open a regular file for reading; never a pipe, a device or a folder.

    Args:
      path: the file; links are followed.
      most_bytes: its largest size.

    Raises:
      OSError: it cannot be opened, is not a regular file, or is too large; see `strerror`.
    """
    # Without O_NONBLOCK, opening a pipe waits for whoever writes into it.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(path, flags), "rb", buffering=0)
    status = os.fstat(file.fileno())
    why = f"it is {irregular(status.st_mode)}"
    if stat.S_ISREG(status.st_mode):
        why = f"it has {status.st_size:,} bytes, more than {most_bytes:,}"
        if status.st_size <= most_bytes:
            return file
    file.close()
    raise OSError(errno.EINVAL, why, os.fspath(path))


def read_regular(path: str | os.PathLike, most_bytes: int = MOST_BYTES) -> bytes:
    """Read all bytes of a regular file.

    Raises:
      OSError: as `open_regular`, or the file changed its size while it was read.
    """
    with open_regular(path, most_bytes) as file:
        size = os.fstat(file.fileno()).st_size
        # One byte more than its size, to detect growth: files in /proc may grow without end.
        with io.BufferedReader(file) as whole:
            body = whole.read(size + 1)
    if len(body) != size:
        raise OSError(errno.EINVAL, "it changes while it is read", os.fspath(path))
    return body


def write_whole(path: str | os.PathLike, body: bytes, *, durable: bool = True) -> None:
    """Write a file atomically: to a temporary file in its folder, which is then renamed.

    Args:
      path: the file; its folder is created.
      body: all its bytes.
      durable: whether to wait for the disk.

    Raises:
      OSError: it cannot be written; no partial file is left.
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


@contextlib.contextmanager
def new_folder(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Fill a folder that appears whole under its name when the body ends, or not at all.

    Args:
      path: the folder; it must be empty, or not exist yet.

    Yields:
      The folder to fill; what a killed process left of one is removed before.
    """
    path = pathlib.Path(path)
    whole = path.with_name(f"{path.name}.partial")
    shutil.rmtree(whole, ignore_errors=True)
    whole.mkdir(parents=True)
    try:
        yield whole
        os.replace(whole, path)
    except BaseException:
        shutil.rmtree(whole, ignore_errors=True)
        raise


def write_new(path: str | os.PathLike, body: bytes, *, mode: int = 0o666) -> None:
    """Write a new file atomically: no partial content is ever visible under its name.

    Temporary files that killed processes left for the same name are removed.

    Args:
      path: the file; its folder must exist.
      body: all its bytes.
      mode: its permissions from the first byte on, before the process's umask.

    Raises:
      FileExistsError: the file exists; it is not overwritten.
      OSError, ValueError: it cannot be written (`check_new`); no partial file is left.
    """
    # Written to a temporary file, then linked: unlike renaming, linking never overwrites.
    path = pathlib.Path(path)
    check_new(path)
    _remove_left_behind(path)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(partial, flags, mode), "wb") as file:
            lock(file, BlockingIOError)  # while this process lives
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(partial, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without links, such as a memory stick's
            if os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, "File exists", os.fspath(path)) from None
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def check_new(path: pathlib.Path) -> None:
    """Check that a new file has a name, and a folder to be in.

    Raises:
      FileNotFoundError, ValueError: it has not; the system's error names a temporary file.

    Example:
      >>> check_new(pathlib.Path("no/such/key"))
      Traceback (most recent call last):
      ...
      FileNotFoundError: no/such/key cannot be written: folder 'no/such' is not there: give ...
    """
    if not path.name:
        raise ValueError(f"a new file must have a name, got {str(path)!r}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: {no_folder(path.parent)}")


def no_folder(path: str | os.PathLike) -> str:
    """Say of a path which is no folder whether it is something else.

    Example:
      >>> no_folder("no/such")
      "folder 'no/such' is not there: give an existing folder"
      >>> no_folder(os.devnull)
      "'/dev/null' must be a folder, but is a device"
    """
    try:
        what = irregular(os.stat(path).st_mode) or "a file"
    except (OSError, ValueError):
        return f"folder {os.fspath(path)!r} is not there: give an existing folder"
    return f"{os.fspath(path)!r} must be a folder, but is {what}"


def _remove_left_behind(path: pathlib.Path) -> None:
    """Remove the temporary files of `write_new` whose process was killed: nobody locks them."""
    for file in path.parent.glob(f"{glob.escape(path.name)}.????????.partial"):
        with contextlib.suppress(OSError), open(file, "ab") as left:
            lock(left, BlockingIOError)
            file.unlink()


def write_npz(path: str | os.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a compressed `.npz` atomically."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_whole(path, buffer.getvalue())


def read_npz(body: bytes, most_bytes: int = MOST_BYTES) -> dict[str, np.ndarray]:
    """Read the arrays of an `.npz` file, without running code from it.

    Raises:
      MemoryError: they need more than `most_bytes`: a small file can expand to any size.
      Exception: of numpy, zipfile or zlib, which have no common base: not such a file.
    """
    with np.load(io.BytesIO(body), allow_pickle=False) as stored:
        if sum(entry.file_size for entry in stored.zip.infolist()) > most_bytes:
            raise MemoryError(f"the arrays fill more than {most_bytes:,} bytes")
        if len(set(stored.files)) < len(stored.files):  # numpy takes the last of them
            raise ValueError("one array is stored twice")
        arrays = dict(stored.items())
    for name, value in arrays.items():
        if not isinstance(value, np.ndarray):  # numpy returns other entries as bytes
            raise ValueError(f"{name!r} is not an array")
    return arrays


def lock(file: IO, busy: Callable[[], Exception]) -> None:
    """Lock a file against other processes until it is closed (if the system supports it).

    Raises:
      Exception: the result of `busy`, if another process holds the lock.
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
    """Lock the file LOCK of an existing folder, as by `lock`, while the body runs.

    The file is removed at the end, unless it has content; one left by a killed process does not
    block others.
    """
    path = folder / "LOCK"
    file = _held(path, busy)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows cannot remove an open file
            if not path.stat().st_size:
                path.unlink()
        file.close()


def _held(path: pathlib.Path, busy: Callable[[], Exception]) -> IO:
    """Open and lock the file at `path`; retry if its last holder has removed it meanwhile."""
    while True:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(path.open("a"))
            lock(file, busy)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    stack.pop_all()
                    return file
