"""What each mark pays in visibility for its evidence: table and figure of docs/visibility.md.

    python -m benchmarks.frontier

Trains nothing: reads results/frontier_<set>/seed*.json of experiments/frontier.py, and
results/visibility.json. Writes results/frontier.json, docs/figures/frontier.* and the page.

* Bits per photo: -log2 of the exact p, divided by the number of photos. A p that is uniform on
  [0, 1] has 1.44 bits on average, so 50 photos without any evidence have .03 bits each.
* d: by how much a photo's score is raised at its own slot, in deviations of its other scores;
  the median over seeds, as in the effects of `anw plan`.
* Photos: the fewest with which p reaches a level in 90 % of audits, by the model of `anw plan`
  and that d (`audit.estimate`). It holds for models and trainings like the measured ones.
"""

import argparse
import functools
import json
import math
import pathlib
import statistics
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anw_jax import audit
from anw_jax.audit.estimate import effect_of
from anw_jax.marks.named import strength_of
from anw_jax.report import style
from benchmarks import _measure, visibility
from experiments import frontier

TITLES = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "tiny12": "Tiny ImageNet, 12 classes",
}
FULL_SIZE = "scikit_image"
LEVELS, POWER, MOST_PHOTOS = (1e-3, 1e-6), 0.9, 2000
PAGE, FIGURES = visibility.PAGE, visibility.FIGURES
BEGIN, END = "<!-- frontier: begin -->", "<!-- frontier: end -->"
HEAD = (
    "mark",
    "median ΔE00",
    "full-size photos",
    "bits per photo",
    "log10 p, median (worst)",
    *(f"photos for p ≤ {level:g}" for level in LEVELS),
)
NOT_RUN, NO_NUMBER = "not yet run", "–"

# Okabe and Ito's colours without yellow.
_COLOURS = {
    "light": "#0072b2",
    "light+tint": "#56b4e9",
    "tone": "#009e73",
    "tint": "#e69f00",
    "hue_limited": "#cc79a7",
    "hue": "#d55e00",
    "private_basis": "#5d666f",
}
_LOWEST_BITS = 0.01
# Inches.
_LEFT, _PANEL, _LEGEND, _HEIGHT = 0.65, 2.3, 1.35, 2.9

Rows = dict[str, dict[str, Any]]


def label_of(mark: str, strength: float | None) -> str:
    """Return the name in `visibility.MARKS` of a mark at a strength, None for its default."""
    wanted = mark, strength_of(mark, strength)
    return next(
        label
        for label, (name, value) in visibility.MARKS.items()
        if (name, strength_of(name, value)) == wanted
    )


def measured(folder: pathlib.Path) -> dict[str, Rows]:
    """Collect what the trainings showed, by set and by name of the user.

    Args:
      folder: of the results.

    Returns:
      For each set of photos and user: "label", "ciede2000" and "ciede2000_full_size" (None
      where it is not measured or there is no mark), and a list over seeds each of "seeds",
      "log10_p", "bits_per_photo" and "effects".

    Raises:
      ValueError: a result whose user has another mark or strength than in the experiment.
    """
    file = folder / "visibility.json"
    seen = json.loads(file.read_text())["results"]["sets"] if file.exists() else {}
    return {variant: _rows_of(variant, folder, seen) for variant in frontier.VARIANTS}


def _rows_of(variant: str, folder: pathlib.Path, seen: dict[str, Any]) -> Rows:
    users = frontier.get_config(variant)["users"].to_dict()
    names = [*frontier.MARKS, *sorted(set(users) - set(frontier.MARKS))]
    labels = {name: name for name in names}
    labels |= {name: label_of(*mark) for name, mark in frontier.MARKS.items()}
    rows = {name: _row_of(variant, labels[name], seen) for name in names}
    files = (folder / f"frontier_{variant}").glob("seed*.json")
    runs = {file.name: json.loads(file.read_text()) for file in files}
    for file, run in sorted(runs.items(), key=lambda each: each[1]["seed"]):
        for name, row in rows.items():
            _check_user(f"frontier_{variant}/{file}", name, run["settings"], users[name])
            _add_seed(row, run, run["users"][name])
    return rows


def _row_of(variant: str, label: str, seen: dict[str, Any]) -> dict[str, Any]:
    """Return a row without results; no figure of visibility belongs to a control."""
    median_in = {name: found.get(label, {}).get("median") for name, found in seen.items()}
    return {
        "label": label,
        "ciede2000": median_in.get(variant),
        "ciede2000_full_size": median_in.get(FULL_SIZE),
        **{name: [] for name in ("seeds", "log10_p", "bits_per_photo", "effects")},
    }


