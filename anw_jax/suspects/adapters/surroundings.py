"""Run the code of a suspect without side effects on the program that queries it."""

import contextlib
import ctypes
import functools
import importlib.util
import itertools
import os
import pathlib
import sys
import sysconfig
from collections.abc import Callable, Iterator
from typing import Any, Self

# Names of code files read within each open context, the innermost last.
_readers: list[set[str]] = []


class Surroundings:
    """A context for a suspect's own code, entered for each call of it.

    * Its standard output goes to standard error: prints, and output of compiled code and of
      programs that it starts.
    * Its changes of the working folder and of `sys.path` hold inside the context only, and are
      back the next time it is entered.
    * Modules that it imports from `folder` are visible inside only: two suspects may each have
      a `helper.py`.

    Args:
      folder: of the suspect's own code; None if there is none.

    Attributes:
      code: local code files, not of installed packages, read inside so far.
      on_code: called with `code` each time it has grown; may be set later.

    Example:
      >>> surroundings, before = Surroundings(), os.getcwd()
      >>> with surroundings:
      ...     os.chdir("/")
      >>> os.getcwd() == before
      True
    """

    def __init__(self, folder: str | os.PathLike | None = None):
        self.on_code: Callable[[set[pathlib.Path]], None] | None = None
        self.code: set[pathlib.Path] = set()
        self._root = None if folder is None else pathlib.Path(folder).resolve()
        self._cwd: str | None = None
        self._path: list[str] | None = None
        self._modules: dict[str, Any] = {}
        self._open: list[contextlib.ExitStack] = []

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._watched())
            stack.enter_context(self._places())
            stack.enter_context(self._own_modules())
            stack.enter_context(_output_to_stderr())
            self._open.append(stack.pop_all())
        return self

    def __exit__(self, kind: Any, *error: Any) -> None:
        known = len(self.code)
        self._open.pop().close()
        if kind is None and len(self.code) > known and self.on_code is not None:
            self.on_code(self.code)

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        _hook()
        read: set[str] = set()
        _readers.append(read)
        try:
            yield
        finally:
            _readers[:] = [other for other in _readers if other is not read]
            self.code |= {file for name in read if (file := _local(name))}

    @contextlib.contextmanager
    def _places(self) -> Iterator[None]:
        before, path, writes = _cwd(), sys.path[:], sys.dont_write_bytecode
        if self._cwd is not None:
            _chdir(self._cwd)
        if self._path is not None:
            sys.path[:] = self._path
        # No compiled files are left in the folder of a case.
        sys.dont_write_bytecode = True
        try:
            yield
        finally:
            after = _cwd()
            self._cwd = after if after != before else None
            self._path = sys.path[:] if sys.path != path else None
            sys.path[:], sys.dont_write_bytecode = path, writes
            if before is not None and after != before:
                _chdir(before)

    @contextlib.contextmanager
    def _own_modules(self) -> Iterator[None]:
        before = dict(sys.modules)
        sys.modules.update(self._modules)
        try:
            yield
        finally:
            # There may be thousands of modules, and calls take less than a millisecond.
            new = itertools.filterfalse(before.__contains__, list(sys.modules))
            own = [name for name in new if self._is_own(sys.modules.get(name))]
            known = [name for name in self._modules if name in sys.modules]
            for name in dict.fromkeys(own + known):
                self._modules[name] = sys.modules.pop(name)
                if name in before:
                    sys.modules[name] = before[name]

    def _is_own(self, module: Any) -> bool:
        file = _file_of(module)
        return self._root is not None and file is not None and file.is_relative_to(self._root)


def local_code(module: Any) -> pathlib.Path | None:
    """Return the file of a module, unless it belongs to an installed package."""
    file = _file_of(module)
    return None if file is None else _local(str(file))


def _file_of(module: Any) -> pathlib.Path | None:
    """Return the file of a module's code, or the folder of a package without code."""
    try:
        place = getattr(module, "__file__", None) or next(iter(module.__path__))
        return pathlib.Path(place).resolve()
    except Exception:  # such attributes of artificial modules may be anything
        return None


def _local(name: str) -> pathlib.Path | None:
    """Return a code file by its name or that of its compiled form; None if it is installed.

    Versions identify installed packages; other files may change at any time.
    """
    with contextlib.suppress(ValueError, NotImplementedError):
        name = importlib.util.source_from_cache(name)
    file = pathlib.Path(name).resolve()
    is_installed = {"site-packages", "dist-packages"} & set(file.parts) or any(
        file.is_relative_to(folder) for folder in _installed()
    )
    return None if is_installed or not file.is_file() else file


@functools.cache
def _installed() -> tuple[pathlib.Path, ...]:
    kinds = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = [pathlib.Path(sysconfig.get_paths()[kind]) for kind in kinds]
    # This package, which declares its own version.
    return tuple(f.resolve() for f in (*folders, pathlib.Path(__file__).parents[2]))


@functools.cache
def _hook() -> None:
    """Start to watch which code files are opened; a process cannot stop this."""

    def look(event: str, arguments: tuple) -> None:
        if event == "open" and _readers and isinstance(name := arguments[0], str):
            if name.endswith((".py", ".pyc")):
                _readers[-1].add(os.path.abspath(name))

    sys.addaudithook(look)


def _cwd() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None


def _chdir(folder: str) -> None:
    with contextlib.suppress(OSError):  # it was removed, and nothing can be done about it
        os.chdir(folder)


@contextlib.contextmanager
def _output_to_stderr() -> Iterator[None]:
    """Send standard output to standard error, also that of compiled code."""
    _flush()
    kept = None
    with contextlib.suppress(OSError):  # one of the two may be closed
        kept = os.dup(1)
        os.dup2(2, 1)
    try:
        # The second restores the stream, which a suspect may replace.
        with contextlib.redirect_stdout(sys.stderr), contextlib.redirect_stderr(sys.stderr):
            yield
    finally:
        _flush()
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)


def _flush() -> None:
    """Flush the buffers of standard output in Python and in C."""
    for stream in (sys.stdout, sys.__stdout__):
        with contextlib.suppress(Exception):  # closed, or an object of the suspect
            stream.flush()
    with contextlib.suppress(Exception):  # there is no C library
        ctypes.CDLL(None).fflush(None)
