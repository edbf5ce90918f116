"""What a run is asked to do: frozen values, checked once, before anything is computed."""

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from anw_jax import _check, data, keys, models, stats, train
from anw_jax.errors import SettingsError
from anw_jax.keys import SignatureSpace

KEY_ORIGINS = ("experiment", "secret")


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """Which photos there are.

    Attributes:
      source: "photos", "tfds:<name>", "folder:<path>", "npz:<path>" or "mock:<n>".
      num_train: photos the learner gets; None for all.
      image_size: side in pixels to bring photos to; None leaves them as they are.
    """

    source: str = "photos"
    num_train: int | None = None
    image_size: int | None = None


@dataclasses.dataclass(frozen=True)
class UserSettings:
    """One user.

    Attributes:
      num_images: photos this user owns.
      kind: "marked", "unmarked" (in training, but without a mark) or "held_out".
      scheme: "per_image", "per_group" or "per_user".
      num_groups: albums, with "per_group"; photos are dealt to them in turn.
    """

    num_images: int
    kind: str = "marked"
    scheme: str = "per_image"
    num_groups: int | None = None

    def __post_init__(self):
        _check.integer_at_least(1, num_images=self.num_images)
        _check.one_of(data.KINDS, kind=self.kind)
        _check.one_of(keys.SCHEMES, scheme=self.scheme)
        if (self.num_groups is None) == (self.scheme == "per_group"):
            raise ValueError(
                "num_groups must be given with scheme 'per_group' and only then, got "
                f"num_groups={self.num_groups} with scheme={self.scheme!r}"
            )

    def groups(self) -> list[int] | None:
        """The album of each photo, or None without albums."""
        if self.num_groups is None:
            return None
        return [index % self.num_groups for index in range(self.num_images)]


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """Which network; see `models.create`."""

    name: str = "small"
    stem: str = "cifar"
    widths: tuple[int, ...] | None = None
    dtype: str = "float32"

    def __post_init__(self):
        _check.one_of(models.NAMES, name=self.name)
        _check.one_of(models.STEMS, stem=self.stem)
        _check.one_of(models.DTYPES, dtype=self.dtype)
        models.create(self.name, 2, stem=self.stem, widths=self.widths, dtype=self.dtype)


@dataclasses.dataclass(frozen=True)
class VerifySettings:
    """What is asked and how it is tested.

    Attributes:
      statistic: the one statistic of the plan.
      alpha: the declared level.
      num_slots: N; slot 0 is "unmarked".
      grid_refinement: the arbitrator's grid has this many angles per slot, for the curve.
      num_fresh_keys: wrong keys under which each table is tested as a control.
      private_basis: whether each user's mark turns a private basis T_u in place of YIQ.
      key_origin: "experiment" (derived from the seed, never evidence) or "secret" (drawn from
        the operating system).
    """

    statistic: str = stats.DEFAULT_STATISTIC
    alpha: float = stats.DEFAULT_ALPHA
    num_slots: int = 12
    grid_refinement: int = 3
    num_fresh_keys: int = 1000
    private_basis: bool = False
    key_origin: str = "experiment"

    def __post_init__(self):
        _check.one_of(stats.STATISTICS, statistic=self.statistic)
        _check.in_open_interval(0.0, 1.0, alpha=self.alpha)
        _check.integer_at_least(2, num_slots=self.num_slots)
        _check.integer_at_least(1, grid_refinement=self.grid_refinement)
        _check.integer_at_least(1, num_fresh_keys=self.num_fresh_keys)
        _check.one_of(KEY_ORIGINS, key_origin=self.key_origin)
        _ = self.grid  # refuses more slots than there can be

    @property
    def space(self) -> SignatureSpace:
        """The space that keys draw from."""
        return SignatureSpace(self.num_slots)

    @property
    def grid(self) -> SignatureSpace:
        """The finer grid that is asked; every `grid_refinement`-th angle is a slot."""
        return SignatureSpace(self.num_slots * self.grid_refinement)


@dataclasses.dataclass(frozen=True)
class Settings:
    """A whole run.

    Attributes:
      name: of the experiment; names the default workdir.
      seed: of data, users, network and training. Experiment keys derive from it too.
      data: which photos.
      users: by name; controls are named "held_out…" or "control…".
      model: which network.
      train: how it is trained; its own seed is replaced by `seed`.
      verify: what is asked and tested.
      exclude: users left out of training altogether (the world without them); they are
        still verified.
    """

    name: str
    seed: int
    data: DataSettings
    users: Mapping[str, UserSettings]
    model: ModelSettings
    train: train.TrainSettings
    verify: VerifySettings
    exclude: tuple[str, ...] = ()

    def __post_init__(self):
        _check.integer_at_least(0, seed=self.seed)
        if not self.users:
            raise ValueError("users must name at least one user")
        for name in self.users:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
                raise ValueError(
                    f"users: the name {name!r} must consist of letters, digits, _ and -, since "
                    "it names files"
                )
        for name in self.exclude:
            _check.one_of(self.users, exclude=name)
        object.__setattr__(self, "train", dataclasses.replace(self.train, seed=self.seed))
        # Config files sort by name; people want the marked users first.
        by_kind = sorted(self.users, key=lambda name: data.KINDS.index(self.users[name].kind))
        object.__setattr__(self, "users", {name: self.users[name] for name in by_kind})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)


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
