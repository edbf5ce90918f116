"""From a config file's plain values to checked settings, field by field."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from anw_jax.errors import SettingsError
from anw_jax.lab.settings import Settings


def settings_from_config(config: Mapping[str, Any]) -> Settings:
    """Turns a config file's plain values into checked settings.

    Args:
      config: nested mapping with the fields of `Settings`; an `ml_collections.ConfigDict`
        or a dict.

    Raises:
      SettingsError: an unknown or missing field, a wrong type or an impossible value; one
        line that names the field.
    """
    to_dict = getattr(config, "to_dict", None)
    return _build(Settings, to_dict() if to_dict else dict(config), "config")


def _build(kind: Any, value: Any, path: str) -> Any:
    """Builds a dataclass from a mapping, field by field, naming the path in errors."""
    if not isinstance(value, Mapping):
        raise SettingsError(f"{path} must hold settings by name, got {value!r}")
    hints = typing.get_type_hints(kind)
    for name in value:
        if name not in hints:
            raise unknown_setting(f"{path}.{name}", hints)
    arguments = {n: _convert(hints[n], v, f"{path}.{n}") for n, v in value.items()}
    try:
        return kind(**arguments)
    except TypeError as error:
        missing = [
            field.name
            for field in dataclasses.fields(kind)
            if field.name not in value
            and field.default is dataclasses.MISSING
            and field.default_factory is dataclasses.MISSING
        ]
        reason = f"needs {', '.join(missing)}" if missing else str(error)
        raise SettingsError(f"{path} {reason}") from None
    except ValueError as error:
        raise SettingsError(f"{path}: {error}") from None


def unknown_setting(path: str, known: Iterable[str]) -> SettingsError:
    """The error for a dotted path whose last name is not among the known ones."""
    known = list(known)
    near = difflib.get_close_matches(path.rpartition(".")[2], known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return SettingsError(f"{path} is not a setting; {hint}")


def _convert(hint: Any, value: Any, path: str) -> Any:
    """Converts one plain value to the type that the field declares."""
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, path)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        if value is None:
            return None
        return _convert(next(a for a in arguments if a is not type(None)), value, path)
    if hint is Any:
        return tuple(value) if isinstance(value, list) else value
    if origin is tuple:
        items = (value,) if isinstance(value, (str, int)) else tuple(value)
        return tuple(_convert(arguments[0], item, path) for item in items)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise SettingsError(f"{path} must hold settings by name, got {value!r}")
        return {str(n): _convert(arguments[1], v, f"{path}.{n}") for n, v in value.items()}
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is float and is_number:
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise SettingsError(f"{path} must be of type {hint.__name__}, got {value!r}")
    return value
