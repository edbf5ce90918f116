"""How curves, bars and lines of a study look; conventions are those of `report.style`."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from anw_jax.report import curves, style
from anw_jax.report.style import Theme
from anw_jax.reproduce.figure_curves import Spread
from anw_jax.reproduce.figure_spec import FigureSpec, Point

Shown = tuple[Point, Spread]

# Okabe and Ito's colours without yellow, green left to the match band.
_COLOURS = ("#0072b2", "#d55e00", "#cc79a7", "#e69f00", "#56b4e9", "#5d666f", "#1c2024")
_LIGHT_END = "#9ecbe8"
_DARK_END = "#08306b"
_WIDTH = 6.4
_LEGEND_WIDTH = 1.9


@dataclasses.dataclass(frozen=True, eq=False)
class Drawn:
    """A figure with its numbers.

    Attributes:
      spec: what it shows.
      series: points with what was measured; those without results are left out.
    """

    spec: FigureSpec
    series: tuple[tuple[str, tuple[Shown, ...]], ...]

    @property
    def scale(self) -> float:
        """What numbers are multiplied by: 100 for percent."""
        return 100.0 if self.spec.unit == "%" else 1.0

    def columns(self) -> dict[str, list]:
        """The numbers as columns, for a CSV file."""
        shown = [(label, *pair) for label, pairs in self.series for pair in pairs]
        if self.spec.kind == "curves":
            return _curve_columns(shown)
        return {
            "series": [label for label, _, _ in shown],
            "label": [point.label for _, point, _ in shown],
            "x": ["" if point.x is None else point.x for _, point, _ in shown],
            "mean": [spread.mean for _, _, spread in shown],
            "std": [spread.std for _, _, spread in shown],
            "num_seeds": [spread.num_seeds for _, _, spread in shown],
            "paper": ["" if point.paper is None else point.paper for _, point, _ in shown],
        }


def _curve_columns(shown: Sequence[tuple[str, Point, Spread]]) -> dict[str, list]:
    columns: dict[str, list] = {
        name: [] for name in ("label", "offset_degrees", "mean", "std", "num_seeds")
    }
    for _, point, spread in shown:
        num = len(spread.curve.degrees)
        columns["label"] += [point.label] * num
        columns["offset_degrees"] += list(spread.curve.degrees)
        columns["mean"] += list(spread.curve.mean)
        columns["std"] += list(spread.curve.error)
        columns["num_seeds"] += [spread.num_seeds] * num
    return columns


def draw(drawn: Drawn, theme: Theme) -> Figure:
    """The figure in a theme."""
    return {"curves": _draw_curves, "bars": _draw_bars, "lines": _draw_lines}[drawn.spec.kind](
        drawn, theme
    )


def _colours(num: int, ordered: bool) -> list[str]:
    """A colour for each; from light to dark where they are in order."""
    if not ordered:
        return [_COLOURS[number % len(_COLOURS)] for number in range(num)]
    ramp = LinearSegmentedColormap.from_list("ordered", [_LIGHT_END, "#0072b2", _DARK_END])
    return [tuple(ramp(number / max(1, num - 1))) for number in range(num)]


def _seeds_note(shown: Sequence[Shown]) -> str:
    """What whiskers and bands are."""
    numbers = sorted({spread.num_seeds for _, spread in shown})
    if numbers == [1]:
        return "one seed"
    seeds = f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else str(numbers[0])
    return f"mean and standard deviation of {seeds} seeds"


def _note(axes: Axes, text: str, theme: Theme, shift: float) -> None:
    axes.annotate(
        text,
        (1.0, 0.0),
        (0.0, -shift),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=7.0,
        color=theme.muted,
    )


def _draw_curves(drawn: Drawn, theme: Theme) -> Figure:
    shown = [pair for _, pairs in drawn.series for pair in pairs]
    figure, axes = style.panel(_WIDTH, 2.9, (0.55, 0.62, _LEGEND_WIDTH, 0.25))
    all_curves = [spread.curve for _, spread in shown]
    curves.dress(axes, theme, all_curves[0].tau_degrees, curves.top_of(all_curves))
    for (point, spread), colour in zip(
        shown, _colours(len(shown), drawn.spec.ordered), strict=True
    ):
        curves.draw_curve(axes, spread.curve, theme, colour, point.label)
    axes.set_xlabel("distance from the secret signature, k − k*")
    _legend_of(axes, drawn, theme)
    _note(axes, _seeds_note(shown), theme, 32.0)
    return figure


def _value_axis(drawn: Drawn) -> tuple[str, float | None, float | None]:
    """Label and, for shares, limits of the axis of the measure."""
    spec = drawn.spec
    label = spec.y_label or _measure_label(drawn)
    label += f" ({spec.unit})" if spec.unit else ""
    values = [v for _, pairs in drawn.series for _, s in pairs for v in s.values]
    is_share = spec.unit == "%" and all(0.0 <= v <= 1.0 for v in values if math.isfinite(v))
    return label, (0.0 if is_share else None), (103.0 if is_share else None)


def _measure_label(drawn: Drawn) -> str:
    found = {point.measure for _, pairs in drawn.series for point, _ in pairs}
    return next(iter(found)).replace("_", " ") if len(found) == 1 else ""


def _draw_bars(drawn: Drawn, theme: Theme) -> Figure:
    rows = list(dict.fromkeys(p.label for _, pairs in drawn.series for p, _ in pairs))
    num_series = len(drawn.series)
    left = 0.35 + 0.068 * max(map(len, rows))
    height = 0.95 + len(rows) * (0.13 + 0.19 * num_series)
    legend = num_series > 1 or _has_paper(drawn)
    figure, axes = style.panel(
        _WIDTH, height, (left, 0.65, _LEGEND_WIDTH if legend else 0.3, 0.1)
    )
    thickness = 0.8 / num_series
    colours = _colours(num_series, False)
    for number, ((label, pairs), colour) in enumerate(zip(drawn.series, colours, strict=True)):
        places = [rows.index(p.label) - 0.4 + thickness * (number + 0.5) for p, _ in pairs]
        _bars_of_series(axes, drawn, pairs, places, (thickness, colour, label), theme)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(axis="y", length=0, labelcolor=theme.ink)
    axes.set_ylim(len(rows) - 0.45, -0.55)
    text, low, high = _value_axis(drawn)
    axes.set_xlabel(text)
    axes.set_xlim(low, high)
    axes.set_axisbelow(True)
    axes.grid(axis="x", color=theme.faint, linewidth=0.5, alpha=0.6)
    if legend:
        _legend_of(axes, drawn, theme)
    _note(axes, _seeds_note([pair for _, pairs in drawn.series for pair in pairs]), theme, 34.0)
    return figure


def _bars_of_series(
    axes: Axes,
    drawn: Drawn,
    pairs: Sequence[Shown],
    places: Sequence[float],
    look: tuple[float, str, str],
    theme: Theme,
) -> None:
    thickness, colour, label = look
    means = np.array([spread.mean for _, spread in pairs]) * drawn.scale
    name = label or ("ours" if _has_paper(drawn) else None)
    axes.barh(places, means, 0.86 * thickness, color=colour, alpha=0.55, lw=0, label=name)
    for place, (_, spread) in zip(places, pairs, strict=True):
        axes.errorbar(
            spread.mean * drawn.scale,
            place,
            xerr=spread.std * drawn.scale,
            color=theme.ink,
            linewidth=1.0,
            capsize=2.0,
        )
        values = np.array(spread.values) * drawn.scale
        axes.plot(values, [place] * len(values), "o", color=colour, markersize=3.2)
    theirs = [
        (p.paper, y) for (p, _), y in zip(pairs, places, strict=True) if p.paper is not None
    ]
    if theirs:
        x = [value * drawn.scale for value, _ in theirs]
        _mark_paper(axes, x, [y for _, y in theirs], colour, theme)


def _has_paper(drawn: Drawn) -> bool:
    return any(p.paper is not None for _, pairs in drawn.series for p, _ in pairs)


def _mark_paper(
    axes: Axes, x: Sequence[float], y: Sequence[float], colour: str, theme: Theme
) -> None:
    """The paper's values as hollow diamonds in the colour of their series."""
    axes.plot(x, y, "D", color=colour, zorder=4, clip_on=False, **_diamond(theme))


