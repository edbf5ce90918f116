"""Loss curves around a secret signature, averaged over seeds (Fig. 2 and 3 of the paper)."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from anw_jax.report.curves import Curve
from anw_jax.reproduce.results import NotYetRunError, ResultError, Run, SeedRuns, names


@dataclasses.dataclass(frozen=True, eq=False)
class Spread:
    """A number, or a curve, over seeds.

    Attributes:
      num_seeds: that were run.
      mean: over seeds.
      std: sample standard deviation over seeds; 0 for one seed.
      values: of each seed; empty for a curve.
      curve: mean curve, its `error` the standard deviation over seeds; None for a number.
    """

    num_seeds: int
    mean: float
    std: float
    values: tuple[float, ...] = ()
    curve: Curve | None = None


def curve_of(runs: SeedRuns, arguments: Mapping[str, Any]) -> Curve | None:
    """A user's mean loss against k − k*; None where the run is not there yet.

    With one signature for all photos: the mean loss at each angle of the fine grid, turned so
    that the signature stands at 0. With a hue per photo: each photo turned by its own.

    Args:
      runs: of one seed.
      arguments: `users` (the mean over several), `arms` (one; the first if left out) and
        `suspect`.
    """
    arms = names(arguments.get("arms") or next(iter(runs.files)))
    suspect = arguments.get("suspect")
    prefix = "users" if suspect is None else f"suspects.{suspect}.users"
    if "users" not in arguments:
        raise ResultError("curves: arguments must name users")
    try:
        curves = [
            _aligned(run, f"{prefix}.{user}")
            for run in runs.chosen(arms)
            for user in names(arguments["users"])
        ]
    except NotYetRunError:
        return None
    return mean_curve(curves).curve


def _aligned(run: Run, user: str) -> Curve:
    tau = 180.0 / run.number("settings.verify.num_slots")
    if run.has(f"{user}.one_signature"):
        mean = np.array(run.numbers(f"{user}.one_signature.curve"))
        true = run.number(f"{user}.one_signature.true_degrees")
        degrees = np.arange(len(mean)) * (360.0 / len(mean))
        offsets = (degrees - true + 180.0) % 360.0 - 180.0
        order = np.argsort(offsets, kind="stable")
        return Curve(offsets[order], mean[order], np.zeros(len(mean)), True, tau)
    mean = np.array(run.numbers(f"{user}.curve.mean"))
    offsets = np.array(run.numbers(f"{user}.curve.offset_degrees"))
    return Curve(offsets, mean, np.zeros(len(mean)), True, tau)


def mean_curve(curves: Sequence[Curve]) -> Spread:
    """The mean of curves on one grid, and their sample standard deviation."""
    first = curves[0]
    for other in curves[1:]:
        if not np.array_equal(other.degrees, first.degrees):
            raise ResultError("curves over seeds or users must be on one grid of angles")
    means = np.stack([curve.mean for curve in curves])
    std = means.std(axis=0, ddof=1) if len(means) > 1 else np.zeros(means.shape[1])
    mean = Curve(first.degrees, means.mean(axis=0), std, True, first.tau_degrees)
    return Spread(len(curves), float("nan"), float("nan"), curve=mean)
