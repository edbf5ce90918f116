"""Two figures of a user: the loss curve over hues, and the null distribution of the match."""

import dataclasses
import math
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from anw_jax.report import style, words
from anw_jax.report.reading import UserRecord
from anw_jax.report.style import Theme

# Standard deviations to either side that the null distribution always shows.
_WIDEST = 4.5
# With fewer possible values than this, a distribution is drawn as lines, not as an area.
_FEW_VALUES = 30


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
    """Mean loss against a hue angle that runs once round the circle (Fig. 2 of the paper).

    Attributes:
      degrees: float `[k]`, ascending in [-180, 180).
      mean: float `[k]` nats; NaN where there is no answer.
      error: float `[k]` nats, standard error over photos; NaN where it is not known.
      is_aligned: whether 0 is the secret hue (otherwise 0 is "unmarked").
      tau_degrees: half the width of the match band.
    """

    degrees: np.ndarray
    mean: np.ndarray
    error: np.ndarray
    is_aligned: bool
    tau_degrees: float

    @property
    def lowest(self) -> int | None:
        """The index of the lowest mean, or None where there is none."""
        return None if np.isnan(self.mean).all() else int(np.nanargmin(self.mean))


def floats(values: Any) -> np.ndarray:
    """Return JSON numbers as float64; null becomes NaN.

    Example:
      >>> floats([1, None, 0.5]).tolist()
      [1.0, nan, 0.5]
    """
    return np.array([math.nan if value is None else value for value in values], np.float64)


def aligned_curve(user: UserRecord) -> Curve:
    """Return the curve around each photo's secret hue (of a control: its key's unused hues)."""
    kept, tau = user.numbers["curve"], float(user.space.tau_degrees)
    degrees, mean = floats(kept["offset_degrees"]), floats(kept["mean"])
    return Curve(degrees, mean, floats(kept["standard_error"]), True, tau)


def curve_of(user: UserRecord) -> Curve:
    """Return the curve of a claim around its secret hue, of a control around 0 = unmarked."""
    shared = user.numbers.get("one_signature")
    if user.is_claim or not shared:
        return aligned_curve(user)
    mean = floats(shared["curve"])
    degrees = (np.arange(len(mean)) * (360.0 / len(mean)) + 180.0) % 360.0 - 180.0
    error = np.full(len(mean), np.nan)
    if user.table is not None and user.table.shape[1] == len(mean):
        usable = user.table[np.isfinite(user.table).all(axis=1)].astype(np.float64)
        if len(usable):
            error = usable.std(axis=0) / math.sqrt(len(usable))
    order = np.argsort(degrees, kind="stable")
    tau = float(user.space.tau_degrees)
    return Curve(degrees[order], mean[order], error[order], False, tau)


def draw_curve(axes: Axes, curve: Curve, theme: Theme, colour: str, label: str = "") -> None:
    """Draw line and standard error, and a square at the minimum."""
    # The circle closes: -180 and 180 are the same hue.
    degrees = np.append(curve.degrees, curve.degrees[0] + 360.0)
    mean, error = np.append(curve.mean, curve.mean[0]), np.append(curve.error, curve.error[0])
    axes.fill_between(degrees, mean - error, mean + error, color=colour, alpha=0.2, lw=0)
    axes.plot(degrees, mean, color=colour, label=label or None)
    if curve.lowest is not None:
        axes.plot(
            curve.degrees[curve.lowest],
            curve.mean[curve.lowest],
            marker="s",
            markersize=7,
            color=colour,
            markeredgecolor=theme.background,
            markeredgewidth=1.2,
            zorder=5,
            clip_on=False,
        )


def draw_axes(axes: Axes, theme: Theme, tau_degrees: float, top: float) -> None:
    """Draw the match band and the axes of hue angles and losses, up to `top` nats."""
    axes.axvspan(-tau_degrees, tau_degrees, color=theme.match, alpha=0.22, lw=0)
    axes.text(
        0.0,
        1.015,
        f"±{tau_degrees:g}°",
        color=theme.match,
        ha="center",
        va="bottom",
        fontsize=8.0,
        transform=axes.get_xaxis_transform(),
    )
    axes.set_xlim(-180, 180)
    axes.set_ylim(0, top)
    axes.set_xticks([-180, -90, 0, 90, 180], ["−180°", "−90°", "0°", "90°", "180°"])
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=theme.faint, linewidth=0.5, alpha=0.6)
    axes.set_ylabel("mean loss (nats)")


def upper_limit(curves: list[Curve]) -> float:
    """Return a common upper limit of the loss axis, at least a tenth of a nat."""
    tops = [np.nanmax(c.mean + np.nan_to_num(c.error)) for c in curves if c.lowest is not None]
    return max([0.1, *(1.06 * float(top) for top in tops)])


def curve_figure(curve: Curve, top: float, theme: Theme) -> Figure:
    """Draw the loss curve of one user."""
    figure, axes = style.panel(3.1, 2.3, (0.5, 0.48, 0.2, 0.22))
    draw_axes(axes, theme, curve.tau_degrees, top)
    draw_curve(axes, curve, theme, theme.signal if curve.is_aligned else theme.muted)
    zero = "the secret hue" if curve.is_aligned else "unmarked"
    axes.set_xlabel(f"hue angle (0° = {zero})")
    return figure


