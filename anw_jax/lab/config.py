"""The edge where config files and flags become settings; the only ml_collections here."""

import importlib.util
import pathlib
from typing import Any

import ml_collections

from anw_jax.errors import SettingsError
from anw_jax.lab.settings import Settings, settings_from_config


def load_config(file_and_variant: str) -> ml_collections.ConfigDict:
    """Loads `experiments/<name>.py` or `experiments/<name>.py:<variant>`.

    Raises:
      SettingsError: no such file, not a config file, or an unknown variant; one line.
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
        spec.loader.exec_module(module)
        config = module.get_config(variant) if variant else module.get_config()
    except SettingsError:
        raise
    except Exception as error:
        raise SettingsError(f"config file {file!r} fails: {error!r}") from error
    if not isinstance(config, ml_collections.ConfigDict):
        raise SettingsError(f"get_config of {file!r} must return a ConfigDict")
    return config


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
