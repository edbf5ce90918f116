"""The look of all figures, in a palette safe for colour blindness, and writing their files."""

import base64
import csv
import dataclasses
import io
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anw_jax import _files, marks

_PNG_DPI = 160
_CSS_PIXELS_PER_INCH = 96
# Verdana has the same widths, and most machines have it.
_FONT = b"'DejaVu Sans'"
# A hundredth of a point is invisible; scales below 1 keep their digits.
_LONG_NUMBER = re.compile(rb"(\b\d*[1-9]\d*\.\d\d)\d+")


@dataclasses.dataclass(frozen=True)
class Theme:
    """Colours of a figure; `signal`, `alert` and `match` are Okabe and Ito's.

    Attributes:
      background: of figure and axes.
      ink: text.
      muted: axes, secondary text.
      faint: what is only for comparison.
      signal: the data.
      alert: the observation that matters.
      match: the ±τ band.
    """

    background: str
    ink: str
    muted: str
    faint: str
    signal: str
    alert: str
    match: str


LIGHT = Theme("#ffffff", "#1c2024", "#5d666f", "#c4cad0", "#0072b2", "#d55e00", "#009e73")
DARK = Theme("#171b20", "#e6e9ec", "#9aa4ae", "#4a535c", "#56b4e9", "#f0883e", "#2cc295")


def style(theme: Theme) -> dict[str, Any]:
    """Return the matplotlib settings of a theme, for `matplotlib.rc_context`."""
    return {
        "font.family": ["DejaVu Sans"],
        "font.size": 9.0,
        "axes.labelsize": 9.0,
        "axes.titlesize": 9.5,
        "axes.titlelocation": "left",
        "axes.facecolor": theme.background,
        "axes.edgecolor": theme.muted,
        "axes.labelcolor": theme.ink,
        "axes.linewidth": 0.7,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.facecolor": theme.background,
        "savefig.facecolor": theme.background,
        "text.color": theme.ink,
        "text.parse_math": False,
        "xtick.color": theme.muted,
        "ytick.color": theme.muted,
        "xtick.labelsize": 8.0,
        "ytick.labelsize": 8.0,
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "lines.linewidth": 1.8,
        "lines.solid_capstyle": "round",
        # Without a salt, SVG identifiers differ from run to run.
        "svg.hashsalt": "anw_jax",
        # Text stays text: half the bytes of outlines, and it can be searched.
        "svg.fonttype": "none",
    }


def panel(width: float, height: float, margins: Sequence[float]) -> tuple[Figure, Axes]:
    """Return a figure with one pair of axes; sizes and margins are in inches.

    Args:
      width: of the figure.
      height: of the figure.
      margins: left, bottom, right, top.
    """
    left, bottom, right, top = margins
    figure = Figure(figsize=(width, height))
    box = (
        left / width,
        bottom / height,
        (width - left - right) / width,
        (height - bottom - top) / height,
    )
    return figure, figure.add_axes(box)


def hue_colours(num_slots: int) -> np.ndarray:
    """Return a colour per slot, `[num_slots, 3]` in [0, 1]: a warm tone with its hue turned."""
    tone = np.full((num_slots, 1, 1, 3), [196, 108, 76], np.uint8)
    degrees = np.arange(num_slots) * (360.0 / num_slots)
    turned = marks.publish(marks.HueRotation(), tone, degrees)
    return np.asarray(turned, np.float64).reshape(num_slots, 3) / 255.0


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A figure in the form that the page shows.

    Attributes:
      name: of its files, without suffix.
      alt: what it shows, in words and numbers.
      light: SVG as a data URI.
      dark: the same for a dark page.
      width: in CSS pixels.
      height: in CSS pixels.
    """

    name: str
    alt: str
    light: str
    dark: str
    width: int
    height: int


def publish_figure(
    folder: pathlib.Path,
    name: str,
    alt: str,
    draw: Callable[[Theme], Figure],
    columns: Mapping[str, Sequence[Any] | np.ndarray],
) -> Drawing:
    """Draw a figure in both themes; write PNG, SVG and the numbers that it shows.

    Args:
      folder: of the files.
      name: of the files, without suffix.
      alt: what the figure shows.
      draw: draws the figure in a theme.
      columns: the numbers, by name of the column; all of equal length.
    """
    write_figure(folder, name, draw, columns)
    return drawing(name, alt, draw)


def drawing(name: str, alt: str, draw: Callable[[Theme], Figure]) -> Drawing:
    """Draw a figure in both themes, for a page; write nothing."""
    bodies = []
    for theme in (LIGHT, DARK):
        with matplotlib.rc_context(style(theme)):
            figure = draw(theme)
            bodies.append(data_uri(saved(figure, "svg"), "image/svg+xml"))
    width, height = (figure.get_size_inches() * _CSS_PIXELS_PER_INCH).round()
    return Drawing(name, alt, *bodies, int(width), int(height))


def write_figure(
    folder: pathlib.Path,
    name: str,
    draw: Callable[[Theme], Figure],
    columns: Mapping[str, Sequence[Any] | np.ndarray],
) -> None:
    """Write PNG, SVG and CSV of a figure in the light theme."""
    write_csv(folder / f"{name}.csv", columns)
    with matplotlib.rc_context(style(LIGHT)):
        figure = draw(LIGHT)
        _files.write_whole(folder / f"{name}.png", saved(figure, "png"))
        _files.write_whole(folder / f"{name}.svg", saved(figure, "svg"))


def saved(figure: Figure, kind: str, dpi: int = _PNG_DPI) -> bytes:
    """Return the figure as "png" or "svg", without dates: equal numbers give equal bytes."""
    metadata = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}[kind]
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=dpi, metadata=metadata)
    body = buffer.getvalue()
    if kind == "png":
        return body
    return _LONG_NUMBER.sub(rb"\1", body).replace(_FONT, _FONT + b", Verdana, sans-serif")


def data_uri(body: bytes, kind: str) -> str:
    """Return a file's bytes as a data URI.

    Example:
      >>> data_uri(b"hi", "text/plain")
      'data:text/plain;base64,aGk='
    """
    return f"data:{kind};base64,{base64.b64encode(body).decode()}"


def write_csv(path: pathlib.Path, columns: Mapping[str, Sequence[Any] | np.ndarray]) -> None:
    """Write columns of equal length as CSV; floats with nine digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in zip(*columns.values(), strict=True):
        writer.writerow([_cell(value) for value in row])
    _files.write_whole(path, text.getvalue().encode())


def _cell(value: Any) -> Any:
    """Quote a leading sign that a spreadsheet would run as a formula."""
    if isinstance(value, (float, np.floating)):
        return f"{value:.9g}"
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@"):
        return "'" + value
    return value
