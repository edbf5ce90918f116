"""Write the table of watermarks in models against attacks, from committed results.

    python -m tools.schemes_table

Writes `results/schemes_attacks.json` and the table in `docs/model_watermarks.md`. Each entry of
`SYSTEMS` is a row; its runs are `results/EXPERIMENT/seed*.json` with `marks`, `controls` and
`provenance` as `lab.multitask.measure` returns them. A system without results says so.
"""

import json
import math
import pathlib
import statistics
from typing import Any, NamedTuple

import scipy.stats

from anw_jax import stats

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
DOCUMENT = ROOT / "docs" / "model_watermarks.md"
BEGIN, END = "<!-- schemes_table: begin -->", "<!-- schemes_table: end -->"
NOT_RUN = "not yet run"

# Innocent networks may fall below this p about as often as it says, and no more.
_LEVEL = 0.05


class System(NamedTuple):
    """A row of the table: a name, the folder of its runs, and the marked network in them."""

    name: str
    experiment: str
    mark: str


SYSTEMS = (
    System("multi-task, fixed projection", "multitask_quick", "projection"),
    System("multi-task, trained branch", "multitask_quick", "branch"),
)


def summary(results: pathlib.Path, systems: tuple[System, ...] = SYSTEMS) -> dict[str, Any]:
    """Summarise all runs: a row for each system, and the controls of all experiments."""
    runs = {
        one.experiment: [
            json.loads(path.read_text())
            for path in sorted((results / one.experiment).glob("seed*.json"))
        ]
        for one in systems
    }
    return {
        "rows": [_row(one, runs[one.experiment]) for one in systems],
        "controls": _controls([run for found in runs.values() for run in found]),
    }


def _row(system: System, runs: list[dict[str, Any]]) -> dict[str, Any]:
    attacks = dict.fromkeys(attack for run in runs for attack in run["marks"][system.mark])
    drops = [
        run["clean_accuracy"] - run["marks"][system.mark]["none"]["test_accuracy"]
        for run in runs
    ]
    return {
        **system._asdict(),
        "seeds": [run["seed"] for run in runs],
        "commits": sorted({run["provenance"]["commit"] for run in runs}),
        "commands": sorted({run["provenance"]["command"] for run in runs}),
        "hours": [round(sum(run["stage_seconds"].values()) / 3600, 3) for run in runs],
        "drop_in_points": _mean_and_std([100 * drop for drop in drops]),
        "attacks": {
            attack: _cell([run["marks"][system.mark][attack] for run in runs])
            for attack in attacks
        },
    }


def _cell(reads: list[dict[str, Any]]) -> dict[str, Any]:
    """Summarise one system after one attack over seeds; of several keys the weakest counts."""
    cell = {"test_accuracy": _mean_and_std([read["test_accuracy"] for read in reads])}
    if "keys" in reads[0]:
        worst = [max(read["keys"], key=lambda key: key["log10_p"]) for read in reads]
        return cell | {
            "watermark_accuracy": _mean_and_std([one["watermark_accuracy"] for one in worst]),
            "largest_log10_p": max(one["log10_p"] for one in worst),
            "shown": sum(one["outcome"] == "shown" for one in worst),
        }
    known = [
        one["watermark_accuracy"] for one in reads if one["watermark_accuracy"] is not None
    ]
    return cell | {
        "watermark_accuracy": _mean_and_std(known),
        "largest_log10_p": None,
        "shown": sum(read["passes"] for read in reads),
    }


def _controls(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Count innocent networks below the level, and the most that chance allows at .999."""
    reads = [read for run in runs for found in run["controls"].values() for read in found]
    low = sum(read["log10_p"] <= math.log10(_LEVEL) for read in reads)
    allowed = int(scipy.stats.binom.ppf(0.999, len(reads), _LEVEL)) if reads else 0
    return {
        "cells": len(reads),
        "level": _LEVEL,
        "below": low,
        "allowed": allowed,
        "shown": sum(read["outcome"] == "shown" for read in reads),
    }


def _mean_and_std(values: list[float]) -> list[float | None] | None:
    if not values:
        return None
    spread = statistics.stdev(values) if len(values) > 1 else None
    return [statistics.fmean(values), spread]


def table(found: dict[str, Any]) -> str:
    """Return the Markdown table of a summary, and what it rests on."""
    attacks = dict.fromkeys(name for row in found["rows"] for name in row["attacks"])
    head = ["system", "seeds", "cost in points", *attacks]
    lines = [_line(head), _line(["---"] * len(head))]
    notes = []
    for row in found["rows"]:
        if not row["seeds"]:
            lines.append(_line([row["name"], "0", NOT_RUN, *[NOT_RUN] * len(attacks)]))
            continue
        num = len(row["seeds"])
        cells = [_cell_text(row["attacks"].get(name), num) for name in attacks]
        lines.append(
            _line([row["name"], str(num), _plus_minus(row["drop_in_points"], 1, 1), *cells])
        )
        commits = ", ".join(commit[:10] for commit in row["commits"])
        notes.append(
            f"{row['name']}: `{'`, `'.join(row['commands'])}`; commit {commits}; "
            f"{_plus_minus(_mean_and_std(row['hours']), 60, 0)} minutes a seed."
        )
    controls = found["controls"]
    if controls["cells"]:
        notes.append(
            f"Innocent networks: {controls['below']} of {controls['cells']} readings at p ≤ "
            f"{controls['level']:g} (chance allows {controls['allowed']} at .999), "
            f"{controls['shown']} shown."
        )
    return "\n".join([*lines, "", *(f"* {note}" for note in dict.fromkeys(notes))]) + "\n"


def _cell_text(cell: dict[str, Any] | None, num: int) -> str:
    if cell is None:
        return NOT_RUN
    read = "unread"
    if cell["watermark_accuracy"] is not None:
        read = f"{_plus_minus(cell['watermark_accuracy'], 100, 1)} %"
    if cell["largest_log10_p"] is None:
        return f"{read}, γ passed {cell['shown']} of {num}"
    return (
        f"{read}, p ≤ {stats.format_p(cell['largest_log10_p'])}, shown {cell['shown']} of {num}"
    )


def _plus_minus(values: list[float | None], factor: float, digits: int) -> str:
    mean, spread = values
    text = f"{factor * mean:.{digits}f}"
    return text if spread is None else f"{text} ± {factor * spread:.{digits}f}"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def written(document: str, new: str) -> str:
    """Return a document with the table between its two marks replaced."""
    before, rest = document.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{new}{END}{after}"


def main() -> None:
    """Write both files."""
    found = summary(RESULTS)
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    (RESULTS / "schemes_attacks.json").write_text(text, encoding="utf-8")
    document = written(DOCUMENT.read_text(encoding="utf-8"), table(found))
    DOCUMENT.write_text(document, encoding="utf-8")


if __name__ == "__main__":
    main()