def _diamond(theme: Theme) -> dict[str, Any]:
    return {"markersize": 6.0, "markerfacecolor": theme.background, "markeredgewidth": 1.3}


def _legend_of(axes: Axes, drawn: Drawn, theme: Theme) -> None:
    """Names the series, and last the diamonds of the paper."""
    if _has_paper(drawn):
        axes.plot([], [], "D", color=theme.ink, label="paper", **_diamond(theme))
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda number: labels[number] == "paper")
    axes.legend(
        [handles[number] for number in order],
        [labels[number] for number in order],
        loc="upper left",
        bbox_to_anchor=(1.02, 1.02),
        borderaxespad=0.0,
    )


def _draw_lines(drawn: Drawn, theme: Theme) -> Figure:
    legend = len(drawn.series) > 1 or _has_paper(drawn)
    figure, axes = style.panel(
        _WIDTH, 2.9, (0.65, 0.62, _LEGEND_WIDTH if legend else 0.3, 0.15)
    )
    for (label, pairs), colour in zip(
        drawn.series, _colours(len(drawn.series), drawn.spec.ordered), strict=True
    ):
        _line_of_series(axes, drawn, pairs, colour, label, theme)
    if drawn.spec.log_x:
        axes.set_xscale("log")
    places = sorted({(p.x, p.label) for _, pairs in drawn.series for p, _ in pairs})
    axes.set_xticks([x for x, _ in places], [label for _, label in places])
    axes.minorticks_off()
    text, low, high = _value_axis(drawn)
    axes.set_ylabel(text)
    axes.set_ylim(low, high)
    axes.set_xlabel(drawn.spec.x_label)
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=theme.faint, linewidth=0.5, alpha=0.6)
    if legend:
        _legend_of(axes, drawn, theme)
    _note(axes, _seeds_note([pair for _, pairs in drawn.series for pair in pairs]), theme, 32.0)
    return figure


def _line_of_series(
    axes: Axes, drawn: Drawn, pairs: Sequence[Shown], colour: str, label: str, theme: Theme
) -> None:
    x = np.array([point.x for point, _ in pairs])
    mean = np.array([spread.mean for _, spread in pairs]) * drawn.scale
    std = np.array([spread.std for _, spread in pairs]) * drawn.scale
    axes.fill_between(x, mean - std, mean + std, color=colour, alpha=0.18, lw=0)
    name = label or ("ours" if _has_paper(drawn) else None)
    axes.plot(x, mean, "o-", color=colour, markersize=4.0, label=name)
    theirs = [(point.x, point.paper) for point, _ in pairs if point.paper is not None]
    if theirs:
        y = [value * drawn.scale for _, value in theirs]
        _mark_paper(axes, [x for x, _ in theirs], y, colour, theme)
