"""The result files of a study's runs, and how claims and figures read numbers from them."""

import collections.abc
import contextlib
import dataclasses
import json
import math
import pathlib
import statistics
from collections.abc import Callable, Mapping
from typing import Any

from anw_jax import _json
from anw_jax.errors import AnwError
from anw_jax.lab import Settings
from anw_jax.lab.workdir import plain

# The one arm of a study that declares none.
MAIN = "main"

# Of numbers in lists (curves, angles of user groups); single numbers keep all their digits.
_SIGNIFICANT_DIGITS = 6


class ResultError(AnwError, ValueError):
    """A result file is damaged or lacks a field; names both."""


class NotYetRunError(ResultError):
    """A result file does not exist yet."""


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """The results of one training, or of one changed model among them.

    Attributes:
      file: names the results in errors.
      values: as `anw_jax.lab.run` returns them.
      part: the path that `at` starts from; "" is the trained model.

    Example:
      >>> run = Run("seed0.json", {"users": {"a": {"margin": 0.5, "z": None}}})
      >>> run.number("users.a.margin"), run.number("users.a.z")
      (0.5, nan)
      >>> run.number("users.b.margin")
      Traceback (most recent call last):
      tools.reproduction.runs.ResultError: seed0.json has no users.b; there: a
    """

    file: str
    values: Mapping[str, Any]
    part: str = ""

    def suspect(self, name: str | None) -> "Run":
        """Return the results of a changed model; None is the trained model itself."""
        return self if name is None else dataclasses.replace(self, part=f"suspects.{name}.")

    def at(self, path: str) -> Any:
        """Return the value at a dotted path.

        Raises:
          ResultError: there is no value; names the first missing part.
        """
        return self._walk(self.part + path)

    def setting(self, path: str) -> Any:
        """Return a setting of the run, by its dotted path.

        Raises:
          ResultError: there is no such setting.
        """
        return self._walk(f"settings.{path}")

    def _walk(self, path: str) -> Any:
        value: Any = self.values
        parts = path.split(".")
        for depth, part in enumerate(parts):
            if not isinstance(value, Mapping) or part not in value:
                there = ", ".join(map(str, value)) if isinstance(value, Mapping) else "no parts"
                raise ResultError(
                    f"{self.file} has no {'.'.join(parts[: depth + 1])}; there: {there}"
                )
            value = value[part]
        return value

    def has(self, path: str) -> bool:
        """Return whether there is a value other than null at a dotted path."""
        try:
            return self.at(path) is not None
        except ResultError:
            return False

    def number(self, path: str) -> float:
        """Return the number at a dotted path, a truth value as 0 or 1.

        Null, which stands for NaN and infinities, is NaN.

        Raises:
          ResultError: there is no value, or it is not a number.
        """
        value = self.at(path)
        if value is None:
            return math.nan
        if not isinstance(value, (int, float)):
            raise ResultError(f"{self.file}: {path} must be a number, got {value!r:.60}")
        return float(value)

    def numbers(self, path: str) -> list[float]:
        """Return the list of numbers at a dotted path, null as NaN.

        Raises:
          ResultError: there is no value, or it is not a list of numbers.
        """
        values = self.at(path)
        if values is _ANYTHING:
            return [1.0, 1.0]
        if not isinstance(values, (list, tuple)) or not all(
            value is None or isinstance(value, (int, float)) for value in values
        ):
            raise ResultError(f"{self.file}: {path} must be a list of numbers")
        return [math.nan if value is None else float(value) for value in values]


@dataclasses.dataclass(frozen=True, eq=False)
class Seed:
    """The runs of one seed, by arm: `seed["jitter"]`.

    Attributes:
      files: the result file of each declared arm, whether it exists or not.
      found: the runs whose result files exist.
    """

    files: Mapping[str, str]
    found: Mapping[str, Run]

    def __getitem__(self, arm: str) -> Run:
        """Return the run of one arm.

        Raises:
          ResultError: the study has no such arm.
          NotYetRunError: the arm has no result file yet.
        """
        if arm not in self.files:
            raise ResultError(f"there is no arm {arm!r}; known: {', '.join(self.files)}")
        if arm not in self.found:
            raise NotYetRunError(f"{self.files[arm]} does not exist: not yet run")
        return self.found[arm]

    def all(self) -> list[Run]:
        """Return the runs of all declared arms, in their order."""
        return [self[arm] for arm in self.files]


@dataclasses.dataclass(frozen=True)
class Measured:
    """Measured values, seed by seed.

    Attributes:
      values: one for each seed that has been run: numbers, or curves for a figure.
      num_seeds: how many seeds the study declares.
    """

    values: tuple[Any, ...]
    num_seeds: int

    @property
    def mean(self) -> float:
        """The mean over seeds; NaN without any."""
        return statistics.fmean(self.values) if self.values else math.nan

    @property
    def std(self) -> float | None:
        """Sample standard deviation; None below two seeds, NaN where a value is not finite."""
        if len(self.values) < 2:
            return None
        return statistics.stdev(self.values) if math.isfinite(sum(self.values)) else math.nan


