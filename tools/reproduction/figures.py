"""The figures of studies: loss curves, bars and lines over what was measured on runs.

Their style is that of `anw_jax.report.style`. Series without results are left out.
"""

import dataclasses
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from matplotlib import figure as matplotlib_figure
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from anw_jax.report import curves, style
from anw_jax.report.curves import Curve
from anw_jax.report.style import Theme
from tools.reproduction.runs import Measured, ResultError, Run

Key = TypeVar("Key")

# Okabe and Ito's colours without yellow, green left to the match band.
_COLOURS = ("#0072b2", "#d55e00", "#cc79a7", "#e69f00", "#56b4e9", "#5d666f", "#1c2024")
_LIGHT_END = "#9ecbe8"
_DARK_END = "#08306b"
_WIDTH = 6.4
_LEGEND_WIDTH = 1.9


@dataclasses.dataclass(eq=False)
class Curves:
    """Mean loss against the distance from the secret signature.

    Attributes:
      shown: the `loss_curve` of each seed, by label.
      ordered: whether the labels go from little to much, and colours with them.
    """

    shown: Mapping[str, Measured]
    ordered: bool = False

    def __post_init__(self):
        self.shown = _known(self.shown)

    def columns(self) -> dict[str, list]:
        """Return the numbers as columns, for a CSV file."""
        names = ("label", "offset_degrees", "mean", "std", "num_seeds")
        rows = [
            (label, *point, len(measured.values))
            for label, measured in self.shown.items()
            for curve in [mean_curve(measured.values)]
            for point in zip(curve.degrees, curve.mean, curve.error, strict=True)
        ]
        columns = map(list, zip(*rows, strict=True))
        return dict(zip(names, columns, strict=True))

    def draw(self, theme: Theme) -> matplotlib_figure.Figure:
        """Draw one curve for each label, with its deviation over seeds as a band."""
        figure, axes = style.panel(_WIDTH, 2.9, (0.55, 0.62, _LEGEND_WIDTH, 0.25))
        means = {label: mean_curve(each.values) for label, each in self.shown.items()}
        all_curves = list(means.values())
        curves.draw_axes(axes, theme, all_curves[0].tau_degrees, curves.upper_limit(all_curves))
        for (label, curve), colour in zip(
            means.items(), _colours(len(means), self.ordered), strict=True
        ):
            curves.draw_curve(axes, curve, theme, colour, label)
        axes.set_xlabel("distance from the secret signature, k − k*")
        _draw_legend(axes)
        _draw_note(axes, self.shown.values(), theme, 32.0)
        return figure


@dataclasses.dataclass(eq=False)
class Bars:
    """One bar for each label.

    Attributes:
      shown: what was measured, by label.
      axis: label of the axis.
      unit: with "%" shares are shown times 100.
    """

    shown: Mapping[str, Measured]
    axis: str
    unit: str = ""

    def __post_init__(self):
        self.shown = _known(self.shown)

    def columns(self) -> dict[str, list]:
        """Return the numbers as columns, for a CSV file."""
        return {"label": list(self.shown)} | _summary(self.shown.values())

    def draw(self, theme: Theme) -> matplotlib_figure.Figure:
        """Draw bars with whiskers, and a point for each seed."""
        left = 0.35 + 0.068 * max(map(len, self.shown))
        height = 0.95 + len(self.shown) * 0.32
        figure, axes = style.panel(_WIDTH, height, (left, 0.65, 0.3, 0.1))
        scale, colour = _scale(self.unit), _COLOURS[0]
        means = [measured.mean * scale for measured in self.shown.values()]
        axes.barh(range(len(means)), means, 0.86 * 0.8, color=colour, alpha=0.55, lw=0)
        for place, measured in enumerate(self.shown.values()):
            spread = (measured.std or 0.0) * scale
            look = {"color": theme.ink, "linewidth": 1.0, "capsize": 2.0}
            axes.errorbar(measured.mean * scale, place, xerr=spread, **look)
            values = np.array(measured.values) * scale
            axes.plot(values, [place] * len(values), "o", color=colour, markersize=3.2)
        axes.set_yticks(range(len(self.shown)), list(self.shown))
        axes.tick_params(axis="y", length=0, labelcolor=theme.ink)
        axes.set_ylim(len(self.shown) - 0.45, -0.55)
        axes.set_xlabel(_axis_label(self.axis, self.unit))
        axes.set_xlim(*_limits(self.shown.values(), self.unit))
        _draw_grid(axes, "x", theme)
        _draw_note(axes, self.shown.values(), theme, 34.0)
        return figure


