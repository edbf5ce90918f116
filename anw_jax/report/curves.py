"""The loss curve: how well the model knows the photos, hue by hue (Fig. 2 of the paper)."""

import dataclasses
import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anw_jax.report import style
from anw_jax.report.reading import UserRecord
from anw_jax.report.style import Theme


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
    """Mean loss against a hue angle that runs once round the circle.

    Attributes:
      degrees: float `[k]`, ascending in [-180, 180).
      mean: float `[k]` nats; NaN where there is no answer.
      error: float `[k]` nats, standard error over photos; NaN where it is not known.
      is_aligned: whether 0 is the secret hue (else 0 is "unmarked").
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

    @property
    def lowest_degrees(self) -> float:
        """The angle of the lowest mean; NaN where there is none."""
        return math.nan if self.lowest is None else float(self.degrees[self.lowest])


def floats(values: Any) -> np.ndarray:
    """JSON numbers as float64; null becomes NaN.

    Example:
      >>> floats([1, None, 0.5]).tolist()
      [1.0, nan, 0.5]
    """
    return np.array([math.nan if value is None else value for value in values], np.float64)


def aligned_curve(user: UserRecord) -> Curve:
    """The curve around each photo's secret hue; a control's key drew hues it did not use."""
    kept, tau = user.numbers["curve"], float(user.space.tau_degrees)
    degrees, mean = floats(kept["offset_degrees"]), floats(kept["mean"])
    return Curve(degrees, mean, floats(kept["standard_error"]), True, tau)


def curve_of(user: UserRecord) -> Curve:
    """The curve of a claim around its secret hue, of a control around 0 = unmarked."""
    shared = user.numbers.get("one_signature")
    if user.is_claim or not shared:
        return aligned_curve(user)
    tau = float(user.space.tau_degrees)
    mean = floats(shared["curve"])
    degrees = (np.arange(len(mean)) * (360.0 / len(mean)) + 180.0) % 360.0 - 180.0
    error = np.full(len(mean), np.nan)
    if user.table is not None and user.table.shape[1] == len(mean):
        usable = user.table[np.isfinite(user.table).all(axis=1)].astype(np.float64)
        if len(usable):
            error = usable.std(axis=0) / math.sqrt(len(usable))
    order = np.argsort(degrees, kind="stable")
    return Curve(degrees[order], mean[order], error[order], False, tau)


def draw_curve(axes: Axes, curve: Curve, theme: Theme, colour: str, label: str = "") -> None:
    """Draws band, standard error, line and the square at the minimum."""
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


def dress(axes: Axes, theme: Theme, tau_degrees: float, top: float) -> None:
    """The match band, the axes of hue angles, and limits that users share."""
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


def top_of(curves: list[Curve]) -> float:
    """A common upper limit for the loss axis, at least a tenth of a nat."""
    tops = [np.nanmax(c.mean + np.nan_to_num(c.error)) for c in curves if c.lowest is not None]
    return max([0.1, *(1.06 * float(top) for top in tops)])


def curve_figure(curve: Curve, top: float, theme: Theme) -> Figure:
    """One user's panel of the small multiples."""
    figure, axes = style.panel(3.1, 2.3, (0.5, 0.48, 0.2, 0.22))
    dress(axes, theme, curve.tau_degrees, top)
    draw_curve(axes, curve, theme, theme.signal if curve.is_aligned else theme.muted)
    zero = "the secret hue" if curve.is_aligned else "unmarked"
    axes.set_xlabel(f"hue angle (0° = {zero})")
    return figure


def describe_curve(curve: Curve) -> str:
    """The curve in words, for readers who do not see it."""
    if curve.lowest is None:
        return "Loss curve: the model gave no usable answers."
    zero = "the secret hue" if curve.is_aligned else "the unmarked hue"
    low, high = float(curve.mean[curve.lowest]), float(np.nanmax(curve.mean))
    inside = abs(curve.lowest_degrees) < curve.tau_degrees
    return (
        f"Loss curve round the hue circle, 0 degrees being {zero}: lowest mean loss "
        f"{low:.2f} nats at {curve.lowest_degrees:+.0f} degrees, "
        f"{'inside' if inside else 'outside'} the match band of ±{curve.tau_degrees:g} "
        f"degrees; highest {high:.2f} nats."
    )
