"""Rows of small pictures with a name each, such as what an attacker rebuilds of images."""

import pathlib
from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from anw_jax import _files
from anw_jax.report import style
from anw_jax.report.style import LIGHT

_INCHES = 0.9
_GAP = 2


def write_picture_rows(path: pathlib.Path, rows: Mapping[str, np.ndarray]) -> None:
    """Write a PNG with one row of pictures for each name.

    Args:
      path: of the PNG.
      rows: by name, uint8 `[n, H, W, 3]`, all of one shape.

    Raises:
      ValueError: no rows, or rows of different shapes.
    """
    shapes = {images.shape for images in rows.values()}
    if len(shapes) != 1:
        raise ValueError(f"rows must have one shape, got {sorted(shapes)}")
    (count, _, _, _) = shapes.pop()
    with matplotlib.rc_context(style.style(LIGHT)):
        size = (_INCHES * count, (_INCHES + 0.22) * len(rows))
        figure = Figure(figsize=size, layout="constrained")
        all_axes = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
        for axes, (name, images) in zip(all_axes, rows.items(), strict=True):
            axes.imshow(_strip(images), interpolation="nearest")
            axes.set_title(name, loc="left")
            axes.set_axis_off()
        _files.write_whole(path, style.saved(figure, "png"))


def _strip(images: np.ndarray) -> np.ndarray:
    """Return the images side by side, with white gaps."""
    gap = ((0, 0), (0, 0), (0, _GAP), (0, 0))
    padded = np.pad(images, gap, constant_values=255)
    return np.concatenate(list(padded), axis=1)[:, :-_GAP]