def describe_curve(curve: Curve) -> str:
    """Describe the curve in words, for readers who do not see it."""
    if curve.lowest is None:
        return "Loss curve: the model gave no usable answers."
    zero = "the secret hue" if curve.is_aligned else "the unmarked hue"
    low, high = float(curve.mean[curve.lowest]), float(np.nanmax(curve.mean))
    lowest = float(curve.degrees[curve.lowest])
    return (
        f"Loss curve round the hue circle, 0 degrees being {zero}: lowest mean loss "
        f"{low:.2f} nats at {lowest:+.0f} degrees, "
        f"{'inside' if abs(lowest) < curve.tau_degrees else 'outside'} the match band of "
        f"±{curve.tau_degrees:g} degrees; highest {high:.2f} nats."
    )


class HasNull(Protocol):
    """A test whose null distribution can be drawn, such as a `UserRecord`.

    Attributes:
      numbers: of the test, with `z` and `p_text`.
      null: arrays `z` and `probability`, or None.
    """

    numbers: dict[str, Any]
    null: dict[str, np.ndarray] | None


def observed_z(user: HasNull) -> float:
    """Return the observed statistic in null standard deviations; 0 where it is not known."""
    z = user.numbers.get("z")
    return 0.0 if z is None else float(z)


def has_null(user: HasNull) -> bool:
    """Return whether there is a null distribution to draw."""
    return user.null is not None and len(user.null["z"]) > 1


def null_figure(user: HasNull, theme: Theme) -> Figure:
    """Draw the null distribution on a linear scale above, on a logarithmic one below."""
    figure = Figure(figsize=(3.1, 3.5))
    upper = figure.add_axes((0.2, 0.565, 0.765, 0.375))
    lower = figure.add_axes((0.2, 0.135, 0.765, 0.375), sharex=upper)
    observed = observed_z(user)
    low, high = min(-_WIDEST, 1.12 * observed), max(_WIDEST, 1.12 * observed)
    shown = (user.null["z"] > low) & (user.null["z"] < high)
    z, probability = user.null["z"][shown], user.null["probability"][shown]
    upper.set_xlim(low, high)
    _draw_linear(upper, z, probability, theme)
    _draw_logarithmic(lower, z, probability, observed, theme)
    for axes in (upper, lower):
        axes.axvline(observed, color=theme.alert)
    upper.text(
        observed,
        1.02,
        f"this model: {observed:+.1f}".replace("-", "−"),
        transform=upper.get_xaxis_transform(),
        color=theme.alert,
        ha="right" if observed > (low + high) / 2 else "left",
        va="bottom",
        fontweight="bold",
    )
    return figure


def _draw_linear(axes: Axes, z: np.ndarray, probability: np.ndarray, theme: Theme) -> None:
    _draw_bins(axes, z, probability, 0.0, theme)
    axes.set_ylim(0, 1.25 * probability.max(initial=1e-300))
    axes.set_yticks([])
    axes.set_ylabel("how often")
    axes.tick_params(labelbottom=False)
    axes.spines["left"].set_visible(False)


def _draw_logarithmic(
    axes: Axes, z: np.ndarray, probability: np.ndarray, observed: float, theme: Theme
) -> None:
    possible = probability > 0
    z, probability = z[possible], probability[possible]
    # Deep enough to show the curve down to the observation.
    before = probability[z <= max(observed, _WIDEST)]
    floor = float(max(1e-300, before[-1] / 10.0)) if len(before) else 1e-6
    axes.set_yscale("log")
    axes.set_ylim(floor, 5.0 * probability.max(initial=floor))
    axes.yaxis.set_major_locator(LogLocator(numticks=5))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(_power_of_ten))
    _draw_bins(axes, z, probability, floor, theme)
    axes.set_ylabel("log scale")
    axes.set_xlabel("match (standard deviations)")


def _power_of_ten(value: float, _: int) -> str:
    return f"10{words.power(round(math.log10(value)))}"


def _draw_bins(
    axes: Axes, z: np.ndarray, probability: np.ndarray, floor: float, theme: Theme
) -> None:
    if np.count_nonzero(probability) < _FEW_VALUES:
        axes.vlines(z, floor, np.maximum(probability, floor), color=theme.signal, lw=2.0)
        return
    axes.fill_between(z, floor, probability, color=theme.signal, alpha=0.35, lw=0)
    axes.plot(z, probability, color=theme.signal, lw=1.2)


def describe_null(user: HasNull) -> str:
    """Describe the null distribution in words."""
    return (
        "Distribution of the match under keys that the model cannot have seen, a bell round "
        f"0; this model stands at {observed_z(user):+.1f} standard deviations, "
        f"p = {user.numbers['p_text']}."
    )


def null_columns(user: HasNull) -> dict[str, np.ndarray]:
    """Return the numbers of the figure; `is_observed` marks the bin of the observation."""
    z, probability = user.null["z"], user.null["probability"]
    nearest = np.argmin(np.abs(z - observed_z(user)))
    return {
        "z": z,
        "probability": probability,
        "is_observed": (np.arange(len(z)) == nearest).astype(int),
    }
