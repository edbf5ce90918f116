"""A few photos before and after marking, and the figure of the README that shows them."""

import dataclasses
import io
import os
import pathlib

import matplotlib
import matplotlib.image
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anw_jax import _files
from anw_jax.report import curves, reading, style, table
from anw_jax.report.curves import Curve
from anw_jax.report.reading import RunRecord, UserRecord
from anw_jax.report.style import LIGHT, Theme, data_uri

# Larger photos would make the page heavy and show no more of a hue.
_LARGEST_SIDE = 96
MOST_PHOTOS = 8

# The README's figure, in inches and dots per inch.
_WIDTH, _HEIGHT, _DPI = 10.0, 3.65, 160
_README_PAIRS = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Pair:
    """One photo before and after marking.

    Attributes:
      number: from 1, in the user's order.
      file_name: from the manifest, or "".
      degrees: the angle by which the hue was turned.
      original: uint8 `[h, w, 3]`, made small.
      published: uint8 `[h, w, 3]`, made small.
    """

    number: int
    file_name: str
    degrees: float
    original: np.ndarray
    published: np.ndarray

    @property
    def original_uri(self) -> str:
        """The original as a PNG in a data URI."""
        return png_uri(self.original)

    @property
    def published_uri(self) -> str:
        """The published photo as a PNG in a data URI."""
        return png_uri(self.published)


def pairs_of(user: UserRecord, most: int = MOST_PHOTOS) -> list[Pair]:
    """Return a user's first photos with the angles of their units; [] if none were kept."""
    if user.original is None or user.published is None or user.unit_of_image is None:
        return []
    num = min(most, len(user.original), len(user.published), len(user.unit_of_image))
    degrees = user.space.degrees[np.asarray(user.numbers["true_slots"], np.int64)]
    names = [""] * num if user.manifest is None else user.manifest.file_names
    return [
        Pair(
            index + 1,
            names[index],
            float(degrees[user.unit_of_image[index]]),
            shrunk(user.original[index]),
            shrunk(user.published[index]),
        )
        for index in range(num)
    ]


def shrunk(photo: np.ndarray, largest_side: int = _LARGEST_SIDE) -> np.ndarray:
    """Return means of square blocks, so that no side exceeds some pixels."""
    block = -(-max(photo.shape[:2]) // largest_side)
    if block == 1:
        return photo
    height, width = (max(1, side // block) for side in photo.shape[:2])
    cut = photo[: height * block, : width * block].astype(np.float64)
    blocks = cut.reshape(height, -1, width, cut.shape[1] // width, 3)
    return np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)


def png_uri(photo: np.ndarray) -> str:
    """Return a uint8 picture as a PNG in a data URI."""
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, photo, format="png", metadata={"Software": None})
    return data_uri(buffer.getvalue(), "image/png")


def pairs_figure(pairs: list[Pair], theme: Theme) -> Figure:
    """Draw originals above, published photos below, and the angle under each pair."""
    mosaic = _mosaic(pairs)
    left, width = 0.85, 1.0 * len(pairs)
    height = width * mosaic.shape[0] / mosaic.shape[1]
    figure, axes = style.panel(left + width + 0.05, height + 0.4, (left, 0.33, 0.05, 0.07))
    _show(axes, mosaic)
    step = mosaic.shape[1] / len(pairs)
    places = [step * (column + 0.5) for column in range(len(pairs))]
    axes.set_xticks(places, [f"{pair.degrees:g}°" for pair in pairs], color=theme.ink)
    axes.set_yticks(
        [mosaic.shape[0] * place for place in (0.25, 0.75)],
        ["original", "published"],
        color=theme.ink,
    )
    axes.tick_params(length=0)
    return figure


def _mosaic(pairs: list[Pair]) -> np.ndarray:
    """Return all photos in two rows, uint8, with white gaps."""
    gap = max(1, max(pairs[0].original.shape[:2]) // 24)
    padding = ((0, gap), (0, gap), (0, 0))
    rows = (
        [np.pad(photo, padding, constant_values=255) for photo in row]
        for row in ([p.original for p in pairs], [p.published for p in pairs])
    )
    return np.concatenate([np.concatenate(row, axis=1) for row in rows])


def _show(axes: Axes, photo: np.ndarray) -> None:
    """Draw a photo with square pixels and without axes."""
    axes.imshow(photo, interpolation="none")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def write_readme_figure(
    folder_or_workdir: str | os.PathLike, path: str | os.PathLike
) -> pathlib.Path:
    """Write a PNG, 1600 pixels wide: photos above their marked versions, and loss curves.

    On the left are a few originals of the first claim above what was published, if the folder
    has them; on the right the claim's loss around its secret hues, with the ±τ band and a
    square at the minimum, and the last control's loss around the hues of its unused key.

    Args:
      folder_or_workdir: a workdir, or a folder of `seed*.json`, where curves are means
        over the seeds and bands their standard error.
      path: the PNG to write.

    Raises:
      FileNotFoundError: if the folder has neither `results.json` nor `seed*.json`.
      ValueError: if the run has no claim, or a file is damaged.
    """
    folder = pathlib.Path(folder_or_workdir)
    if (folder / "results.json").is_file():
        records = [reading.read_run(folder)]
    else:
        records = [reading.record_of(run, folder) for run in table.read_seeds(folder)]
    if not records[0].claims:
        raise ValueError(f"{folder}: nobody makes a claim, so there is nothing to show")
    with matplotlib.rc_context(style.style(LIGHT)):
        figure = Figure(figsize=(_WIDTH, _HEIGHT))
        pairs = _most_colourful(pairs_of(records[0].claims[0]))
        if pairs:
            _draw_pairs(figure, pairs)
        _draw_curves(figure, records, (5.5, 9.8) if pairs else (2.5, 8.0))
        body = style.saved(figure, "png", _DPI)
    _files.write_whole(pathlib.Path(path), body)
    return pathlib.Path(path)


def _most_colourful(pairs: list[Pair]) -> list[Pair]:
    """Return the photos that show a mark best, by the mean spread of their channels."""

    def colour(pair: Pair) -> float:
        return float(np.ptp(pair.original.astype(np.float64), axis=-1).mean())

    chosen = sorted(pairs, key=colour, reverse=True)[:_README_PAIRS]
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
        _show(figure.add_axes((x / _WIDTH, upper / _HEIGHT, *box)), pair.original)
        below = figure.add_axes((x / _WIDTH, lower / _HEIGHT, *box))
        _show(below, pair.published)
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
    curves.draw_axes(axes, LIGHT, claim.tau_degrees, curves.upper_limit(drawn))
    if controls:
        held_out = controls[0].numbers["kind"] == "held_out"
        name = "never trained on" if held_out else "not marked"
        curves.draw_curve(axes, drawn[1], LIGHT, LIGHT.muted, f"photos {name}")
    curves.draw_curve(axes, claim, LIGHT, LIGHT.signal, "marked photos that were trained on")
    axes.set_xlabel("distance from the secret hue")
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.07), borderpad=0, reverse=True)


def _average(several: list[Curve]) -> Curve:
    """Return the mean curve; with several seeds, its standard error is over the seeds."""
    if len(several) == 1:
        return several[0]
    means = np.stack([curve.mean for curve in several])
    error = means.std(axis=0, ddof=1) / np.sqrt(len(means))
    first = several[0]
    return Curve(first.degrees, means.mean(axis=0), error, first.is_aligned, first.tau_degrees)
