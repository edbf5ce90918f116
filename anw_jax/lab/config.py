"""From a config file and flags to checked settings; the only ml_collections here."""

import contextlib
import dataclasses
import difflib
import importlib.util
import inspect
import pathlib
import sys
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import ml_collections
from ml_collections import config_dict

from anw_jax.errors import SettingsError
from anw_jax.lab.barrier_settings import BarrierSettings
from anw_jax.lab.diffusion_settings import DiffusionSettings
from anw_jax.lab.fingerprint_settings import FingerprintSettings
from anw_jax.lab.multitask_settings import MultitaskSettings
from anw_jax.lab.picture_settings import PictureSettings
from anw_jax.lab.recompression_settings import RecompressionSettings
from anw_jax.lab.settings import RunSettings, Settings

T = TypeVar("T")


def load_config(file_and_variant: str) -> ml_collections.ConfigDict:
    """Load `experiments/<name>.py` or `experiments/<name>.py:<variant>`.

    Raises:
      SettingsError: no such file, not a config file, or an unknown variant; one line.
    """
    return load_experiment(file_and_variant)[1]


def load_experiment(
    file_and_variant: str,
) -> tuple[types.ModuleType, ml_collections.ConfigDict]:
    """Load a config file as `load_config` does, and return its module as well.

    The module may hold more than `get_config`: the claims that its runs are to show.

    Raises:
      SettingsError: as `load_config`.
    """
    file, _, variant = file_and_variant.partition(":")
    path = pathlib.Path(file)
    if not path.is_file():
        raise SettingsError(f"config file {file!r} does not exist{_neighbours(path)}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise SettingsError(f"config file {file!r} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        with _importable(path.resolve().parent.parent):
            spec.loader.exec_module(module)
        if variant and not inspect.signature(module.get_config).parameters:
            raise SettingsError(f"config file {file!r} has no variants, got {variant!r}")
        config = module.get_config(variant) if variant else module.get_config()
    except SettingsError:
        raise
    except Exception as error:
        raise SettingsError(f"config file {file!r} fails: {error!r}") from error
    if not isinstance(config, ml_collections.ConfigDict):
        raise SettingsError(f"get_config of {file!r} must return a ConfigDict")
    return module, config


def _neighbours(path: pathlib.Path) -> str:
    names = sorted(p.name for p in path.parent.glob("*.py")) if path.parent.is_dir() else []
    return f"; {path.parent} has {', '.join(names)}" if names else ""


@contextlib.contextmanager
def _importable(folder: pathlib.Path) -> Iterator[None]:
    """Let a config file import its neighbours (`from experiments import common`)."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def choose(variant: str, **variants: T) -> T:
    """Return the variant named after the colon of `experiments/<name>.py:<variant>`.

    Raises:
      SettingsError: there is none of that name; lists the known ones.
    """
    if variant not in variants:
        raise SettingsError(f"there is no variant {variant!r}; known: {', '.join(variants)}")
    return variants[variant]


def with_defaults(values: Mapping[str, Any]) -> ml_collections.ConfigDict:
    """Complete a config file's values, so that a flag can override every setting.

    Args:
      values: nested plain values; missing ones take the defaults of the settings. The optional
        "study" section (paper row, arms; see `tools.reproduction.study`) is not part of the
        settings; `split_study` removes it.
    """
    settings, study = split_study(values)
    config = ml_collections.ConfigDict(_complete(_kind_of(settings), settings))
    if study is not None:
        # Hidden from flags: arms cannot be overridden.
        with config.unlocked():
            config.study = config_dict.FieldReference(_Study(study))
    return config


def _kind_of(values: Mapping[str, Any]) -> type[RunSettings]:
    """Return the kind of settings of a config's values, by a field that only it has."""
    kinds = {
        "tunings": DiffusionSettings,
        "marks": MultitaskSettings,
        "pictures": PictureSettings,
        "copies": BarrierSettings,
        "collusions": FingerprintSettings,
        "tuning": RecompressionSettings,
    }
    return next((kind for name, kind in kinds.items() if name in values), Settings)


class _Study(dict):
    """A study's plain values; a type of its own, so that a ConfigDict keeps it as it is."""


def split_study(config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Separate a config's settings from its part "study"; None if it has none."""
    settings = _plain(config)
    return settings, settings.pop("study", None)


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    return config.to_dict() if isinstance(config, ml_collections.ConfigDict) else dict(config)


def _complete(kind: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Add the fields of a dataclass that `values` leaves out, level by level."""
    hints, full = typing.get_type_hints(kind), dict(values)
    for field in dataclasses.fields(kind):
        name, hint = field.name, hints[field.name]
        if dataclasses.is_dataclass(hint):
            full[name] = _complete(hint, full.get(name, {}))
        elif typing.get_origin(hint) is Mapping:
            has_default = field.default_factory is not dataclasses.MISSING
            default = field.default_factory() if has_default else {}
            inner, entries = typing.get_args(hint)[1], dict(full.get(name, default))
            if dataclasses.is_dataclass(inner):
                entries = {entry: _complete(inner, value) for entry, value in entries.items()}
            full[name] = entries
        elif _is_optional_section(hint):
            own = full.get(name)
            full[name] = None if own is None else _complete(_beside_none(hint), own)
        elif full.get(name) is None and isinstance(hint, types.UnionType):
            kind_beside_none = _beside_none(hint)
            full[name] = config_dict.placeholder(
                typing.get_origin(kind_beside_none) or kind_beside_none
            )
        elif name not in full and field.default is not dataclasses.MISSING:
            full[name] = field.default
    return full


def _is_optional_section(hint: Any) -> bool:
    is_union = isinstance(hint, types.UnionType)
    return is_union and dataclasses.is_dataclass(_beside_none(hint))


def _beside_none(hint: types.UnionType) -> Any:
    return next(a for a in typing.get_args(hint) if a is not type(None))


def check_overrides(config: ml_collections.ConfigDict, arguments: Iterable[str]) -> None:
    """Raise SettingsError for `--config.<field>` flags that name no setting.

    Raises:
      SettingsError: with the nearest name, in one line.
    """
    for argument in arguments:
        if not argument.startswith("--config."):
            continue
        path = argument.removeprefix("--config.").partition("=")[0].split(".")
        level: Any = config
        for depth, name in enumerate(path):
            known = list(level.keys()) if isinstance(level, ml_collections.ConfigDict) else []
            if name not in known:
                raise _unknown_setting(".".join(["config", *path[: depth + 1]]), known)
            level = level[name]


def settings_from_file(file_and_variant: str, **overrides: Any) -> RunSettings:
    """Load a config file as settings, with dotted overrides; for notebooks.

    Example:
      `settings_from_file("experiments/quickstart.py", **{"seed": 3, "train.num_epochs": 2})`
    """
    config = load_config(file_and_variant)
    config.update_from_flattened_dict(overrides)
    return settings_from_config(config)


def settings_from_config(config: Mapping[str, Any]) -> RunSettings:
    """Turn a config file's plain values into checked settings.

    Args:
      config: nested mapping with the fields of `Settings`, of `DiffusionSettings` (which alone
        has tunings), of `MultitaskSettings` (which alone has marks), of `PictureSettings`
        (which alone has pictures), of `BarrierSettings` (copies otherwise), of
        `FingerprintSettings` (which alone has collusions) or of `RecompressionSettings` (which
        alone has a tuning); an `ml_collections.ConfigDict` or a dict.

    Raises:
      SettingsError: an unknown or missing field, a wrong type or an impossible value; one
        line that names the field.
    """
    values = _plain(config)
    return _convert(_kind_of(values), values, "config")


def _convert(hint: Any, value: Any, path: str) -> Any:
    """Convert a plain value to the type that a field declares; errors name the path."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return None if value is None else _convert(_beside_none(hint), value, path)
    if hint is Any:
        return tuple(value) if isinstance(value, list) else value
    if origin is tuple:
        items = (value,) if isinstance(value, (str, int)) else tuple(value)
        if arguments[0] is str:
            # A flag gives several names as one string: --config.arms=light,hue.
            items = [name for item in items for name in str(item).split(",")]
        return tuple(_convert(arguments[0], item, path) for item in items)
    if dataclasses.is_dataclass(hint) or origin is Mapping:
        if not isinstance(value, Mapping):
            raise SettingsError(f"{path} must hold settings by name, got {value!r}")
        if origin is Mapping:
            return {str(n): _convert(arguments[1], v, f"{path}.{n}") for n, v in value.items()}
        return _build(hint, value, path)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is float and is_number:
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise SettingsError(f"{path} must be of type {hint.__name__}, got {value!r}")
    return value


def _build(kind: Any, values: Mapping[str, Any], path: str) -> Any:
    """Build a dataclass from a mapping, field by field."""
    hints = typing.get_type_hints(kind)
    for name in values:
        if name not in hints:
            raise _unknown_setting(f"{path}.{name}", hints)
    missing = [
        field.name
        for field in dataclasses.fields(kind)
        if field.name not in values
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise SettingsError(f"{path} needs {', '.join(missing)}")
    fields = {n: _convert(hints[n], v, f"{path}.{n}") for n, v in values.items()}
    try:
        return kind(**fields)
    except (TypeError, ValueError) as error:
        between = " " if isinstance(error, TypeError) else ": "
        raise SettingsError(f"{path}{between}{error}") from None


def _unknown_setting(path: str, known: Iterable[str]) -> SettingsError:
    """Make the error for a dotted path whose last name is not among the known ones."""
    known = list(known)
    near = difflib.get_close_matches(path.rpartition(".")[2], known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return SettingsError(f"{path} is not a setting; {hint}")
