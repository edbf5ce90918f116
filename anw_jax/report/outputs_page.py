"""The page of a run with marked outputs: which models were trained on them, and how sure?

It shows what is served, and what was read from each copy: with the test on all queries and on
few of them. It reads `results.json` and `examples.npz`, never a key.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from anw_jax import _files, stats
from anw_jax.report import html, style, words
from anw_jax.report.photos import png_uri
from anw_jax.report.style import Drawing, Theme, publish_figure
from anw_jax.schemes import barrier

EXAMPLES = "examples.npz"

_MOST_PICTURES = 6
_MOST_CHARTS = 12

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
      bits: float `[num_bits]`, what was read of each bit, as a share of what is served;
        below 0 where it is wrong.
      every: the reading from all queries.
      few: the reading from the first ones.
    """

    name: str
    made_from: str
    is_innocent: bool
    psnr: float
    bits: np.ndarray
    every: Reading
    few: Reading

    @property
    def kept(self) -> float:
        """Median share of the mark that it has kept."""
        return float(np.median(self.bits))


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
    thieves, innocents = (
        [copy for copy in copies if copy.is_innocent == is_innocent]
        for is_innocent in (False, True)
    )
    families = barrier.check_bits(settings["bits"])
    drawn = [*thieves[:_MOST_CHARTS], *innocents[:1]]
    return {
        "settings": settings,
        "num_bits": sum(settings["bits"].values()),
        "thieves": thieves,
        "innocents": innocents,
        "charts": [_chart(copy, families, folder / "figures") for copy in drawn],
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
        np.array(row["all_queries"]["kept"], np.float64),
        *readings,
    )


_LOSSES = {"l1": "L1", "l2": "L2", "perceptual": "perceptual"}


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
    parts.append(f"with the {_LOSSES[how['distance']]} loss")
    if how["adversarial"]:
        parts.append("with a discriminator")
    if how["flips"]:
        parts.append("half of the pairs mirrored")
    if settings["tune_epochs"]:
        parts.append(f"then {settings['tune_epochs']} epochs on clean pairs")
    return ", ".join(parts)


def _chart(copy: Copy, families: Mapping[str, int], folder: pathlib.Path) -> Drawing:
    """Draw what was read of each bit."""
    alt = (
        f"bits read from {copy.name}: {copy.every.num_right} of {len(copy.bits)} point as the "
        f"key says, the median at {copy.kept:.0%} of what is served."
    ).replace("%", " %")
    numbers = np.arange(len(copy.bits))
    columns = {
        "bit": numbers,
        "family": np.repeat(list(families), list(families.values())),
        "kept": copy.bits,
    }
    draw = functools.partial(bits_figure, copy, families)
    return publish_figure(folder, f"bits_{copy.name}", alt, draw, columns)


def bits_figure(copy: Copy, families: Mapping[str, int], theme: Theme) -> Figure:
    """Draw the share of the mark that was read of each bit, those that are wrong below 0.

    Args:
      copy: its bits are drawn.
      families: number of bits of each family, in the bits' order.
      theme: of the figure.
    """
    figure, axes = style.panel(3.3, 2.1, (0.55, 0.48, 0.1, 0.25))
    numbers, is_right = np.arange(len(copy.bits)), copy.bits > 0
    for chosen, colour in ((is_right, theme.signal), (~is_right, theme.alert)):
        axes.bar(numbers[chosen], copy.bits[chosen], 0.8, color=colour)
    axes.axhline(0.0, color=theme.muted, linewidth=0.8)
    axes.axhline(1.0, color=theme.faint, linewidth=1.0, linestyle="--", zorder=0)
    ends = np.cumsum([0, *families.values()])
    for end in ends[1:-1]:
        axes.axvline(end - 0.5, color=theme.faint, linewidth=1.0, zorder=0)
    axes.set_xticks((ends[1:] + ends[:-1] - 1) / 2, list(families))
    axes.set_xlim(-1.0, len(copy.bits))
    axes.set_ylim(-1.0, 2.0)  # the same for all copies
    axes.tick_params(axis="x", length=0.0)
    axes.set_ylabel("share of the mark")
    axes.set_xlabel(f"bit of {copy.name.replace('_', ' ')}")
    return figure


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
