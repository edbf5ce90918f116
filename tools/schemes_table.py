"""Write the table of watermarks in models against attacks, from committed results.

    python -m tools.schemes_table

Writes `results/schemes_attacks.json` and the table in `docs/model_watermarks.md`. Each entry of
`SYSTEMS` is a system; its runs are `results/EXPERIMENT/seed*.json`. A system without results
says so.
"""

import json
import math
import pathlib
import statistics
from collections.abc import Callable
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

# The paper of the trained extractor names no share of outputs that suffices.
_MOST_OUTPUTS = 0.5

_HEAD = ("system", "attack", "seeds", "read correctly", "largest p", "found", "quality")


class Cell(NamedTuple):
    """What was read from one suspect of one run.

    Attributes:
      right: share of the bits or inputs that were read correctly; None if unread.
      log10_p: of the weakest key; None where there is no single p.
      found: whether the test is shown, the rule passed, or a guilty customer named.
      quality: of the suspect at its own task: accuracy in percent, or PSNR in dB.
    """

    right: float | None
    log10_p: float | None
    found: bool
    quality: float


class Reading(NamedTuple):
    """What one run says of a system.

    Attributes:
      cells: suspects by attack.
      innocents: log10 p of innocent suspects.
      wrong_keys: by suspect, for each reading whether p under wrong keys were super-uniform.
    """

    cells: dict[str, Cell]
    innocents: list[float]
    wrong_keys: dict[str, list[bool]]


class System(NamedTuple):
    """A system of the table, and how one run of it is read.

    Attributes:
      name: as it stands in the table.
      experiments: folders of its runs. The others add attacks to the networks of the first, so
        what several hold, innocent suspects too, is that of the first.
      read: a run.
    """

    name: str
    experiments: tuple[str, ...]
    read: Callable[[dict[str, Any]], Reading]


def read_multitask(mark: str) -> Callable[[dict[str, Any]], Reading]:
    """Return the reader of one marked network in runs of `lab.multitask`."""

    def read(run: dict[str, Any]) -> Reading:
        rows = run["marks"][mark]
        cells = {attack: _multitask(one) for attack, one in rows.items()}
        read_keys = {attack: row.get("keys", []) for attack, row in rows.items()}
        controls = [one for found in run["controls"].values() for one in found]
        innocents = controls if mark == "projection" else []
        wrong_keys = {
            name: [one["wrong_keys_super_uniform"] for one in found]
            for name, found in (read_keys | {"innocents": innocents}).items()
        }
        return Reading(cells, [one["log10_p"] for one in innocents], wrong_keys)

    return read


def _multitask(numbers: dict[str, Any]) -> Cell:
    quality = 100 * numbers["test_accuracy"]
    if "keys" not in numbers:
        return Cell(numbers["watermark_accuracy"], None, numbers["passes"], quality)
    worst = max(numbers["keys"], key=lambda key: key["log10_p"])
    is_shown = worst["outcome"] == "shown"
    return Cell(worst["watermark_accuracy"], worst["log10_p"], is_shown, quality)


def read_barrier(run: dict[str, Any]) -> Reading:
    """Read a run of `lab.barrier`: copies of stolen outputs, and innocent ones."""
    settings, cells, innocents, wrong_keys = run["settings"], {}, [], {}
    num_bits = sum(settings["bits"].values())
    for name, row in run["copies"].items():
        one = row["all_queries"]
        wrong_keys[name] = [one["wrong_keys_super_uniform"]]
        if settings["copies"][name]["pairs"] != "stolen":
            innocents.append(one["log10_p"])
            continue
        right = one["num_right"] / num_bits
        cells[name] = Cell(right, one["log10_p"], one["outcome"] == "shown", row["psnr"])
    return Reading(cells, innocents, wrong_keys)


