"""Loss tables of real trainings with their secret slots, in one small file.

From finished workdirs: the tables of every user with a hue per photo and an experiment key, on
the trained model and on changed models. They are enough to replay each figure without training.
"""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np

from anw_jax import keys

# Changed models with almost the answers of the trained one, whose tables would count twice.
ALMOST_UNCHANGED = ("noisy", "pruned10", "pruned30")


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """The loss table of one keyed user.

    Attributes:
      facts: study, seed, model, attacks in training, changed model, user, and "kind":
        "plain training", "attack in training", "changed model" or "innocent".
      losses: float32 `[n, 12]` nats, slot 0 first.
      slots: int64 `[n]`, the secret slots in 1 … 11.
    """

    facts: dict[str, Any]
    losses: np.ndarray
    slots: np.ndarray

    @property
    def win_rate(self) -> float:
        """Return how often the secret slot has a lower loss than another valid one."""
        valid = self.losses[:, 1:]
        own = np.take_along_axis(valid, self.slots[:, None] - 1, axis=1)
        return float((own < valid).sum(axis=1).mean() / (valid.shape[1] - 1))


def collect(folders: list[pathlib.Path]) -> list[Table]:
    """Return all such tables in folders of workdirs, in the order of their paths."""
    found = []
    for folder in folders:
        for file in sorted(folder.rglob("settings.json")):
            settings = json.loads(file.read_text())
            for user, kind in settings["users"].items():
                if kind["scheme"] == "per_image" and kind["mark"] == "hue":
                    found += _tables_of(file.parent, settings, user)
    return found


def assignment_of_run(workdir: pathlib.Path, user: str) -> keys.Assignment:
    """Return the slots of a run's user, by the rules of its plan's version."""
    fixed = json.loads((workdir / "commitments.json").read_text())
    return keys.assign(
        keys.MarkKey.load(workdir / "keys" / f"{user}.key"),
        keys.Manifest.load(workdir / "manifests" / f"{user}.json"),
        keys.Plan.from_json(fixed["plans"][user]),
        beacon=bytes.fromhex(fixed.get("beacons", {}).get(user, "")),
    )


def _tables_of(workdir: pathlib.Path, settings: dict[str, Any], user: str) -> list[Table]:
    files = sorted((workdir / "tables").rglob(f"{user}.npz"))
    files = [file for file in files if file.parent.name not in ALMOST_UNCHANGED]
    if not files or settings["verify"]["num_slots"] != 12:
        return []
    mark_key = keys.MarkKey.load(workdir / "keys" / f"{user}.key")
    if mark_key.origin != "experiment":
        raise SystemExit(f"{workdir}: only experiment keys may stand in a results file")
    slots = assignment_of_run(workdir, user).slots
    tables = []
    for file in files:
        with np.load(file) as arrays:
            losses = arrays["losses"]
        facts = _facts(settings, user, file.parent.name)
        step = losses.shape[1] // 12
        tables.append(Table(facts, losses[:, ::step].astype(np.float32), slots))
    return tables


def _facts(settings: dict[str, Any], user: str, folder: str) -> dict[str, Any]:
    attacks = [attack["attack"] for attack in settings["attacks"].values()]
    changed = "" if folder == "tables" else folder
    kind = "plain training"
    if settings["users"][user]["kind"] != "marked" or user in settings["exclude"]:
        kind = "innocent"
    elif changed:
        kind = "changed model"
    elif attacks:
        kind = "attack in training"
    return {
        "study": settings["case"],
        "seed": settings["seed"],
        "model": settings["model"]["name"],
        "attacks": attacks,
        "changed": changed,
        "user": user,
        "kind": kind,
    }


def save(path: pathlib.Path, tables: list[Table]) -> None:
    """Write all tables, rows one after another."""
    np.savez_compressed(
        path,
        facts=np.array([json.dumps(table.facts) for table in tables]),
        lengths=np.array([len(table.slots) for table in tables], np.int32),
        losses=np.concatenate([table.losses for table in tables]),
        slots=np.concatenate([table.slots for table in tables]).astype(np.uint8),
    )


def load(path: pathlib.Path) -> list[Table]:
    """Read a file of `save`."""
    with np.load(path) as arrays:
        parts = dict(arrays)
    ends = np.cumsum(parts["lengths"])[:-1]
    rows = zip(
        parts["facts"].tolist(),
        np.split(parts["losses"], ends),
        np.split(parts["slots"].astype(np.int64), ends),
        strict=True,
    )
    return [Table(json.loads(facts), losses, slots) for facts, losses, slots in rows]