def _add_seed(row: dict[str, Any], run: dict[str, Any], found: dict[str, Any]) -> None:
    num_valid = run["settings"]["verify"]["num_slots"] - 1
    bits = abs(found["log10_p"]) * math.log2(10) / found["num_images"]
    row["seeds"].append(run["seed"])
    row["log10_p"].append(round(found["log10_p"], 4))
    row["bits_per_photo"].append(round(bits, 5))
    row["effects"].append(round(effect_of(found["z"], found["num_units"], num_valid), 4))


def _check_user(file: str, name: str, settings: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raise ValueError if a run's user has another mark than that of the experiment."""
    user = settings["users"].get(name)
    found = None if user is None else _mark_of(user)
    if found != _mark_of(wanted):
        raise ValueError(f"{file}: {name} must have the mark {_mark_of(wanted)}, got {found}")


def _mark_of(user: dict[str, Any]) -> tuple[str, float | None]:
    return user["mark"], strength_of(user["mark"], user.get("strength"))


def photos_needed(effects: list[float]) -> dict[str, int | None]:
    """Return the photos for each of `LEVELS` with power .9; None above 2,000 or without effect.

    Example:
      >>> photos_needed([3.0, 3.2, 3.4])
      {'0.001': 4, '1e-06': 7}
      >>> photos_needed([-0.2, 0.1])
      {'0.001': None, '1e-06': None}
    """
    effect = statistics.median(effects)
    found: dict[str, int | None] = dict.fromkeys(f"{level:g}" for level in LEVELS)
    for level in LEVELS if effect > 0 else ():
        plan = audit.estimate(
            effect=effect, alpha=level, power=POWER, max_units=MOST_PHOTOS, augmentations=16
        )
        found[f"{level:g}"] = plan["num_units"]
        if plan["num_units"] is None:
            break
    return found


def with_photos(sets: dict[str, Rows]) -> dict[str, Rows]:
    """Add "photos" to the rows of marks that were trained."""
    for rows in sets.values():
        for row in rows.values():
            if row["seeds"] and _is_mark(row):
                row["photos"] = photos_needed(row["effects"])
    return sets


def _is_mark(row: dict[str, Any]) -> bool:
    return row["label"] in visibility.MARKS


def markdown(sets: dict[str, Rows]) -> str:
    """Format one table for each set."""
    lines = []
    for variant, rows in sets.items():
        num_seeds = len(next(iter(rows.values()))["seeds"])
        seeds = f"{num_seeds} seed{'s' * (num_seeds > 1)}" if num_seeds else NOT_RUN
        lines += [f"{TITLES[variant]}, {seeds}:", ""]
        lines += [_line(HEAD), _line(["---"] * len(HEAD))]
        lines += [_line(_cells(row)) for row in rows.values()]
        lines.append("")
    return "\n".join(lines)


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(row: dict[str, Any]) -> list[str]:
    seen = [row["ciede2000"], row["ciede2000_full_size"]]
    cells = [row["label"], *(NO_NUMBER if value is None else f"{value:.2f}" for value in seen)]
    if not row["seeds"]:
        return [*cells, NOT_RUN, *[NO_NUMBER] * (1 + len(LEVELS))]
    bits, log10_p = row["bits_per_photo"], row["log10_p"]
    spread = f" ± {statistics.stdev(bits):.3f}" if len(bits) > 1 else ""
    # The worst p of a mark is its largest; that of a control, which has none, its smallest.
    worst = max(log10_p) if _is_mark(row) else min(log10_p)
    cells += [f"{statistics.mean(bits):.3f}{spread}"]
    cells += [f"{statistics.median(log10_p):.1f} ({worst:.1f})".replace("-", "−")]
    if not _is_mark(row):
        return cells + [NO_NUMBER] * len(LEVELS)
    return cells + [f"> {MOST_PHOTOS:,}" if n is None else f"{n:,}" for n in _photos(row)]


def _photos(row: dict[str, Any]) -> list[int | None]:
    return [row["photos"][f"{level:g}"] for level in LEVELS]


def updated(page: str, sets: dict[str, Rows]) -> str:
    """Return docs/visibility.md with table and figure between its two marks."""
    parts = [markdown(sets).strip()]
    if drawn(sets):
        parts.insert(0, "![Bits of evidence per photo against CIEDE2000](figures/frontier.png)")
    before, rest = page.split(BEGIN)
    return "\n\n".join([before + BEGIN, *parts, END]) + rest.split(END)[1]


def drawn(sets: dict[str, Rows]) -> dict[str, Rows]:
    """Return the sets and marks that have both results and a measured visibility."""
    shown = {
        variant: {
            name: row
            for name, row in rows.items()
            if row["seeds"] and row["ciede2000"] is not None
        }
        for variant, rows in sets.items()
    }
    return {variant: rows for variant, rows in shown.items() if rows}


def columns(sets: dict[str, Rows]) -> dict[str, list[Any]]:
    """Return the numbers of the figure as columns, for a CSV file."""
    points = [(variant, row) for variant, rows in drawn(sets).items() for row in rows.values()]
    bits = [row["bits_per_photo"] for _, row in points]
    return {
        "set": [variant for variant, _ in points],
        "mark": [row["label"] for _, row in points],
        "median_ciede2000": [row["ciede2000"] for _, row in points],
        "mean_bits_per_photo": [statistics.mean(each) for each in bits],
        "std": [statistics.stdev(each) if len(each) > 1 else 0.0 for each in bits],
        "num_seeds": [len(each) for each in bits],
    }


def draw(sets: dict[str, Rows], theme: style.Theme) -> Figure:
    """Draw a panel for each set: every seed as a dot, the mean over seeds as a large one."""
    shown = drawn(sets)
    width = _LEFT + _PANEL * len(shown) + _LEGEND
    figure = Figure(figsize=(width, _HEIGHT))
    marks = [row for rows in shown.values() for row in rows.values()]
    highest = max(max(row["bits_per_photo"]) for row in marks)
    for place, (variant, rows) in enumerate(shown.items()):
        left = (_LEFT + _PANEL * place) / width
        axes = figure.add_axes((left, 0.19, (_PANEL - 0.15) / width, 0.7))
        axes.set_title(TITLES[variant])
        _draw_axes(axes, theme, highest, is_first=place == 0)
        controls = [
            row["bits_per_photo"] for row in sets[variant].values() if not _is_mark(row)
        ]
        level = statistics.mean(bits for each in controls for bits in each)
        axes.axhline(level, color=theme.muted, ls=":", lw=1.2, label="controls")
        _draw_points(axes, rows)
    axes.legend(loc="upper left", bbox_to_anchor=(1.03, 1.02), borderaxespad=0.0)
    return figure


def _draw_axes(axes: Axes, theme: style.Theme, highest: float, *, is_first: bool) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(1.0, 50.0)
    top = 1.5 * max(highest, 10 * _LOWEST_BITS)
    axes.set_ylim(_LOWEST_BITS, top)
    # A tick beyond the limits would move them.
    across, up = (
        [1, 2, 5, 10, 20, 50],
        [tick for tick in (0.01, 0.03, 0.1, 0.3, 1) if tick < top],
    )
    axes.set_xticks(across, [f"{tick:g}" for tick in across])
    axes.set_yticks(up, [f"{tick:g}" if is_first else "" for tick in up])
    axes.set_yticks([], minor=True)
    axes.set_xticks([], minor=True)
    axes.set_axisbelow(True)
    axes.grid(color=theme.faint, linewidth=0.5, alpha=0.6)
    axes.set_xlabel("median CIEDE2000")
    if is_first:
        axes.set_ylabel("bits of evidence per photo")


def _draw_points(axes: Axes, rows: Rows) -> None:
    """Draw the marks; strengths of one mark are joined by a line."""
    for name, colour in _COLOURS.items():
        own = [row for row in rows.values() if visibility.MARKS[row["label"]][0] == name]
        own.sort(key=lambda row: row["ciede2000"])
        for row in own:
            bits = np.maximum(row["bits_per_photo"], _LOWEST_BITS)
            look = {"color": colour, "markersize": 2.6, "alpha": 0.5, "clip_on": False}
            axes.plot([row["ciede2000"]] * len(bits), bits, "o", **look)
        seen = [row["ciede2000"] for row in own]
        means = [max(statistics.mean(row["bits_per_photo"]), _LOWEST_BITS) for row in own]
        if own:
            axes.plot(seen, means, "o-", color=colour, lw=1.2, markersize=6.0, label=name)


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    folder = _measure.RESULTS.parent
    sets = with_photos(measured(folder))
    print(markdown(sets))
    _measure.write("frontier", {"sets": sets}, folder)
    if drawn(sets):
        draw_sets = functools.partial(draw, sets)
        style.write_figure(FIGURES, "frontier", draw_sets, columns(sets))
    PAGE.write_text(updated(PAGE.read_text(), sets))


if __name__ == "__main__":
    main()