def read_pictures(run: dict[str, Any]) -> Reading:
    """Read a run of `lab.pictures`; found: NC > .95 in most outputs. Such a rule has no p."""
    cells = {}
    for name, row in run["copies"].items():
        share = row["stage_2"]["success_rate"]
        if run["settings"]["copies"][name]["pairs"] == "stolen":
            cells[name] = Cell(share, None, share > _MOST_OUTPUTS, row["psnr"])
    return Reading(cells, [], {})


def read_fingerprint(run: dict[str, Any]) -> Reading:
    """Read a run of `lab.fingerprint`; found: a guilty customer is named, and no other."""
    cells = {}
    for name, row in run["suspects"].items():
        is_found = all(
            set(one["named"]) & set(one["colluders"]) and not one["innocents_named"]
            for one in (row, *row.get("more", ()))
        )
        shares = [right / run["settings"]["num_bits"] for right in row["right_bits"].values()]
        cells[name] = Cell(
            max(shares, default=None), None, is_found, 100 * row["test_accuracy"]
        )
    return Reading(cells, [], {})


_ON_QUICK = ("multitask_quick", "multitask_quick_overwrites", "multitask_quick_attacks")
_WITHOUT_DRIFT = ("multitask_quick_without_drift",)
_WITHOUT_TUNING = ("multitask_quick_without_tuning",)
SYSTEMS = (
    System(
        "multi-task, fixed projection",
        _ON_QUICK,
        read_multitask("projection"),
    ),
    System(
        "multi-task, fixed projection, without R_func",
        _WITHOUT_DRIFT,
        read_multitask("projection_without_drift"),
    ),
    System(
        "multi-task, fixed projection, without R_DA",
        _WITHOUT_TUNING,
        read_multitask("projection_without_tuning"),
    ),
    System(
        "multi-task, trained branch (γ)",
        _ON_QUICK,
        read_multitask("branch"),
    ),
    System(
        "multi-task, trained branch (γ), without R_func",
        _WITHOUT_DRIFT,
        read_multitask("branch_without_drift"),
    ),
    System(
        "multi-task, trained branch (γ), without R_DA",
        _WITHOUT_TUNING,
        read_multitask("branch_without_tuning"),
    ),
    System("keyed filter in outputs", ("barrier_quick",), read_barrier),
    System("keyed filter in outputs, second task", ("barrier_derain_quick",), read_barrier),
    System("keyed filter in outputs of a network", ("barrier",), read_barrier),
    System(
        "picture in outputs, trained extractor (NC)", ("barrier_paper_quick",), read_pictures
    ),
    System(
        "picture in outputs of a network, trained extractor (NC)",
        ("barrier_paper",),
        read_pictures,
    ),
    System("fingerprints of customers", ("fingerprint_quick",), read_fingerprint),
)


def summary(results: pathlib.Path, systems: tuple[System, ...] = SYSTEMS) -> dict[str, Any]:
    """Summarise all runs: each system's attacks over seeds, and all innocent suspects."""
    rows, innocents, wrong_keys = [], [], []
    for system in systems:
        runs, cells = [], {}
        for number, experiment in enumerate(system.experiments):
            found = _runs(results / experiment)
            readings = [system.read(run) for run in found]
            if number == 0:
                innocents += [log10_p for one in readings for log10_p in one.innocents]
            wrong_keys += [
                is_uniform
                for reading in readings
                for name, found_keys in reading.wrong_keys.items()
                for is_uniform in found_keys
                if number == 0 or name not in (*cells, "innocents")
            ]
            runs += found
            for attack, found_cells in _by_attack(readings).items():
                cells.setdefault(attack, found_cells)
        rows.append(
            {
                "system": system.name,
                "experiments": list(system.experiments),
                "seeds": sorted({run["seed"] for run in runs}),
                "commits": sorted({run["provenance"]["commit"] for run in runs}),
                "commands": sorted({run["provenance"]["command"] for run in runs}),
                "minutes": [round(sum(run["stage_seconds"].values()) / 60, 1) for run in runs],
                "attacks": {name: _over_seeds(cells[name]) for name in cells},
            }
        )
    return {
        "rows": rows,
        "innocents": _against_band(innocents),
        "wrong_keys": {"cells": len(wrong_keys), "super_uniform": sum(wrong_keys)},
    }


