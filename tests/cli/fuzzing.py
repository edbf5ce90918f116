"""Commands that run in this process on damaged files, and what each may end with."""

import contextlib
import dataclasses
import io
import linecache
import os
import pathlib
import pickle
import signal
from collections.abc import Callable, Iterator

import click
import pytest

import anw_jax
from anw_jax.audit import originals
from anw_jax.cli import output
from anw_jax.cli.main import run
from anw_jax.verify import verdict

PACKAGE = pathlib.Path(anw_jax.__file__).parent
SECONDS = 60
# The time of files that are as they were made.
OLD = 10.0**9


@dataclasses.dataclass
class Ended:
    """One command's end.

    Attributes:
      code: its exit code.
      err: what stands on standard error, without warnings.
      error: what was raised, if anything.
    """

    code: int
    err: str
    error: BaseException | None


class Commands:
    """Calls `anw` in this process; remembers what was raised behind the one line."""

    def __init__(self, patch: pytest.MonkeyPatch):
        self._error: BaseException | None = None
        line_of = output.line_of_error

        def remembered(error):
            self._error = error
            return line_of(error)

        patch.setattr(output, "line_of_error", remembered)

    def __call__(self, *words) -> Ended:
        self._error = None
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _no_hang():
            code = run([str(word) for word in words])
        lines = err.getvalue().splitlines()
        text = "\n".join(line for line in lines if not line.startswith("anw: warning: "))
        return Ended(code, text, self._error)

    def checked(self, *words) -> Ended:
        """The same, where whatever is refused must be refused on purpose and in one line."""
        ended = self(*words)
        assert ended.code in output.MEANINGS
        assert ended.err.count("\n") == 0, ended.err
        if ended.error is not None:
            assert is_on_purpose(ended.error), ended.error
        return ended


def is_on_purpose(error: BaseException) -> bool:
    """Whether the program raised it itself, in words of its own, and met it not by chance."""
    if isinstance(error, (click.ClickException, OSError)):
        return not isinstance(error, TimeoutError)
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    file = pathlib.Path(trace.tb_frame.f_code.co_filename)
    line = linecache.getline(str(file), trace.tb_lineno).strip()
    return PACKAGE in file.parents and line.startswith("raise ")


@contextlib.contextmanager
def _no_hang() -> Iterator[None]:
    def ring(*_):
        raise TimeoutError(f"the command takes more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def make_quick(patch: pytest.MonkeyPatch) -> None:
    """Nothing is decoded or convolved twice, nothing waits for a disk; no result changes."""
    patch.setattr("os.fsync", lambda file: None)
    patch.setattr(originals, "_from_folder", _once(originals._from_folder, _state_of))
    patch.setattr(verdict, "_diagnostics", _once(verdict._diagnostics, pickle.dumps))


def files_in(folder: pathlib.Path | str) -> Iterator[tuple[str, float]]:
    """Every file below a folder, and when it was written."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir():
                yield from files_in(entry.path)
            else:
                yield entry.path, entry.stat().st_mtime


def _state_of(arguments: tuple) -> tuple:
    """The files of a folder as they are now."""
    files = files_in(arguments[0])
    return tuple(
        (path, None if time == OLD else pathlib.Path(path).read_bytes()) for path, time in files
    )


def _once(function: Callable, key: Callable) -> Callable:
    known = {}

    def called(*arguments):
        state = key(arguments)
        if state not in known:
            if len(known) > 64:
                known.clear()
            known[state] = function(*arguments)
        return known[state]

    return called
