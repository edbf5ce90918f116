"""Draws the figures of the studies again from result files; nothing is trained."""

import pathlib
from collections.abc import Sequence

from anw_jax.report import style
from anw_jax.reproduce.claims import measured
from anw_jax.reproduce.drawing import Drawn, draw
from anw_jax.reproduce.figure_curves import Spread, curve_of, mean_curve
from anw_jax.reproduce.figure_spec import Point
from anw_jax.reproduce.results import SeedRuns
from anw_jax.reproduce.study import Study


def write_figures(
    studies: Sequence[Study], results: pathlib.Path, folder: pathlib.Path
) -> list[pathlib.Path]:
    """Writes PNG, SVG and CSV of every study that has results and declares a figure.

    Args:
      studies: of any variant; a figure's name is the name of the study's results.
      results: the folder of result files.
      folder: where the figures go.

    Returns:
      The PNG files.

    Raises:
      ResultError: a result file is damaged, or lacks what a figure shows.
    """
    written = []
    for study in studies:
        drawn = drawn_of(study, results)
        if drawn is not None:
            style.write_figure(
                folder, study.name, lambda theme, d=drawn: draw(d, theme), drawn.columns()
            )
            written.append(folder / f"{study.name}.png")
    return written


def drawn_of(study: Study, results: pathlib.Path) -> Drawn | None:
    """The numbers of a study's figure; None without a figure or without results."""
    if study.figure is None:
        return None
    spec, seeds = study.figure, study.all_runs(results)
    series = []
    for label, points in spec.series:
        shown = [(point, spread) for point in points if (spread := _spread(point, seeds))]
        if shown:
            series.append((label, tuple(shown)))
    return Drawn(spec, tuple(series)) if series else None


def _spread(point: Point, seeds: Sequence[SeedRuns]) -> Spread | None:
    """Mean and deviation over the seeds that have been run; None without any."""
    if not point.measure:
        curves = [curve for runs in seeds if (curve := curve_of(runs, point.arguments))]
        return mean_curve(curves) if curves else None
    found = measured(point.measure, point.arguments, seeds)
    if not found.values:
        return None
    return Spread(len(found.values), found.mean, found.std or 0.0, found.values)
