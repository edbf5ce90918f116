"""What uploads leave of the evidence: the table of docs/owner.md.

    python -m benchmarks.recompression              # the table
    python -m benchmarks.recompression --shares     # first, its last column

Trains nothing: reads results/recompression/seed*.json of experiments/recompression.py. The
last column needs no training: what a change leaves of the mark in the pixels, at the size of
the learner's images, median over NUM_PHOTOS of the experiment's photos ($FLOWERS17). It goes to
results/recompression.json.
"""

import argparse
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from anw_jax import data
from anw_jax.attacks.uploads import CHANGES
from anw_jax.keys import MarkKey, SignatureSpace
from anw_jax.lab import settings_from_config
from anw_jax.lab.recompression import kept_of, share_of_mark
from anw_jax.marks import make_mark
from benchmarks import _measure
from experiments import recompression

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE, RESULTS = ROOT / "docs" / "owner.md", ROOT / "results" / "recompression"
SHARES = ROOT / "results" / "recompression.json"
BEGIN, END = "<!-- recompression: begin -->", "<!-- recompression: end -->"
NUM_PHOTOS = 24
WORDS = {
    "jpeg75": "JPEG, quality 75",
    "jpeg50": "JPEG, quality 50",
    "half_size": "half size",
    "webp": "PNG to WebP, quality 80",
    "display_p3": "sRGB to Display P3, read without its profile",
}


def shares_left() -> dict[str, float]:
    """Return the median share of the mark that each change leaves."""
    settings = settings_from_config(recompression.get_config())
    files, space = data.list_photos(os.path.expandvars(settings.folder)), SignatureSpace()
    mark = make_mark("light", MarkKey.for_experiment(0, "recompression"), space.num_slots)
    rng = np.random.default_rng(0)
    found: dict[str, list[float]] = {name: [] for name in WORDS}
    for row in np.linspace(0, len(files) - 1, NUM_PHOTOS).astype(int):
        photo, slot = data.read_photo(files[row]), int(rng.integers(1, space.num_slots))
        for name, shares in found.items():
            how = space.degrees[slot], CHANGES[name], settings.image_size
            shares.append(share_of_mark(mark, photo, *how))
    return {name: float(np.median(shares)) for name, shares in found.items()}


def table(runs: Sequence[Mapping[str, Any]], shares: Mapping[str, float]) -> str:
    """Return the table in Markdown, one row for each change.

    Args:
      runs: results of the seeds, maybe none.
      shares: of `shares_left`, or empty.
    """
    found = kept_of(runs) if runs else {}
    lines = [
        "| what a site does | evidence kept | log10 p, median (range) | left at 64 px |",
        "|---|---|---|---|",
    ]
    for name, words in WORDS.items():
        cell = found.get(name)
        kept = "not yet measured | –" if cell is None else _cells(cell)
        left = f"{shares[name]:.2f}" if name in shares else "–"
        lines.append(f"| {words} | {kept} | {left} |")
    if found:
        seeds = ", ".join(str(run["seed"]) for run in runs)
        lines += ["", f"Without any change: {_log10_p(found['none'])}. Seeds: {seeds}."]
    return "\n".join(lines)


def _cells(cell: Mapping[str, float]) -> str:
    return f"{cell['kept']:.0%} | {_log10_p(cell)}"


def _log10_p(cell: Mapping[str, float]) -> str:
    return f"{cell['log10_p']:.1f} ({cell['worst']:.1f} to {cell['best']:.1f})"


def updated(page: str, runs: Sequence[Mapping[str, Any]], shares: Mapping[str, float]) -> str:
    """Return the page with the table between its two marks."""
    before, rest = page.split(BEGIN)
    return "\n\n".join([before + BEGIN, table(runs, shares), END]) + rest.split(END)[1]


def main() -> None:
    """Write the table, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shares", action="store_true", help="measure the last column")
    if parser.parse_args().shares:
        left = {"num_photos": NUM_PHOTOS, "left": shares_left()}
        _measure.write("recompression", left, SHARES.parent)
    runs = [json.loads(file.read_text()) for file in sorted(RESULTS.glob("seed*.json"))]
    shares = json.loads(SHARES.read_text())["results"]["left"] if SHARES.exists() else {}
    PAGE.write_text(updated(PAGE.read_text(), runs, shares))
    print(table(runs, shares))


if __name__ == "__main__":
    main()
