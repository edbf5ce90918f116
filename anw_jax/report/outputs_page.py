"""The page of a run with marked outputs: which models were trained on them, and how sure?

It shows what is served, and what was read from each copy: with the test on all queries and on
few of them. It reads `results.json` and `examples.npz`, never a key.
"""

import dataclasses
import os
import pathlib
from typing import Any

import numpy as np

from anw_jax import _files, stats
from anw_jax.report import html, words
from anw_jax.report.photos import png_uri

EXAMPLES = "examples.npz"

_MOST_PICTURES = 6

# The difference of served and unmarked pixels is shown so many times larger, about grey.
_TIMES = 10


@dataclasses.dataclass(frozen=True)
class Reading:
    """One test of one copy.

    Attributes:
      num_right: bits that were read as the key says.
      log10_p: of the exact test.
      outcome: of the test at the declared level.
    """

    num_right: int
    log10_p: float
    outcome: str

    @property
    def p_text(self) -> str:
        """The p as text."""
        return stats.format_p(self.log10_p)

    @property
    def odds(self) -> str:
        """The p in words."""
        return words.gloss_of_p(self.log10_p)


@dataclasses.dataclass(frozen=True)
class Copy:
    """A network that was trained on pairs.

    Attributes:
      name: of the network.
      made_from: what it was trained on, in words.
      is_innocent: whether it never met outputs marked with this key.
      psnr: of its outputs against clean images, in dB.
      kept: median share of the mark that it has kept.
      every: the reading from all queries.
      few: the reading from the first ones.
    """

    name: str
    made_from: str
    is_innocent: bool
    psnr: float
    kept: float
    every: Reading
    few: Reading


def write_outputs_report(workdir: str | os.PathLike) -> pathlib.Path:
    """Write `report.html` of a run with marked outputs.

    Reads `results.json` and, where it is there, `examples.npz` with outputs and marked outputs.
    Arguments, result and errors are those of `html.write_page_of_run`.
    """
    return html.write_page_of_run(workdir, "outputs.html.j2", _values)


def _values(results: dict[str, Any], folder: pathlib.Path) -> dict[str, Any]:
    settings = results["settings"]
    copies, patterned = (
        [_copy(name, row, settings[kind][name]) for name, row in found.items()]
        for kind, found in (
            ("copies", results["copies"]),
            ("additive", results.get("additive", {}).get("copies", {})),
        )
    )
    return {
        "settings": settings,
        "num_bits": sum(settings["bits"].values()),
        "thieves": [copy for copy in copies if not copy.is_innocent],
        "innocents": [copy for copy in copies if copy.is_innocent],
        "patterned": patterned,
        "pictures": _pictures(folder / EXAMPLES),
        "made_of": stats.testing.MARKED_OUTPUTS,
    }


def _copy(name: str, row: dict[str, Any], settings: dict[str, Any]) -> Copy:
    readings = [
        Reading(read["num_right"], read["log10_p"], read["outcome"])
        for read in (row["all_queries"], row["few_queries"])
    ]
    return Copy(
        name,
        trained_on(settings),
        settings["pairs"] != "stolen",
        row["psnr"],
        row["all_queries"]["median_kept"],
        *readings,
    )


def trained_on(settings: dict[str, Any]) -> str:
    """Say what a copy was trained on, from its settings."""
    parts = [
        {
            "stolen": "served outputs",
            "clean": "clean pairs of its own",
            "foreign": "outputs that another owner served",
        }[settings["pairs"]]
    ]
    parts += {
        "none": [],
        "jpeg": ["as JPEG of quality 75"],
        "resize": ["at half the size and back"],
        "overwrite": ["marked again with another key"],
        "removal": ["after a network that was trained to remove such marks"],
    }[settings["change"]]
    how = settings["train"]
    parts.append(f"by the {how['distance']} distance")
    if how["adversarial"]:
        parts.append("with a discriminator")
    if how["flips"]:
        parts.append("half of the pairs mirrored")
    if settings["tune_epochs"]:
        parts.append(f"then {settings['tune_epochs']} epochs on clean pairs")
    return ", ".join(parts)


def _pictures(path: pathlib.Path) -> list[tuple[str, str, str]]:
    """Return outputs, marked ones, and their differences, as data URIs."""
    if not path.exists():
        return []
    with html.naming_damage(path):
        arrays = _files.read_npz(path.read_bytes())
        pairs = zip(arrays["outputs"], arrays["marked"], strict=True)
        return [
            (png_uri(output), png_uri(marked), png_uri(difference(output, marked)))
            for output, marked in list(pairs)[:_MOST_PICTURES]
        ]


def difference(output: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """Return the difference of two uint8 images times ten, about grey."""
    shown = 128.0 + _TIMES * (marked.astype(np.float64) - output)
    return np.clip(shown, 0, 255).astype(np.uint8)
