"""Result files: where they lie, and how a number is taken out of one."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from anw_jax.errors import AnwError


class ResultError(AnwError, ValueError):
    """A result file is damaged, or lacks what is asked of it; names file and field."""


class NotYetRunError(ResultError):
    """A result file that is asked for is not there yet."""


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """The results of one training.

    Attributes:
      file: where they come from; named in errors.
      values: as `anw_jax.lab.run` gives them.

    Example:
      >>> run = Run("seed0.json", {"users": {"a": {"margin": 0.5, "z": None}}})
      >>> run.number("users.a.margin"), run.number("users.a.z")
      (0.5, nan)
      >>> run.number("users.b.margin")
      Traceback (most recent call last):
      anw_jax.reproduce.results.ResultError: seed0.json has no users.b; there: a
    """

    file: str
    values: Mapping[str, Any]

    def at(self, path: str) -> Any:
        """What stands at a dotted path.

        Raises:
          ResultError: nothing stands there; names the first part that is missing.
        """
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
        """Whether something other than null stands at a dotted path."""
        try:
            return self.at(path) is not None
        except ResultError:
            return False

    def number(self, path: str) -> float:
        """The number at a dotted path; null, which stands for NaN and infinities, is NaN.

        Raises:
          ResultError: nothing stands there, or what stands there is no number.
        """
        value = self.at(path)
        if value is None:
            return math.nan
        if not isinstance(value, (int, float)):
            raise ResultError(f"{self.file}: {path} must be a number, got {value!r:.60}")
        return float(value)

    def numbers(self, path: str) -> list[float]:
        """The list of numbers at a dotted path, null as NaN.

        Raises:
          ResultError: nothing stands there, or what stands there is no list of numbers.
        """
        values = self.at(path)
        is_number = [v is None or isinstance(v, (int, float)) for v in _listed(values)]
        if not isinstance(values, (list, tuple)) or not all(is_number):
            raise ResultError(f"{self.file}: {path} must be a list of numbers")
        return [math.nan if value is None else float(value) for value in values]


def _listed(values: Any) -> Sequence[Any]:
    return values if isinstance(values, (list, tuple)) else []


@dataclasses.dataclass(frozen=True, eq=False)
class SeedRuns:
    """The runs of one seed of a study, by arm; what a measure is a function of.

    Attributes:
      files: the result file of each arm, in the declared order, whether it is there or not.
      runs: those that are there.
    """

    files: Mapping[str, str]
    runs: Mapping[str, Run]

    @classmethod
    def of(cls, runs: Mapping[str, Mapping[str, Any]]) -> "SeedRuns":
        """Results that are at hand, by arm; for examples and notebooks."""
        files = {arm: f"{arm}.json" for arm in runs}
        return cls(files, {arm: Run(files[arm], values) for arm, values in runs.items()})

    def run(self, arm: str) -> Run:
        """The run of one arm.

        Raises:
          ResultError: the study has no such arm.
          NotYetRunError: the arm has no result file yet.
        """
        if arm not in self.files:
            raise ResultError(f"there is no arm {arm!r}; known: {', '.join(self.files)}")
        if arm not in self.runs:
            raise NotYetRunError(f"{self.files[arm]} is not there: not yet run")
        return self.runs[arm]

    def chosen(self, arms: str | Sequence[str] | None = None) -> list[Run]:
        """The runs of the named arms; None for all that the study declares."""
        return [self.run(arm) for arm in (self.files if arms is None else names(arms))]


def names(one_or_several: str | Sequence[str]) -> tuple[str, ...]:
    """Names as a tuple, a single one included.

    Example:
      >>> names("keyed"), names(["a", "b"])
      (('keyed',), ('a', 'b'))
    """
    if isinstance(one_or_several, str):
        return (one_or_several,)
    return tuple(one_or_several)


def read_run(file: pathlib.Path, shown: str) -> Run:
    """Reads one result file; `shown` is its name in errors.

    Raises:
      ResultError: it is damaged.
    """
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ResultError(f"{shown} is damaged: {error}") from None
    if not isinstance(values, dict):
        raise ResultError(f"{shown} is damaged: it holds no results by name")
    return Run(shown, values)
