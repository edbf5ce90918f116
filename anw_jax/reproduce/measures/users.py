"""Measures on what was read back for single users: matches, angles, losses, p-values.

Each takes `users` (a name or several), `suspect` (None for the trained model itself, else a
changed model asked beside it) and `arms` (None for all), and gives the mean over users and
arms. Angles are differences on the hue circle, in degrees.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence

from anw_jax.reproduce.measures.registry import measure
from anw_jax.reproduce.results import ResultError, Run, SeedRuns, names

Names = str | Sequence[str]


def mean_over(
    runs: SeedRuns,
    users: Names,
    suspect: str | None,
    arms: Names | None,
    read: Callable[[Run, str], float],
) -> float:
    """The mean of `read(run, path of a user)` over users and arms."""
    prefix = "users" if suspect is None else f"suspects.{suspect}.users"
    return statistics.fmean(
        read(run, f"{prefix}.{user}") for run in runs.chosen(arms) for user in names(users)
    )


def degrees_apart(first: float, second: float) -> float:
    """First minus second on the circle, in [-180, 180].

    Example:
      >>> degrees_apart(350.0, 0.0), degrees_apart(70.0, 60.0)
      (-10.0, 10.0)
    """
    if not math.isfinite(first - second):
        return math.nan
    return math.remainder(first - second, 360.0)


@measure
def match_rate(
    runs: SeedRuns, users: Names, suspect: str | None = None, arms: Names | None = None
) -> float:
    """Share of users whose inferred signature matches, in [0, 1]; higher is better.

    A match is |k̂ − k*| < τ on the grid of slots (Eq. 1 and 6 of the paper); for users without
    a mark k* is 0.
    """

    def read(run: Run, user: str) -> float:
        return float(bool(run.at(f"{user}.one_signature.match")))

    return mean_over(runs, users, suspect, arms, read)


def _fine_error(run: Run, user: str) -> float:
    inferred = run.number(f"{user}.one_signature.inferred_degrees_fine")
    return degrees_apart(inferred, run.number(f"{user}.one_signature.true_degrees"))


@measure
def hue_error(
    runs: SeedRuns, users: Names, suspect: str | None = None, arms: Names | None = None
) -> float:
    """Mean |k̂ − k*| on the fine grid, in degrees in [0, 180]; lower is better.

    The mean of absolute errors, not the absolute mean error: errors of either sign count.
    """
    return mean_over(runs, users, suspect, arms, lambda r, u: abs(_fine_error(r, u)))


@measure
def pixel_value_error(
    runs: SeedRuns,
    users: Names,
    suspect: str | None = None,
    arms: Names | None = None,
    full_scale: float = 0.6,
) -> float:
    """Mean error of the value added to blue pixels (§5.3), in [0, full_scale); lower is better.

    The mark "pixels" puts its value on the dial of hues, `full_scale` · degrees / 360 (see
    `marks.PixelMark`); values, unlike hues, do not go round.
    """

    def read(run: Run, user: str) -> float:
        inferred = run.number(f"{user}.one_signature.inferred_degrees_fine")
        true = run.number(f"{user}.one_signature.true_degrees")
        return full_scale * abs(inferred - true) / 360.0

    return mean_over(runs, users, suspect, arms, read)


@measure
def cosine(
    runs: SeedRuns,
    users: Names,
    suspect: str | None = None,
    arms: Names | None = None,
    signatures: Mapping[str, float] | None = None,
) -> float:
    """Mean cos(k̂ − k*) on the fine grid, in [-1, 1]; 1 is a perfect reading (Table 1).

    `signatures` gives k* in degrees by user, for runs whose model never saw their photos: there
    results call the users unmarked, k* = 0.
    """

    def read(run: Run, user: str) -> float:
        if signatures is None:
            return math.cos(math.radians(_fine_error(run, user)))
        inferred = run.number(f"{user}.one_signature.inferred_degrees_fine")
        true = signatures[user.rpartition(".")[2]]
        return math.cos(math.radians(degrees_apart(inferred, true)))

    return mean_over(runs, users, suspect, arms, read)


@measure
def margin(
    runs: SeedRuns, users: Names, suspect: str | None = None, arms: Names | None = None
) -> float:
    """Loss of the second-lowest slot minus that of the lowest, nats, ≥ 0; higher is clearer.

    Blind: it does not say that the lowest slot is the right one.
    """
    return mean_over(
        runs, users, suspect, arms, lambda r, u: r.number(f"{u}.one_signature.margin")
    )


def _curve(run: Run, user: str) -> list[float]:
    curve = run.numbers(f"{user}.one_signature.curve")
    if not curve:
        raise ResultError(f"{run.file}: {user}.one_signature.curve is empty")
    return curve


def _loss_at(curve: list[float], degrees: float) -> float:
    """The loss at the grid angle nearest to `degrees`."""
    return curve[round(degrees * len(curve) / 360.0) % len(curve)]


@measure
def lowest_loss(
    runs: SeedRuns, users: Names, suspect: str | None = None, arms: Names | None = None
) -> float:
    """Lowest mean loss on the fine grid, in nats; lower means better remembered (Fig. 2h)."""

    def read(run: Run, user: str) -> float:
        curve = _curve(run, user)
        return math.nan if any(map(math.isnan, curve)) else min(curve)

    return mean_over(runs, users, suspect, arms, read)


@measure
def sharpness(
    runs: SeedRuns,
    users: Names,
    suspect: str | None = None,
    arms: Names | None = None,
    degrees: float = 30.0,
    relative: bool = False,
) -> float:
    """How fast the loss rises from its minimum; higher is sharper (Fig. 2h).

    The mean of the losses `degrees` to either side of the lowest point, minus the lowest loss:
    nats, ≥ 0. With `relative`, as a share of the whole rise from lowest to highest loss, in
    [0, 1]; a flat curve has none and gives NaN.
    """

    def read(run: Run, user: str) -> float:
        curve = _curve(run, user)
        if any(map(math.isnan, curve)):
            return math.nan
        low = min(curve)
        at_low = curve.index(low) * 360.0 / len(curve)
        sides = [_loss_at(curve, at_low + side) for side in (-degrees, degrees)]
        rise = statistics.fmean(sides) - low
        if not relative:
            return rise
        return rise / (max(curve) - low) if max(curve) > low else math.nan

    return mean_over(runs, users, suspect, arms, read)


@measure
def keyed_log10_p(
    runs: SeedRuns,
    users: Names = "keyed",
    suspect: str | None = None,
    arms: Names | None = None,
) -> float:
    """Mean log10 of the exact p of the declared test, ≤ 0; more negative is stronger.

    A mean over users and arms is a summary, no p-value. A signature chosen by hand was not
    drawn, so that its p means nothing, and is refused.
    """

    def read(run: Run, user: str) -> float:
        name = user.rpartition(".")[2]
        if run.has(f"settings.users.{name}.signature"):
            raise ResultError(f"{run.file}: {name} has a signature chosen by hand: no p")
        return run.number(f"{user}.log10_p")

    return mean_over(runs, users, suspect, arms, read)


@measure
def user_accuracy(
    runs: SeedRuns,
    users: Names,
    photos: str = "published",
    suspect: str | None = None,
    arms: Names | None = None,
) -> float:
    """Share of a user's photos ("published" or "original") classified rightly, in [0, 1]."""
    return mean_over(
        runs, users, suspect, arms, lambda r, u: r.number(f"{u}.accuracy.{photos}")
    )
