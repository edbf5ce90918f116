"""The page of a run with pictures hidden in outputs: what is served, and what R draws.

It reads `results.json`, and pictures from `examples.npz` and `cells/*.npz` where they are
there. The system has no error rate, so the page has no p and no verdict.
"""

import dataclasses
import os
import pathlib
from typing import Any

import numpy as np

from anw_jax import _files
from anw_jax.report import html
from anw_jax.report.outputs_page import EXAMPLES, difference, trained_on
from anw_jax.report.photos import png_uri

_MOST_PICTURES = 6


@dataclasses.dataclass(frozen=True)
class Model:
    """A model whose outputs the extractor was shown.

    Attributes:
      name: of the model.
      made_from: what it was trained on, in words.
      psnr: of its outputs against clean images, in dB.
      before: what was read after stage 1: `nc_mean`, `success_rate` and `decided`.
      after: the same after stage 2.
      drawn: pictures of its outputs and of what the tuned extractor draws, as data URIs.
    """

    name: str
    made_from: str
    psnr: float
    before: dict[str, float]
    after: dict[str, float]
    drawn: list[tuple[str, str]]


def write_pictures_report(workdir: str | os.PathLike) -> pathlib.Path:
    """Write `report.html` of a run with pictures hidden in outputs.

    Arguments, result and errors are those of `html.write_page_of_run`.
    """
    return html.write_page_of_run(workdir, "pictures.html.j2", _values)


def _values(results: dict[str, Any], folder: pathlib.Path) -> dict[str, Any]:
    settings = results["settings"]
    models = [
        _model(name, row, settings["copies"][name], folder)
        for name, row in results["copies"].items()
    ]
    is_stolen = [settings["copies"][model.name]["pairs"] == "stolen" for model in models]
    pairs = list(zip(models, is_stolen, strict=True))
    examples = _read(folder / EXAMPLES)
    return {
        "thieves": [model for model, stolen in pairs if stolen],
        "innocents": [model for model, stolen in pairs if not stolen],
        "served": {
            name: {
                **row,
                "pictures": _rows(
                    examples, "outputs", f"marked_{name}", f"drawn_{name}", "drawn_clean"
                ),
            }
            for name, row in results["served"].items()
        },
    }


def _model(
    name: str, row: dict[str, Any], settings: dict[str, Any], folder: pathlib.Path
) -> Model:
    drawn = _rows(_read(folder / "cells" / f"{name}.npz"), "answers", "drawn")
    made_from = trained_on(settings)
    return Model(name, made_from, row["psnr"], row["stage_1"], row["stage_2"], drawn)


def _rows(arrays: dict[str, np.ndarray], *names: str) -> list[tuple[str, ...]]:
    """Return rows of pictures as data URIs; after the second one, its difference to the first.

    The difference is left out in rows of two.
    """
    if not arrays:
        return []
    rows = []
    for images in list(zip(*(arrays[name] for name in names), strict=True))[:_MOST_PICTURES]:
        shown = list(images)
        if len(shown) > 2:
            shown.insert(2, difference(shown[0], shown[1]))
        rows.append(tuple(png_uri(image) for image in shown))
    return rows


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file; none where there is no file."""
    if not path.exists():
        return {}
    with html.naming_damage(path):
        return dict(_files.read_npz(path.read_bytes()))
