"""One picture that shows the idea: photos, their marked versions, and the loss curves."""

import os
import pathlib

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from anw_jax import _files
from anw_jax.report import curves, photos, reading, style, table
from anw_jax.report.curves import Curve
from anw_jax.report.photos import Pair
from anw_jax.report.reading import RunRecord
from anw_jax.report.style import LIGHT

_DPI = 160
_WIDTH, _HEIGHT = 10.0, 3.65
_NUM_PAIRS = 4


def write_readme_figure(
    folder_or_workdir: str | os.PathLike, path: str | os.PathLike
) -> pathlib.Path:
    """Writes a PNG, 1600 pixels wide: photos above their marked versions, and loss curves.

    Left stand a few originals of the first claim above what was published, where the folder
    has them; right, the claim's loss around its secret hues with the ±τ band and a square
    at the minimum, and the last control's around the hues that its unused key drew.

    Args:
      folder_or_workdir: a workdir, or a folder of `seed*.json`, where curves are means
        over the seeds and bands their standard error.
      path: the PNG to write.

    Raises:
      FileNotFoundError: the folder has neither `results.json` nor `seed*.json`.
      ValueError: nobody makes a claim in the run, or a file is damaged.
    """
    folder = pathlib.Path(folder_or_workdir)
    if (folder / "results.json").is_file():
        records = [reading.read_run(folder)]
    else:
        records = [reading.record_of(run, folder) for run in table.read_seeds(folder)]
    if not records[0].claims:
        raise ValueError(f"{folder}: nobody makes a claim, so there is nothing to show")
    with matplotlib.rc_context(style.style(LIGHT)):
        figure = _draw(records)
        body = style.saved(figure, "png", _DPI)
    _files.write_whole(pathlib.Path(path), body)
    return pathlib.Path(path)


def _draw(records: list[RunRecord]) -> Figure:
    figure = Figure(figsize=(_WIDTH, _HEIGHT))
    pairs = _most_colourful(photos.pairs_of(records[0].claims[0]))
    if pairs:
        _draw_pairs(figure, pairs)
    _draw_curves(figure, records, (5.5, 9.8) if pairs else (2.5, 8.0))
    return figure


def _most_colourful(pairs: list[Pair]) -> list[Pair]:
    """The photos on which a mark is seen best, by the mean spread of their channels."""

    def colour(pair: Pair) -> float:
        return float(np.ptp(pair.original.astype(np.float64), axis=-1).mean())

    chosen = sorted(pairs, key=colour, reverse=True)[:_NUM_PAIRS]
    return sorted(chosen, key=lambda pair: pair.number)


def _draw_pairs(figure: Figure, pairs: list[Pair]) -> None:
    cell, left, upper, lower = 1.1, 0.15, 2.15, 0.55
    for row, text in (
        (upper, "original photos"),
        (lower, "as published, each hue turned by …"),
    ):
        figure.text(left / _WIDTH, (row + cell + 0.08) / _HEIGHT, text, fontsize=10)
    for column, pair in enumerate(pairs):
        x, box = left + (cell + 0.06) * column, (cell / _WIDTH, cell / _HEIGHT)
        photos.show(figure.add_axes((x / _WIDTH, upper / _HEIGHT, *box)), pair.original)
        below = figure.add_axes((x / _WIDTH, lower / _HEIGHT, *box))
        photos.show(below, pair.published)
        below.set_xlabel(f"{pair.degrees:g}°", color=LIGHT.ink, labelpad=2, fontsize=10)


def _draw_curves(figure: Figure, records: list[RunRecord], sides: tuple[float, float]) -> None:
    left, right = sides
    box = (left / _WIDTH, 0.55 / _HEIGHT, (right - left) / _WIDTH, 2.4 / _HEIGHT)
    axes = figure.add_axes(box)
    claim = _average([curves.aligned_curve(record.claims[0]) for record in records])
    controls = [record.controls[-1] for record in records if record.controls]
    drawn = [claim]
    if controls:
        drawn.append(_average([curves.aligned_curve(user) for user in controls]))
    curves.dress(axes, LIGHT, claim.tau_degrees, curves.top_of(drawn))
    if controls:
        held_out = controls[0].numbers["kind"] == "held_out"
        name = "never trained on" if held_out else "not marked"
        curves.draw_curve(axes, drawn[1], LIGHT, LIGHT.muted, f"photos {name}")
    curves.draw_curve(axes, claim, LIGHT, LIGHT.signal, "marked photos that were trained on")
    axes.set_xlabel("distance from the secret hue")
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.07), borderpad=0, reverse=True)


def _average(several: list[Curve]) -> Curve:
    """The mean curve; of several seeds, with the standard error over them."""
    if len(several) == 1:
        return several[0]
    means = np.stack([curve.mean for curve in several])
    error = means.std(axis=0, ddof=1) / np.sqrt(len(means))
    first = several[0]
    return Curve(first.degrees, means.mean(axis=0), error, first.is_aligned, first.tau_degrees)
