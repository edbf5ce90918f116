"""Measures, claims and figures that several experiments share.

A measure takes a `Run`: the trained model, or a changed model of the same training. Angles are
differences on the hue circle, in degrees.
"""

import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.common import HUE_USERS
from tools.reproduction.claims import Claim, at_least, at_most
from tools.reproduction.figures import Curves, Lines, loss_curve
from tools.reproduction.runs import ResultError, Run, Runs, Seed


def matched(run: Run, user: str) -> float:
    """Return 1 where a user's inferred signature matches, else 0.

    A match is |k̂ − k*| < τ on the grid of slots (Eq. 1 and 6 of the paper); for users without
    a mark k* is 0.
    """
    return run.number(f"users.{user}.one_signature.match")


def match_rate(run: Run, users: Sequence[str]) -> float:
    """Return the share of users whose inferred signature matches, in [0, 1]."""
    return statistics.fmean(matched(run, user) for user in users)


def group_match_rate(run: Run, group: str) -> float:
    """Return the share of a user group whose signatures match, in [0, 1]."""
    return run.number(f"crowds.{group}.match_rate")


def inferred_degrees(run: Run, user: str) -> float:
    """Return the signature inferred on the fine grid."""
    return run.number(f"users.{user}.one_signature.inferred_degrees_fine")


def true_degrees(run: Run, user: str) -> float:
    """Return the signature that was written; 0 for users without a mark."""
    return run.number(f"users.{user}.one_signature.true_degrees")


def degrees_apart(first: float, second: float) -> float:
    """Return first minus second on the circle, in [-180, 180]; NaN if one is not finite.

    Example:
      >>> degrees_apart(350.0, 0.0), degrees_apart(70.0, 60.0)
      (-10.0, 10.0)
    """
    if not math.isfinite(first - second):
        return math.nan
    return math.remainder(first - second, 360.0)


def hue_error(run: Run, users: Sequence[str]) -> float:
    """Return the mean |k̂ − k*| on the fine grid, in [0, 180]; errors of either sign count."""
    return statistics.fmean(
        abs(degrees_apart(inferred_degrees(run, user), true_degrees(run, user)))
        for user in users
    )


def keyed_log10_p(run: Run, user: str = "keyed") -> float:
    """Return log10 of the exact p of the declared test, ≤ 0; more negative is stronger.

    Raises:
      ResultError: the signature was chosen by hand. It was not drawn, so its p means nothing.
    """
    if run.setting(f"users.{user}").get("signature") is not None:
        raise ResultError(f"{run.file}: {user} has a signature chosen by hand: no p")
    return run.number(f"users.{user}.log10_p")


def accuracy_drop(seed: Seed) -> float:
    """Return test accuracy without marks minus with; positive: marking costs some."""
    unmarked, marked = (
        seed[arm].number("model.test_accuracy") for arm in ("unmarked", "marked")
    )
    return unmarked - marked


def all_matched(
    runs: Runs,
    text: str,
    users: Sequence[str] = HUE_USERS,
    arms: Sequence[str] | None = None,
    suspect: str | None = None,
) -> Claim:
    """Claim that all signatures are inferred; 4 of 5 show the direction.

    Args:
      runs: the results.
      text: the claim.
      users: whose signatures.
      arms: in which trainings; None for all.
      suspect: in which changed model; None for the trained model itself.
    """

    def rate(seed: Seed) -> float:
        found = [seed[arm].suspect(suspect) for arm in arms or runs.arms]
        return statistics.fmean(matched(run, user) for run in found for user in users)

    return Claim(
        text,
        paper="all",
        measured=runs.per_seed(rate),
        confirm=at_least(1.0),
        direction=at_least(0.8),
        unit="%",
    )


def keyed_p(runs: Runs, arms: Sequence[str] | None = None, suspect: str | None = None) -> Claim:
    """Claim, beside the paper's, a small exact p of the photos with a hue each.

    Takes the largest p of several arms, since the smallest of several is not a valid p.
    """

    def largest(seed: Seed) -> float:
        found = [seed[arm].suspect(suspect) for arm in arms or runs.arms]
        return float(np.max([keyed_log10_p(run) for run in found]))

    return Claim(
        "a hue per photo: log10 of the exact p",
        paper="not in the paper",
        measured=runs.per_seed(largest),
        confirm=at_most(-6.0),
        direction=at_most(-2.0),
        every_seed=True,
    )


# By variant: user groups as numbers of users by number of photos, from few to many, and the
# photos of the keyed user.
Groups = Mapping[str, tuple[Mapping[int, int], int]]


def photo_numbers(runs: Runs, groups: Groups) -> list[Claim]:
    """Claim that many marked photos are matched and few are not (Fig. 2a-c).

    Args:
      runs: with user groups "n<photos>".
      groups: by variant.
    """
    few, *_, many = groups[runs.variant][0]

    def gain(run: Run) -> float:
        return group_match_rate(run, f"n{many}") - group_match_rate(run, f"n{few}")

    return [
        Claim(
            f"users with {many} marked photos are matched",
            paper="all",
            measured=runs.each(group_match_rate, group=f"n{many}"),
            confirm=at_least(0.9),
            direction=at_least(0.6),
            unit="%",
        ),
        Claim(
            f"users matched: with {many} photos minus with {few}",
            paper="few photos fail",
            measured=runs.each(gain),
            confirm=at_least(0.3),
            direction=at_least(0.1),
            unit="points",
        ),
        keyed_p(runs),
    ]


def photo_numbers_figure(runs: Runs, groups: Groups) -> Lines:
    """Draw the share of users matched against their number of marked photos (Fig. 2a-c)."""
    sizes = groups[runs.variant][0]
    points = {size: runs.each(group_match_rate, group=f"n{size}") for size in sizes}
    return Lines({"": points}, "marked photos of a user", "users matched", "%", log_x=True)


def five_signatures(runs: Runs) -> list[Claim]:
    """Claim that all five signatures are matched, and read to within 15 degrees (Fig. 2d-f)."""
    return [
        all_matched(runs, "all five signatures are matched"),
        Claim(
            "mean error of the inferred hue",
            paper="below 15°",
            measured=runs.each(hue_error, users=HUE_USERS),
            confirm=at_most(15.0),
            direction=at_most(30.0),
            unit="°",
        ),
        keyed_p(runs),
    ]


def still_matched(runs: Runs) -> list[Claim]:
    """Claim that all five signatures are matched in spite of an attack (Fig. 3a-d)."""
    return [all_matched(runs, "all five signatures are matched"), keyed_p(runs)]


def user_curves(
    runs: Runs, users: Sequence[str] = HUE_USERS, suspect: str | None = None
) -> Curves:
    """Draw the loss around the signature of each user."""
    return Curves({user: runs.each(loss_curve, user=user, suspect=suspect) for user in users})


def arm_curves(runs: Runs, user: str = "hue60", ordered: bool = False) -> Curves:
    """Draw the loss around one user's signature, in each arm."""
    curves = {
        arm.replace("_", " "): runs.each(loss_curve, user=user, arm=arm) for arm in runs.arms
    }
    return Curves(curves, ordered)
