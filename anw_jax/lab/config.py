"""The edge where config files and flags become settings; the only ml_collections here."""

import contextlib
import dataclasses
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
from anw_jax.lab.building import settings_from_config, unknown_setting
from anw_jax.lab.settings import Settings

T = TypeVar("T")


def load_config(file_and_variant: str) -> ml_collections.ConfigDict:
    """Loads `experiments/<name>.py` or `experiments/<name>.py:<variant>`.

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


@contextlib.contextmanager
def _importable(folder: pathlib.Path) -> Iterator[None]:
    """Lets a config file import its neighbours (`from experiments import common`)."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def choose(variant: str, **variants: T) -> T:
    """Picks the variant named after the colon of `experiments/<name>.py:<variant>`.

    Raises:
      SettingsError: there is none of that name; lists those there are.
    """
    if variant not in variants:
        raise SettingsError(f"there is no variant {variant!r}; known: {', '.join(variants)}")
    return variants[variant]


def with_defaults(values: Mapping[str, Any]) -> ml_collections.ConfigDict:
    """Completes a config file's values, so that every setting can be overridden by a flag.

    Args:
      values: nested plain values; what they leave out takes the defaults of `Settings`. A
        part "study" (row of the paper, arms; see `tools.reproduction.study`) is no setting,
        and is kept apart by `split_study`.
    """
    settings, study = split_study(values)
    config = ml_collections.ConfigDict(_complete(Settings, settings))
    if study is not None:
        # Opaque on purpose: an arm is not for overriding.
        with config.unlocked():
            config.study = config_dict.FieldReference(_Study(study))
    return config


class _Study(dict):
    """A study's plain values; a type of its own, so that a ConfigDict keeps it as it is."""


def split_study(config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Separates a config's settings from its part "study"; None where it has none."""
    to_dict = getattr(config, "to_dict", None)
    settings = to_dict() if to_dict else dict(config)
    return settings, settings.pop("study", None)


def _complete(kind: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Adds the fields of a dataclass that `values` leaves out, level by level."""
    hints, full = typing.get_type_hints(kind), dict(values)
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            full[field.name] = _complete(hint, full.get(field.name, {}))
        elif typing.get_origin(hint) is Mapping:
            full[field.name] = _complete_each(hint, full.get(field.name, {}))
        elif full.get(field.name) is None and isinstance(hint, types.UnionType):
            full[field.name] = config_dict.placeholder(_plain_type(hint))
        elif field.name not in full and field.default is not dataclasses.MISSING:
            full[field.name] = field.default
    return full


def _complete_each(hint: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """`_complete` for each value of a mapping, where these are dataclasses."""
    inner = typing.get_args(hint)[1]
    if not dataclasses.is_dataclass(inner):
        return dict(values)
    return {name: _complete(inner, value) for name, value in values.items()}


def _plain_type(hint: types.UnionType) -> type:
    """The type beside None."""
    kind = next(a for a in typing.get_args(hint) if a is not type(None))
    return typing.get_origin(kind) or kind


def check_overrides(config: ml_collections.ConfigDict, arguments: Iterable[str]) -> None:
    """Refuses `--config.<field>` flags that name no setting; suggests the nearest.

    Raises:
      SettingsError: one line.
    """
    for argument in arguments:
        if not argument.startswith("--config."):
            continue
        path = argument.removeprefix("--config.").partition("=")[0].split(".")
        level: Any = config
        for depth, name in enumerate(path):
            known = list(level.keys()) if isinstance(level, ml_collections.ConfigDict) else []
            if name not in known:
                raise unknown_setting(".".join(["config", *path[: depth + 1]]), known)
            level = level[name]


def settings_from_file(file_and_variant: str, **overrides: Any) -> Settings:
    """Loads a config file as settings, with dotted overrides; for notebooks.

    Example:
      `settings_from_file("experiments/quickstart.py", **{"seed": 3, "train.num_epochs": 2})`
    """
    config = load_config(file_and_variant)
    config.update_from_flattened_dict(overrides)
    return settings_from_config(config)


def _neighbours(path: pathlib.Path) -> str:
    names = sorted(p.name for p in path.parent.glob("*.py")) if path.parent.is_dir() else []
    return f"; {path.parent} has {', '.join(names)}" if names else ""