def _runs(folder: pathlib.Path) -> list[dict[str, Any]]:
    return [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("seed*.json"))
    ]


def _by_attack(readings: list[Reading]) -> dict[str, list[Cell]]:
    found = {}
    for one in readings:
        for name, cell in one.cells.items():
            found.setdefault(name, []).append(cell)
    return found


def _over_seeds(cells: list[Cell]) -> dict[str, Any]:
    logs = [cell.log10_p for cell in cells if cell.log10_p is not None]
    return {
        "seeds": len(cells),
        "right": _mean_and_std([cell.right for cell in cells if cell.right is not None]),
        "largest_log10_p": max(logs, default=None),
        "found": sum(cell.found for cell in cells),
        "quality": _mean_and_std([cell.quality for cell in cells]),
    }


def _against_band(logs: list[float]) -> dict[str, Any]:
    """Count innocent suspects at or below the level, and what chance allows at .999."""
    allowed = int(scipy.stats.binom.ppf(0.999, len(logs), _LEVEL)) if logs else 0
    below = sum(log10_p <= math.log10(_LEVEL) for log10_p in logs)
    return {"cells": len(logs), "level": _LEVEL, "below": below, "allowed": allowed}


def _mean_and_std(values: list[float]) -> list[float | None] | None:
    if not values:
        return None
    return [statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None]


def table(found: dict[str, Any]) -> str:
    """Return the Markdown table of a summary, and what it rests on."""
    lines, notes = [_line(_HEAD), _line(["---"] * len(_HEAD))], []
    for row in found["rows"]:
        if not row["seeds"]:
            lines.append(_line([row["system"], NOT_RUN, "0", "", "", "", ""]))
            continue
        lines += [_line(_texts(row["system"], *one)) for one in row["attacks"].items()]
        commits = ", ".join(commit[:10] for commit in row["commits"])
        notes.append(
            f"* {row['system']}: {_commands(row['commands'])}; commit {commits}; "
            f"{_plus_minus(_mean_and_std(row['minutes']), 1, 0)} minutes a run."
        )
    band = found["innocents"]
    if band["cells"]:
        notes.append(
            f"* Innocent suspects: {band['below']} of {band['cells']} readings at p ≤ "
            f"{band['level']:g}; chance allows {band['allowed']} (binomial, .999)."
        )
    wrong = found["wrong_keys"]
    if wrong["cells"]:
        notes.append(
            f"* Wrong keys: in {wrong['super_uniform']} of {wrong['cells']} readings p under "
            "2,000 (marks in outputs) or 10,000 wrong keys is small no oftener than it says."
        )
    return "\n".join([*lines, "", *notes]) + "\n"


def _commands(commands: list[str]) -> str:
    """Return each command once, with all its seeds."""
    seeds: dict[str, list[str]] = {}
    for command in commands:
        first, _, seed = command.partition(" --config.seed=")
        seeds.setdefault(first, []).extend([seed] if seed else [])
    return ", ".join(
        f"`{first}{' --config.seed=' * bool(found)}{', '.join(found)}`"
        for first, found in seeds.items()
    )


def _texts(system: str, attack: str, cell: dict[str, Any]) -> list[str]:
    largest = cell["largest_log10_p"]
    return [
        system,
        attack,
        str(cell["seeds"]),
        "–" if cell["right"] is None else f"{_plus_minus(cell['right'], 100, 1)} %",
        "–" if largest is None else stats.format_p(largest),
        f"{cell['found']} of {cell['seeds']}",
        _plus_minus(cell["quality"], 1, 1),
    ]


def _plus_minus(values: list[float | None], factor: float, digits: int) -> str:
    mean, spread = values
    text = f"{factor * mean:.{digits}f}"
    return text if spread is None else f"{text} ± {factor * spread:.{digits}f}"


def _line(cells: Any) -> str:
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
