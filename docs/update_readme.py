"""Writes the tables of results and limits of README.md from the files in results/.

Command: python docs/update_readme.py

With `--figure=WORKDIR` it also draws docs/readme.png, from a run's workdir (photos and curves)
or a folder of seed*.json (curves over the seeds, no photos). The picture that stands there has
photos: workdirs are not in the repository, so it is drawn again only when one is given.
"""

import argparse
import json
import math
import pathlib
import re
import statistics
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

# Found through the line above.
from anw_jax.report import results_table, write_readme_figure  # noqa: E402
from anw_jax.stats import format_p  # noqa: E402

_BEGIN = "<!-- results: begin (written by python docs/update_readme.py) -->"
_END = "<!-- results: end -->"
_LIMITS_BEGIN = "<!-- limits: begin (written by python docs/update_readme.py) -->"
_LIMITS_END = "<!-- limits: end -->"

_GENERATORS, _GENERATORS_CONFIG = "diffusion_quick", "experiments/diffusion.py:quick"

# Folder in results/, heading, and the settings file.
_SETS = (
    ("quickstart", "Quickstart: 40 of 1,473 photo tiles keyed", "experiments/quickstart.py"),
    (
        "cifar10_quick",
        "CIFAR-10, quick: 50 of 4,000 photos keyed, 50 at one hue",
        "experiments/cifar10.py:quick",
    ),
    (
        "light_quick",
        "CIFAR-10, quick, the owners' default mark: 375 of 4,000 photos marked",
        "experiments/light.py:quick",
    ),
    (
        "light_quick_grey",
        "The same, where the learner trains in greyscale",
        "experiments/light.py:quick_grey",
    ),
    (
        "cifar10",
        "CIFAR-10 at the paper's scale: ResNet-50, 90 epochs, for an accelerator",
        "experiments/cifar10.py",
    ),
)


def tables() -> str:
    """All tables in Markdown; a set without files says that it was not run."""
    return "\n\n".join([*(_section(*each) for each in _SETS), _generators()])


def _generators() -> str:
    """The table of fine-tuned diffusion models."""
    files = sorted((ROOT / "results" / _GENERATORS).glob("seed*.json"))
    runs = [json.loads(file.read_text()) for file in files]
    heading = (
        "### Generators: a diffusion model fine-tuned on one owner's 40 photos and 60 others"
    )
    if not runs:
        return f"{heading}\n\nNot yet run. `python run.py --config={_GENERATORS_CONFIG}`"
    sizes = list(next(iter(runs[0]["arms"].values()))["photos"])
    lines = [
        heading,
        "",
        "log10 p, median over groups of photos and seeds, the largest in brackets; "
        "CIFAR-10 photos, 0.7 million weights, 150 epochs of fine-tuning.",
        "",
        f"| owner's photos | scores | {' | '.join(f'{size} photos' for size in sizes)} |",
        f"| --- | --- |{' --- |' * len(sizes)}",
    ]
    for arm in dict.fromkeys(arm for run in runs for arm in run["arms"]):
        found = [run["arms"][arm]["photos"] for run in runs if arm in run["arms"]]
        for scores in found[0][sizes[0]]:
            cells = [
                _median([p for photos in found for p in photos[size][scores]]) for size in sizes
            ]
            lines.append(f"| `{arm}` | {scores} | {' | '.join(cells)} |")
    origin, seeds = runs[0]["provenance"], ", ".join(str(run["seed"]) for run in runs)
    command = f"python run.py --config={_GENERATORS_CONFIG} --config.seed={seeds}"
    seen = ", ".join(
        f"`{name}` {owner['ciede2000_median']:.2f}" for name, owner in runs[0]["owners"].items()
    )
    lines += [
        "",
        f"Median CIEDE2000: {seen}. `base`: calibrated by the model that the suspect was "
        "fine-tuned from; `other_base`: by one of another seed, trained on other photos; "
        "`_and_twins`: the same, and also by two models that an owner can make before "
        "committing: the base fine-tuned in the way of the suspect, on the originals, without "
        "marks, and 60 photos of nobody. "
        + _held_out([run["arms"]["light"]["held_out"] for run in runs])
        + " `results/superseded/diffusion_quick/` holds earlier runs, whose statistic had no "
        "bound, and `results/superseded/diffusion_quick_without_twins/` the same runs without "
        "twins; they are counted nowhere.",
        "",
        f"Seeds {seeds}; commit: {origin['commit'][:10]}; command: `{command}`",
    ]
    return "\n".join(lines)


def _held_out(runs: list[dict[str, list[float]]]) -> str:
    """Say how many owners whose photos were not trained on have a small p."""
    counts = []
    for scores in runs[0]:
        found = [log10_p for run in runs for log10_p in run[scores]]
        small = sum(log10_p <= math.log10(0.05) for log10_p in found)
        counts.append(f"`{scores}` {small} of {len(found)} (smallest {min(found):.1f})")
    return (
        "Owners whose photos were not trained on, each under a key of his own, with p ≤ .05: "
        f"{', '.join(counts)}. No twin was made of their photos; the control with twins of "
        "the owner's own is `unmarked`."
    )


