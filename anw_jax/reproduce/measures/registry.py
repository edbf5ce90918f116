"""Measures by name: one number from the runs of one seed."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from anw_jax import _check
from anw_jax.reproduce.results import SeedRuns

Measure = Callable[..., float]

_MEASURES: dict[str, Measure] = {}


def measure(function: Measure) -> Measure:
    """Makes a function known to studies under its own name."""
    return named(function.__name__)(function)


def named(name: str) -> Callable[[Measure], Measure]:
    """Makes a function known to studies under another name."""

    def add(function: Measure) -> Measure:
        _MEASURES[name] = function
        return function

    return add


def measure_names() -> tuple[str, ...]:
    """The names that a claim may use, in alphabetical order."""
    return tuple(sorted(_MEASURES))


def check_call(name: str, arguments: Mapping[str, Any]) -> None:
    """Refuses an unknown measure, and arguments that it does not take.

    Raises:
      ValueError: names the measure or the argument.
    """
    _check.one_of(measure_names(), measure=name)
    try:
        inspect.signature(_MEASURES[name]).bind(None, **arguments)
    except TypeError as error:
        raise ValueError(f"measure {name!r}: {error}") from None


def full_arguments(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a measure, with the defaults of those left out.

    Example:
      >>> full_arguments("keyed_log10_p", {"arms": "a"})
      {'users': 'keyed', 'suspect': None, 'arms': 'a'}
    """
    bound = inspect.signature(_MEASURES[name]).bind(None, **arguments)
    bound.apply_defaults()
    _, *own = bound.arguments.items()
    return dict(own)


def compute(name: str, runs: SeedRuns, arguments: Mapping[str, Any]) -> float:
    """The value of a named measure on the runs of one seed.

    Args:
      name: one of `measure_names()`.
      runs: of one seed, by arm.
      arguments: of the measure, by name.

    Returns:
      The number on the measure's own scale (shares in [0, 1], angles in degrees, losses in
      nats); NaN where a number that it rests on is not finite.

    Raises:
      ValueError: an unknown measure or argument.
      NotYetRunError: an arm that it reads has no result file yet.
      ResultError: a result file lacks what it reads; names file and field.

    Example:
      >>> runs = SeedRuns.of({"main": {"model": {"test_accuracy": 0.75}}})
      >>> compute("test_accuracy", runs, {})
      0.75
    """
    check_call(name, arguments)
    return float(_MEASURES[name](runs, **arguments))