@dataclasses.dataclass(eq=False)
class Lines:
    """Measurements against a number, in one or several lines.

    Attributes:
      shown: what was measured, by x, by the name of the line; "" for a single line.
      x_axis: names the x axis.
      axis: names the axis of what was measured.
      unit: with "%" shares are shown times 100.
      log_x: whether the x axis is logarithmic.
    """

    shown: Mapping[str, Mapping[float, Measured]]
    x_axis: str
    axis: str
    unit: str = ""
    log_x: bool = False

    def __post_init__(self):
        lines = {name: _known(points) for name, points in self.shown.items()}
        self.shown = {name: points for name, points in lines.items() if points}

    def columns(self) -> dict[str, list]:
        """Return the numbers as columns, for a CSV file."""
        places = [(name, x) for name, points in self.shown.items() for x in points]
        return {
            "series": [name for name, _ in places],
            "x": [x for _, x in places],
            **_summary(self._points()),
        }

    def draw(self, theme: Theme) -> matplotlib_figure.Figure:
        """Draw lines with their deviation over seeds as a band."""
        legend = len(self.shown) > 1
        margins = (0.65, 0.62, _LEGEND_WIDTH if legend else 0.3, 0.15)
        figure, axes = style.panel(_WIDTH, 2.9, margins)
        for (name, points), colour in zip(
            self.shown.items(), _colours(len(self.shown), False), strict=True
        ):
            x = np.array(list(points))
            mean = np.array([each.mean for each in points.values()]) * _scale(self.unit)
            std = np.array([each.std or 0.0 for each in points.values()]) * _scale(self.unit)
            axes.fill_between(x, mean - std, mean + std, color=colour, alpha=0.18, lw=0)
            axes.plot(x, mean, "o-", color=colour, markersize=4.0, label=name or None)
        if self.log_x:
            axes.set_xscale("log")
        places = sorted({x for points in self.shown.values() for x in points})
        axes.set_xticks(places, [f"{x:g}" for x in places])
        axes.minorticks_off()
        axes.set_ylabel(_axis_label(self.axis, self.unit))
        axes.set_ylim(*_limits(self._points(), self.unit))
        axes.set_xlabel(self.x_axis)
        _draw_grid(axes, "y", theme)
        if legend:
            _draw_legend(axes)
        _draw_note(axes, self._points(), theme, 32.0)
        return figure

    def _points(self) -> list[Measured]:
        return [each for points in self.shown.values() for each in points.values()]


Figure = Curves | Bars | Lines


def write_figure(figure: Figure, folder: pathlib.Path, name: str) -> pathlib.Path | None:
    """Write PNG, SVG and CSV of a figure; return the PNG file, or None without results."""
    if not figure.shown:
        return None
    style.write_figure(folder, name, figure.draw, figure.columns())
    return folder / f"{name}.png"


def loss_curve(run: Run, user: str) -> Curve:
    """Return a user's mean loss against k − k* (Fig. 2 and 3 of the paper).

    With one signature for all photos: the mean loss at each angle of the fine grid, turned so
    that the signature is at 0. With a hue per photo: each photo turned by its own.

    Raises:
      ResultError: the results lack the user or its curve.
    """
    tau = 180.0 / run.setting("verify.num_slots")
    if run.has(f"users.{user}.one_signature"):
        mean = np.array(run.numbers(f"users.{user}.one_signature.curve"))
        true = run.number(f"users.{user}.one_signature.true_degrees")
        degrees = np.arange(len(mean)) * (360.0 / len(mean))
        offsets = (degrees - true + 180.0) % 360.0 - 180.0
        order = np.argsort(offsets, kind="stable")
        return Curve(offsets[order], mean[order], np.zeros(len(mean)), True, tau)
    mean = np.array(run.numbers(f"users.{user}.curve.mean"))
    offsets = np.array(run.numbers(f"users.{user}.curve.offset_degrees"))
    return Curve(offsets, mean, np.zeros(len(mean)), True, tau)


def mean_curve(of_seeds: Sequence[Curve]) -> Curve:
    """Return the mean of curves on one grid; `error` is their sample standard deviation.

    Raises:
      ResultError: the grids differ.
    """
    first = of_seeds[0]
    if not all(np.array_equal(curve.degrees, first.degrees) for curve in of_seeds):
        raise ResultError("curves over seeds must be on one grid of angles")
    means = np.stack([curve.mean for curve in of_seeds])
    std = means.std(axis=0, ddof=1) if len(means) > 1 else np.zeros(means.shape[1])
    return Curve(first.degrees, means.mean(axis=0), std, True, first.tau_degrees)


def _known(shown: Mapping[Key, Measured]) -> dict[Key, Measured]:
    """Drop entries without results."""
    return {key: measured for key, measured in shown.items() if measured.values}


def _summary(shown: Iterable[Measured]) -> dict[str, list]:
    shown = list(shown)
    return {
        "mean": [measured.mean for measured in shown],
        "std": [measured.std or 0.0 for measured in shown],
        "num_seeds": [len(measured.values) for measured in shown],
    }


def _scale(unit: str) -> float:
    """Return the factor of displayed numbers: 100 for percent."""
    return 100.0 if unit == "%" else 1.0


def _colours(num: int, ordered: bool) -> list[Any]:
    """A colour for each; from light to dark where they are in order."""
    if not ordered:
        return [_COLOURS[number % len(_COLOURS)] for number in range(num)]
    ramp = LinearSegmentedColormap.from_list("ordered", [_LIGHT_END, "#0072b2", _DARK_END])
    return [tuple(ramp(number / max(1, num - 1))) for number in range(num)]


def _axis_label(text: str, unit: str) -> str:
    return f"{text} ({unit})" if unit else text


def _limits(shown: Iterable[Measured], unit: str) -> tuple[float | None, float | None]:
    """Limits of the axis of shares; none for other numbers."""
    values = [value for measured in shown for value in measured.values]
    is_share = unit == "%" and all(0.0 <= v <= 1.0 for v in values if math.isfinite(v))
    return (0.0, 103.0) if is_share else (None, None)


def _draw_grid(axes: Axes, axis: str, theme: Theme) -> None:
    axes.set_axisbelow(True)
    axes.grid(axis=axis, color=theme.faint, linewidth=0.5, alpha=0.6)


def _draw_legend(axes: Axes) -> None:
    axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.02), borderaxespad=0.0)


def _draw_note(axes: Axes, shown: Iterable[Measured], theme: Theme, shift: float) -> None:
    """Say below the axes what whiskers and bands are."""
    numbers = sorted({len(measured.values) for measured in shown})
    seeds = f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else str(numbers[0])
    text = f"mean and standard deviation of {seeds} seeds"
    axes.annotate(
        "one seed" if numbers == [1] else text,
        (1.0, 0.0),
        (0.0, -shift),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=7.0,
        color=theme.muted,
    )
