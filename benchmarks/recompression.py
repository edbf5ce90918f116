"""What uploads leave of the evidence: the table of docs/owner.md.

    python -m benchmarks.recompression

Trains nothing: reads results/recompression/seed*.json of experiments/recompression.py.
"""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from anw_jax.lab.recompression import kept_of

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE, RESULTS = ROOT / "docs" / "owner.md", ROOT / "results" / "recompression"
BEGIN, END = "<!-- recompression: begin -->", "<!-- recompression: end -->"
WORDS = {
    "jpeg75": "JPEG, quality 75",
    "jpeg50": "JPEG, quality 50",
    "half_size": "half size",
    "webp": "PNG to WebP, quality 80",
    "display_p3": "sRGB to Display P3, read without its profile",
}


def table(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the table in Markdown, one row for each change.

    Args:
      runs: results of the seeds, maybe none.
    """
    found = kept_of(runs) if runs else {}
    lines = ["| what a site does | evidence kept | log10 p, median |", "|---|---|---|"]
    for name, words in WORDS.items():
        cell = found.get(name)
        kept = "not yet measured | –" if cell is None else _cells(cell)
        lines.append(f"| {words} | {kept} |")
    if found:
        seeds = ", ".join(str(run["seed"]) for run in runs)
        lines += ["", f"Without any change: {found['none']['log10_p']:.1f}. Seeds: {seeds}."]
    return "\n".join(lines)


def _cells(cell: Mapping[str, float]) -> str:
    return f"{cell['kept']:.0%} | {cell['log10_p']:.1f}"


def updated(page: str, runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the page with the table between its two marks."""
    before, rest = page.split(BEGIN)
    return "\n\n".join([before + BEGIN, table(runs), END]) + rest.split(END)[1]


def main() -> None:
    """Write the table, and print it."""
    files = sorted(RESULTS.glob("seed*.json"))
    runs = [json.loads(file.read_text()) for file in files]
    PAGE.write_text(updated(PAGE.read_text(), runs))
    print(table(runs))


if __name__ == "__main__":
    main()