def _median(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ({max(values):.1f})"


def _section(folder: str, heading: str, config: str) -> str:
    results = ROOT / "results" / folder
    parts = [f"### {heading}"]
    if any(results.glob("seed*.json")):
        parts.append(results_table(results).strip())
    else:
        parts.append(f"Not yet run. `python run.py --config={config}`")
    parts += [_without(file) for file in sorted(results.glob("without_*.json"))]
    return "\n\n".join(parts)


def _without(file: pathlib.Path) -> str:
    """A line on a training that left a user out."""
    run = json.loads(file.read_text())
    excluded = [name for name, user in run["users"].items() if user["excluded"]]
    outcomes = ", ".join(
        f"{name}: p = {run['users'][name]['p_text']}, "
        f"{run['users'][name]['num_hits']} hits of {run['users'][name]['num_units']}"
        for name in excluded
    )
    names = ", ".join(f"`{name}`" for name in excluded)
    return (
        f"Seed {run['seed']} retrained without the photos of {names} "
        f"(`--config.exclude={','.join(excluded)}`), tested with the same key: {outcomes}."
    )


def limits(level: float = 1e-3) -> str:
    """What attacks and kinds of answers leave of the evidence, in Markdown."""
    return f"{_attacks(level)}\n\n{_answers()}"


# The table of each mark whose column the README has.
_BATTERIES = {"hue_rotation": "battery.json", "light": "battery_gentle.json"}


def _attacks(level: float) -> str:
    """In how many networks each mark is still found, and at what accuracy, by attack."""
    found = {mark: _battery(name, mark, level) for mark, name in _BATTERIES.items()}
    lines = [
        f"| attack | {' | '.join(f'{mark}: p ≤ {level:g} in | accuracy' for mark in found)} |",
        f"| --- |{' --- |' * (2 * len(found))}",
    ]
    for attack in dict.fromkeys(attack for one in found.values() for attack in one):
        rows = [one.get(attack) for one in found.values()]
        texts = dict.fromkeys(row["settings"] for row in rows if row)
        settings = " / ".join(text for text in texts if text)
        cells = [row["text"] if row else "not yet run | –" for row in rows]
        lines.append(f"| `{attack}`{settings and f' ({settings})'} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _battery(name: str, mark: str, level: float) -> dict[str, dict[str, str]]:
    """Parameters, number of networks and mean accuracy of one mark's rows, by attack."""
    battery = json.loads((ROOT / "results" / name).read_text())
    by_attack: dict[str, list[dict]] = {}
    for row in battery["rows"]:
        if row["mark"] == mark:
            by_attack.setdefault(row["attack"], []).append(row)
    found = {}
    for attack, rows in by_attack.items():
        if sorted(row["model"] for row in rows) != sorted(battery["models"]):
            raise SystemExit(f"{name} lacks models under the attack {attack}")
        count = sum(row["log10_p"] <= math.log10(level) for row in rows)
        accuracy = statistics.mean(row["accuracy"] for row in rows)
        given = rows[0]["parameters"].items()
        found[attack] = {
            "settings": ", ".join(
                f"{key} {value}" for key, value in given if value is not None
            ),
            "text": f"{count} of {len(rows)} | {accuracy:.2f}",
        }
    return found


def _answers() -> str:
    """The p of each kind of answer of one network, by seed."""
    results = json.loads((ROOT / "results" / "adapters.json").read_text())["results"]
    level, seeds = results["settings"]["alpha"], results["seeds"]
    lines = [
        f"| answers | p, {len(seeds)} trainings | p ≤ {level:g} in |",
        "| --- | --- | --- |",
    ]
    for kind in seeds[0]["cells"]["PyTorch"]:
        found = [seed["cells"]["PyTorch"][kind]["log10_p"] for seed in seeds]
        count = sum(value <= math.log10(level) for value in found)
        texts = ", ".join(format_p(value) for value in found)
        lines.append(f"| {kind} | {texts} | {count} of {len(seeds)} |")
    return "\n".join(lines)


def updated(readme: str) -> str:
    """README text with its results and limits replaced by those of the files."""
    readme = _replaced(readme, _BEGIN, _END, tables())
    return _replaced(readme, _LIMITS_BEGIN, _LIMITS_END, limits())


def _replaced(text: str, begin: str, end: str, block: str) -> str:
    pattern = re.escape(begin) + ".*?" + re.escape(end)
    whole = f"{begin}\n\n{block}\n\n{end}"
    text, count = re.subn(pattern, lambda _: whole, text, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"README.md must have {begin} once, and {end} behind it")
    return text


def main(arguments: list[str] | None = None) -> None:
    """Writes the tables, and the figure where a run is given for it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    help_text = "a run's workdir, or a folder of seed*.json, to draw docs/readme.png from"
    parser.add_argument("--figure", metavar="WORKDIR", type=pathlib.Path, help=help_text)
    options = parser.parse_args(arguments)
    if options.figure is not None:
        try:
            write_readme_figure(options.figure, ROOT / "docs" / "readme.png")
        except (OSError, ValueError) as error:
            raise SystemExit(f"--figure: {error}") from None
    path = ROOT / "README.md"
    path.write_text(updated(path.read_text()))


if __name__ == "__main__":
    main()
