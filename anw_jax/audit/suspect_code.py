"""Run the Python files that a suspect names, exactly as they were hashed.

A warning names local code that a suspect imports and its identity does not cover.
"""

import hashlib
import os
import pathlib
import sys
import types
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from anw_jax.audit.files import read_bytes
from anw_jax.errors import AnwError, CaseError
from anw_jax.suspects.adapters.surroundings import local_code

_MOST_CODE = 2**24
_MOST_NAMED = 6


def load_function(
    path: pathlib.Path, attribute: str
) -> tuple[Callable, str, list[pathlib.Path]]:
    """Execute a Python file and return one of its functions.

    Returns:
      The function; its identity; the local code files that its own file imports from.

    Raises:
      CaseError: no such file or function, or the file cannot be run.
    """
    body = read_bytes(path, _MOST_CODE)
    digest = hashlib.sha256(body).hexdigest()
    # Two suspects may have files of the same name.
    module = types.ModuleType(f"_anw_suspect_{path.stem}_{digest[:16]}")
    module.__file__ = str(path)
    # Dataclasses, and so modules of Flax and Equinox, look for their module here.
    sys.modules[module.__name__] = module
    try:
        # The bytes that were hashed: a compiled file beside them could hold other code.
        exec(compile(body, str(path), "exec", dont_inherit=True), module.__dict__)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also of code that exits
        del sys.modules[module.__name__]
        raise CaseError(
            f"{path} cannot be run ({type(error).__name__}: {error!s:.200})"
        ) from error
    function = getattr(module, attribute, None)
    if not callable(function):
        raise CaseError(f"{path} has no function {attribute!r}")
    return function, f"{digest} {attribute}", _sources_in(vars(module))


def called(path: pathlib.Path, function: Callable) -> Any:
    """Call a function of a suspect's file without arguments.

    Raises:
      CaseError: whatever it raises.
    """
    try:
        return function()
    except (AnwError, KeyboardInterrupt):
        raise
    except BaseException as error:
        name = getattr(function, "__name__", "the function")
        raise CaseError(
            f"{path}: {name}() failed ({type(error).__name__}: {error!s:.200})"
        ) from error


def _sources_in(names: Mapping[str, Any]) -> list[pathlib.Path]:
    """Code files of the modules that a file's names come from, already imported or not."""
    modules = [
        value if isinstance(value, types.ModuleType) else sys.modules.get(_home(value))
        for value in names.values()
    ]
    return [file for module in modules if module and (file := local_code(module))]


def _home(value: Any) -> str:
    home = getattr(value, "__module__", None) if callable(value) else None
    return home if isinstance(home, str) else ""


def warn_of_unlisted(
    toml: pathlib.Path, used: Iterable[pathlib.Path], listed: Iterable[pathlib.Path]
) -> None:
    """Warn of local code that a suspect uses and its identity does not cover.

    Args:
      toml: the suspect's file, which could list them.
      used: code files that it read.
      listed: what the identity covers.
    """
    unlisted = sorted(set(used) - {file.resolve() for file in listed})
    if not unlisted:
        return
    names = [f'"{_relative(file, toml.parent)}"' for file in unlisted[:_MOST_NAMED]]
    more = len(unlisted) - len(names)
    warnings.warn(
        f"suspect {toml.stem!r} runs code that its identity does not cover and that could be "
        f"changed unseen: list it in {toml}, files = [{', '.join(names)}]"
        + (f" and {more} more" if more else ""),
        stacklevel=2,
    )


def _relative(file: pathlib.Path, folder: pathlib.Path) -> str:
    try:
        return pathlib.Path(os.path.relpath(file, folder.resolve())).as_posix()
    except ValueError:  # on another drive
        return file.as_posix()