@dataclasses.dataclass(frozen=True, eq=False)
class Runs:
    """The runs of a study at one scale; claims and figures are functions of them.

    Attributes:
      variant: "paper" or "quick".
      arms: the names of its trainings, in the order in which they are declared.
      seeds: the runs, seed by seed.

    Example:
      >>> main = Run("seed0.json", {"model": {"test_accuracy": 0.75}})
      >>> runs = Runs("quick", ("main",), (Seed({"main": main.file}, {"main": main}),))
      >>> runs.each(Run.number, path="model.test_accuracy")
      Measured(values=(0.75,), num_seeds=1)
    """

    variant: str
    arms: tuple[str, ...]
    seeds: tuple[Seed, ...]

    def per_seed(self, measure: Callable[[Seed], Any]) -> Measured:
        """Measure each seed whose runs are there; the others do not count.

        Raises:
          ResultError: a result file lacks what is measured.
        """
        values = []
        for seed in self.seeds:
            with contextlib.suppress(NotYetRunError):
                values.append(measure(seed))
        return Measured(tuple(values), len(self.seeds))

    def each(
        self,
        measure: Callable[..., Any],
        *,
        arm: str = MAIN,
        suspect: str | None = None,
        **arguments: Any,
    ) -> Measured:
        """Measure the run of one arm, seed by seed.

        Args:
          measure: takes a `Run` and `arguments`.
          arm: which run of a seed.
          suspect: which changed model of that run; None for the trained model itself.
          **arguments: of `measure`.

        Raises:
          ResultError: a result file lacks what is measured, or there is no such arm.
        """
        return self.per_seed(lambda seed: measure(seed[arm].suspect(suspect), **arguments))


class _Anything(float):
    """Stands for a result that is not there yet: the number 1, and a mapping of any name."""

    def __contains__(self, name: str) -> bool:
        return True

    def __getitem__(self, name: str) -> "_Anything":
        return self


collections.abc.Mapping.register(_Anything)
_ANYTHING = _Anything(1.0)


def rehearsal(file: str, settings: Settings) -> Run:
    """Return a run that has the names of its settings, and 1 for every number.

    A claim on a user, a user group, a changed model or an analysis that the settings do not
    name fails on it as it would on the results, hours later.

    Args:
      file: names the run in errors.
      settings: of the run.
    """
    single = [name for name, user in settings.users.items() if user.count is None]
    groups = [name for name in settings.users if name not in single]
    model = {
        "model": _ANYTHING,
        "users": dict.fromkeys(single, _ANYTHING),
        "crowds": dict.fromkeys(groups, _ANYTHING),
    }
    analyses = dict.fromkeys(settings.analyses, _ANYTHING)
    if "gradient_search" in analyses:
        analyses["gradient_search"] = model["users"]
    suspects = dict.fromkeys(settings.suspects, model)
    plain_settings = plain(settings.to_dict())
    values = model | {"suspects": suspects, "analyses": analyses, "settings": plain_settings}
    return Run(file, values)


def read_run(file: pathlib.Path, shown: str) -> Run:
    """Read one result file; `shown` is its name in errors.

    Raises:
      ResultError: it is damaged.
    """
    try:
        values = _json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ResultError(f"{shown} is damaged: {error}") from None
    if not isinstance(values, dict):
        raise ResultError(f"{shown} is damaged: it holds no results by name")
    return Run(shown, values)


def result_text(results: Mapping[str, Any]) -> str:
    r"""Return results as they are kept in the repository: one compact line of JSON.

    Left out are the aligned curves of users with one signature, whose `one_signature.curve`
    holds the same numbers. Lists of numbers are rounded to six significant digits.

    Example:
      >>> result_text({"users": {"ann": {"one_signature": {"curve": [1 / 3]}, "curve": [9]}}})
      '{"users":{"ann":{"one_signature":{"curve":[0.333333]}}}}\n'
    """
    return json.dumps(_compact(plain(results)), separators=(",", ":"), allow_nan=False) + "\n"


def _compact(value: Any) -> Any:
    if isinstance(value, dict):
        names = value.keys() - {"curve"} if value.get("one_signature") else value.keys()
        return {name: _compact(value[name]) for name in value if name in names}
    if isinstance(value, list):
        return [_rounded(item) if isinstance(item, float) else _compact(item) for item in value]
    return value


def _rounded(number: float) -> float:
    return float(f"{number:.{_SIGNIFICANT_DIGITS}g}")
