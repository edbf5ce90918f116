"""Measures of measures: differences, trends and extremes over arms, users or suspects."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from anw_jax import _check
from anw_jax.reproduce.measures.registry import compute, measure
from anw_jax.reproduce.results import SeedRuns

# What may vary, and under which argument a measure takes one value of it.
OVER = {"arms": "arms", "users": "users", "suspects": "suspect", "crowds": "crowd"}
_NONE = "none"


def series(
    runs: SeedRuns,
    of: str,
    over: str,
    members: Sequence[str],
    arguments: Mapping[str, Any] | None = None,
) -> list[float]:
    """The values of the measure `of` along `members`, in that order.

    Args:
      runs: of one seed.
      of: the name of a measure.
      over: what varies: "arms", "users", "suspects" or "crowds".
      members: its values; among suspects "none" is the trained model itself.
      arguments: what stays the same.
    """
    _check.one_of(OVER, over=over)
    values = []
    for member in members:
        value = None if over == "suspects" and member == _NONE else member
        values.append(compute(of, runs, {**(arguments or {}), OVER[over]: value}))
    return values


@measure
def trend(
    runs: SeedRuns,
    of: str,
    over: str,
    members: Sequence[str],
    arguments: Mapping[str, Any] | None = None,
) -> float:
    """Spearman's ρ between the order of `members` and a measure; in [-1, 1].

    1: rises at every step; -1: falls at every step; 0: no trend, or all values equal. Ties
    share their mean rank.
    """
    values = np.array(series(runs, of, over, members, arguments))
    if np.isnan(values).any():
        return math.nan
    ranks = _mean_ranks(values) - (len(values) - 1) / 2
    order = np.arange(len(values)) - (len(values) - 1) / 2
    scale = math.sqrt(float((ranks**2).sum() * (order**2).sum()))
    return float((ranks * order).sum()) / scale if scale else 0.0


def _mean_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0, equal values sharing their mean rank."""
    below = (values[:, None] > values[None, :]).sum(axis=1)
    equal = (values[:, None] == values[None, :]).sum(axis=1)
    return below + (equal - 1) / 2


@measure
def smallest(
    runs: SeedRuns,
    of: str,
    over: str,
    members: Sequence[str],
    arguments: Mapping[str, Any] | None = None,
) -> float:
    """The smallest value of a measure over `members`; NaN if one is NaN."""
    return float(np.min(series(runs, of, over, members, arguments)))


@measure
def largest(
    runs: SeedRuns,
    of: str,
    over: str,
    members: Sequence[str],
    arguments: Mapping[str, Any] | None = None,
) -> float:
    """The largest value of a measure over `members`; NaN if one is NaN."""
    return float(np.max(series(runs, of, over, members, arguments)))


@measure
def difference(
    runs: SeedRuns,
    of: str,
    first: Mapping[str, Any],
    second: Mapping[str, Any],
    arguments: Mapping[str, Any] | None = None,
) -> float:
    """A measure under arguments `first` minus the same under `second`; positive: first larger.

    `arguments` are common to both; `first` and `second` go before them.
    """
    common = dict(arguments or {})
    return compute(of, runs, common | dict(first)) - compute(of, runs, common | dict(second))


@measure
def ratio(
    runs: SeedRuns,
    of: str,
    first: Mapping[str, Any],
    second: Mapping[str, Any],
    arguments: Mapping[str, Any] | None = None,
) -> float:
    """A measure under arguments `first` divided by the same under `second`; NaN over 0."""
    common = dict(arguments or {})
    below = compute(of, runs, common | dict(second))
    return compute(of, runs, common | dict(first)) / below if below else math.nan
