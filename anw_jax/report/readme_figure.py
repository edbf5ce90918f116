"""One picture that shows the idea: photos, their marked versions, and the loss curves."""

import os
import pathlib

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from anw_jax.report import curves, photos, reading, style, table, writing
from anw_jax.report.curves import Curve
from anw_jax.report.photos import Pair
from anw_jax.report.reading import RunRecord
from anw_jax.report.style import LIGHT

_DPI = 160
_WIDTH, _HEIGHT = 10.0, 3.7
_NUM_PAIRS = 4


def write_readme_figure(
    folder_or_workdir: str | os.PathLike, path: str | os.PathLike
) -> pathlib.Path:
    """Writes a PNG, 1600 pixels wide: photos above their marked versions, and loss curves.

    Left stand a few originals of the first claim above what was published, where the folder
    has them; right, the claim's loss around its secret hue with the ±τ band and a square
    at the minimum, and the curve of the control around 0 = unmarked.

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
    writing.write_bytes(pathlib.Path(path), body)
    return pathlib.Path(path)


def _draw(records: list[RunRecord]) -> Figure:
    pairs = photos.pairs_of(records[0].claims[0], _NUM_PAIRS)
    width = _WIDTH if pairs else 0.6 * _WIDTH
    figure = Figure(figsize=(_WIDTH, _HEIGHT))
    if pairs:
        _draw_pairs(figure, pairs)
    left = 5.35 if pairs else (_WIDTH - width) / 2 + 0.6
    right = 9.8 if pairs else (_WIDTH + width) / 2 - 0.1
    _draw_curves(figure, records, (left, right))
    return figure


def _draw_pairs(figure: Figure, pairs: list[Pair]) -> None:
    cell, left = 1.0, 0.42
    for row, text in ((1.98, "original photos"), (0.42, "as published")):
        figure.text(left / _WIDTH, (row + 1.04) / _HEIGHT, text, fontsize=10)
    for column, pair in enumerate(pairs):
        x = (left + (cell + 0.06) * column) / _WIDTH
        box = (cell / _WIDTH, cell / _HEIGHT)
        photos.show(figure.add_axes((x, 1.98 / _HEIGHT, *box)), pair.original)
        lower = figure.add_axes((x, 0.42 / _HEIGHT, *box))
        photos.show(lower, pair.published)
        lower.set_xlabel(f"{pair.degrees:g}°", color=LIGHT.ink, labelpad=2)


def _draw_curves(figure: Figure, records: list[RunRecord], sides: tuple[float, float]) -> None:
    left, right = sides
    box = (left / _WIDTH, 0.55 / _HEIGHT, (right - left) / _WIDTH, 2.72 / _HEIGHT)
    axes = figure.add_axes(box)
    claim = _average([curves.curve_of(record.claims[0]) for record in records])
    controls = [r.controls[-1] for r in records if r.controls]
    drawn = [claim]
    if controls:
        drawn.append(_average([curves.curve_of(user) for user in controls]))
    curves.dress(axes, LIGHT, claim.tau_degrees, curves.top_of(drawn))
    curves.draw_curve(axes, claim, LIGHT, LIGHT.signal, "marked photos: 0° is the secret hue")
    if controls:
        held_out = controls[0].numbers["kind"] == "held_out"
        name = "photos never trained on" if held_out else "photos without a mark"
        curves.draw_curve(axes, drawn[1], LIGHT, LIGHT.muted, f"{name}: 0° is unmarked")
    axes.set_xlabel("hue angle")
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.04), ncols=1, borderpad=0)


def _average(several: list[Curve]) -> Curve:
    """The mean curve; of several seeds, with the standard error over them."""
    if len(several) == 1:
        return several[0]
    means = np.stack([curve.mean for curve in several])
    error = means.std(axis=0, ddof=1) / np.sqrt(len(means))
    first = several[0]
    return Curve(first.degrees, means.mean(axis=0), error, first.is_aligned, first.tau_degrees)
