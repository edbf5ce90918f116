"""Write anw_jax/audit/effects.json from results/: python -m benchmarks.effects.

The runs that count: users whose photos were marked with the hue rotation, with light in
studies of it, or in results/frontier_* with any mark that has a name, all at their default
strengths, one slot for each photo, learned by a plain training (no attack, not left out),
tested with the default statistic. A training in several results counts once. Other kinds of
access come from the table of adapters: the network queried through PyTorch, since all makes
give the same answers; "error" from the fine-tunings of results/diffusion_quick on 40 marked and
60 other photos, a study for each mark and set of reference models.
"""

import argparse
import json
import pathlib
import statistics
from collections.abc import Iterator
from typing import Any

from anw_jax.audit.estimate import effect_of
from anw_jax.marks.named import NAMES, STRENGTHS
from anw_jax.stats import DEFAULT_STATISTIC

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
TARGET = REPOSITORY / "anw_jax" / "audit" / "effects.json"

# By the mark's name: how its description begins at the default strength.
BEGINNINGS = {
    name: f"{kind}:{STRENGTHS[name][0]!r}:" if name in STRENGTHS else kind
    for name, kind in NAMES.items()
}
FRONTIER = "frontier_"
LIGHT_STUDIES = ("light_quick", "frontier_cifar10", "frontier_cifar100", "frontier_tiny12")
ACCESS = ("logits", "probabilities", "rounded", "top_k", "label", "error")
FEWEST_UNITS = 20
ADAPTERS, NUM_VALID = "adapters.json", 11
GENERATORS = "diffusion_quick"

ABOUT = (
    "Separation d of a unit's score at its own slot, in standard deviations of the scores at "
    "other slots: d = r sqrt(m / (m - 1 - r^2)), r = z / sqrt(units), m = slots - 1 (derived "
    "in anw_jax/audit/estimate.py). One number for each training; an empty table means that "
    "nothing was measured under that kind of access. Made by python -m benchmarks.effects."
)


def collect(folder: pathlib.Path) -> dict[str, Any]:
    """Return all measured effects of a folder of results."""
    access: dict[str, dict[str, Any]] = {name: {} for name in ACCESS}
    seen: set[str] = set()
    for file in sorted(folder.rglob("*.json")):
        body = json.loads(file.read_text())
        for name, user in users_of(body):
            if user["table_digest"] in seen:
                continue
            seen.add(user["table_digest"])
            study = study_of(file.relative_to(folder).parts[0], user["mark"])
            if study is None:
                continue
            num_valid = body["settings"]["verify"]["num_slots"] - 1
            path = file.relative_to(folder).as_posix()
            run = run_of(path, name, user["num_units"], user["z"], num_valid)
            entry = access[user.get("access", "logits")].setdefault(study, {"runs": []})
            entry["runs"].append(run)
    for kind, study, run in (*adapter_runs(folder / ADAPTERS), *generator_runs(folder)):
        access[kind].setdefault(study, {"runs": []})["runs"].append(run)
    for studies in access.values():
        for entry in studies.values():
            effects = [run["effect"] for run in entry["runs"]]
            entry["median"] = round(statistics.median(effects), 4)
    return {"about": ABOUT, "access": access}


def study_of(folder: str, description: str) -> str | None:
    """Name the study that a mark's runs in a folder of results belong to; None for no study.

    Example:
      >>> study_of("frontier_cifar10", "tone:0.15:12"), study_of("quickstart", "hue_rotation")
      ('frontier_cifar10, tone', 'quickstart')
    """
    starts = BEGINNINGS.items()
    mark = next((name for name, start in starts if description.startswith(start)), None)
    if mark == ("light" if folder in LIGHT_STUDIES else "hue"):
        return folder
    return f"{folder}, {mark}" if mark and folder.startswith(FRONTIER) else None


def adapter_runs(file: pathlib.Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield access, study and run of each cell of one make in the table of adapters."""
    if not file.exists():
        return
    body = json.loads(file.read_text())["results"]
    if body["settings"]["statistic"] != DEFAULT_STATISTIC:
        return
    for seed in body["seeds"]:
        for name, cell in seed["cells"]["PyTorch"].items():
            rung, _, own = name.partition(", ")
            kind, _, once = rung.partition(" ")
            words = ["adapters", *(["one picture"] if once else []), *([own] if own else [])]
            user = f"seed {seed['seed']}"
            run = run_of(ADAPTERS, user, cell["num_units"], cell["z"], NUM_VALID)
            yield kind, ", ".join(words), run


def generator_runs(folder: pathlib.Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield access, study and run of each fine-tuning like that of the twins, by references."""
    for file in sorted((folder / GENERATORS).glob("*.json")):
        body = json.loads(file.read_text())
        settings, path = body["settings"], file.relative_to(folder).as_posix()
        for arm, numbers in body["arms"].items():
            tuning = settings["tunings"][arm]
            owner = settings["owners"][tuning["owner"]]
            is_default = owner["strength"] == STRENGTHS.get(owner["mark"], (None,))[0]
            is_plain = tuning["train"] == (settings.get("twins") or {}).get("train")
            many = tuning["num_owned"] >= FEWEST_UNITS
            if not (tuning["is_marked"] and is_default and is_plain and many):
                continue
            for test, z in numbers["z"].items():
                run = run_of(path, arm, tuning["num_owned"], z, settings["num_slots"] - 1)
                yield "error", f"{GENERATORS}, {owner['mark']}, {test}", run


def run_of(path: str, user: str, num_units: int, z: float, num_valid: int) -> dict[str, Any]:
    """Describe one run, as the file of effects holds it."""
    return {
        "file": path,
        "user": user,
        "num_units": num_units,
        "z": round(z, 4),
        "effect": round(effect_of(z, num_units, num_valid), 4),
    }


def users_of(body: Any) -> list[tuple[str, dict[str, Any]]]:
    """Yield the users of a results file that count."""
    if not isinstance(body, dict) or not isinstance(body.get("users"), dict):
        return []
    settings = body.get("settings", {})
    if settings.get("attacks"):
        return []
    return [
        (name, user)
        for name, user in body["users"].items()
        if isinstance(user, dict)
        and user.get("kind") == "marked"
        and user.get("scheme") == "per_image"
        and user.get("mark")
        and user.get("statistic") == DEFAULT_STATISTIC
        and not user.get("excluded")
        and user.get("num_units", 0) >= FEWEST_UNITS
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="only say whether it is up to date"
    )
    check = parser.parse_args().check
    text = json.dumps(collect(REPOSITORY / "results"), indent=1) + "\n"
    if not check:
        TARGET.write_text(text)
    elif TARGET.read_text() != text:
        raise SystemExit(f"{TARGET.name} is stale: python -m benchmarks.effects")


if __name__ == "__main__":
    main()
