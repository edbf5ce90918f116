"""Query one network in every make and through every kind of answer: p, queries, seconds.

A plain PyTorch program (`tests/suspects/learner_torch.py`), which does not use this project,
trains a small network on CIFAR-10 photos, 50 of which their owner had marked, committed to and
published as PNG files. The arbitrator then queries the network as PyTorch, JAX, ONNX, Keras,
over HTTP from another process and from recorded answers; each cell is a separate audit.
Controls: the same table with keys that had no part, and a twin that was trained without the 50
photos.

    python -m benchmarks.adapters            # results/adapters.json, docs/adapters.md
    python -m benchmarks.adapters --tune     # first, on other seeds: label-only access

Every training and every cell is a file in `--workdir`, so a killed run resumes when repeated.
"""

import argparse
import dataclasses
import functools
import json
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

from anw_jax import data
from anw_jax.suspects import Access, AnswerCache, Augmentation
from benchmarks import _adapters_cells as cells
from benchmarks import _adapters_makes as makes
from benchmarks import _measure
from benchmarks._adapters_case import Settings, prepare
from benchmarks._adapters_page import PAGE, renewed

SETTINGS = Settings(
    source="tfds:cifar10",
    num_train=2_000,
    num_marked=50,
    num_test=2_000,
    epochs=60,
    batch=64,
    rate=0.05,
    width=32,
    statistic="log_losses",
    alpha=1e-6,
    decimals=3,
    label_queries=16,
    noise_levels=8,
    num_wrong_keys=10_000,
)
SEEDS = (0,)

LoadFn = Callable[[], data.Splits]

# The number of queries of label-only access is measured on these, which are used nowhere else.
TUNING_SEEDS = (100,)
TUNED_QUERIES = (1, 4, 8, 16, 32)
TUNED_NOISE = (8, 32)

# Changing these changes the trainings; the others can be changed between calls.
_OF_TRAINING = ("source", "num_train", "num_marked", "num_test", "epochs", "batch", "rate")
_OF_TRAINING += ("width", "statistic", "alpha")


def audit_seed(
    workdir: pathlib.Path, seed: int, settings: Settings, load: LoadFn, used_makes
) -> dict[str, Any]:
    """Return all cells of one seed with both controls."""
    case = prepare(workdir / f"seed{seed}", seed, settings, load)
    rungs = cells.rungs_of(settings)
    if "recorded" in used_makes:
        cells.record(case, rungs)
    table = {make: cells.row(case, "with", make, rungs) for make in used_makes}
    without = cells.row(case, "without", "PyTorch", rungs)
    logits = cells.table_file(case, "with", "PyTorch", "logits")
    return {
        "seed": seed,
        "commitment": case.published.commitment,
        "learner": case.learner,
        "cells": table,
        "agreement": cells.agreement(case, table),
        "without_the_photos": without,
        "wrong_keys": cells.wrong_keys(case, logits, settings.num_wrong_keys, seed),
    }


def tune(workdir: pathlib.Path, settings: Settings, load: LoadFn) -> dict[str, Any]:
    """Return log10 p of label-only access by number of queries and strength of the noise."""
    found = []
    for seed in TUNING_SEEDS:
        case = prepare(workdir / f"seed{seed}", seed, settings, load, ("with",))
        suspect = makes.in_torch(case.folder / "with")
        for noise in TUNED_NOISE:
            # Changes are numbered: fewer are the first of more, and are not queried again.
            with AnswerCache(None, suspect.declaration) as cache:
                for number in sorted(TUNED_QUERIES, reverse=True):
                    found += [
                        _tuned(case, suspect, cache, seed, number, noise, true_labels)
                        for true_labels in (True, False)
                    ]
    body = {"settings": dataclasses.asdict(settings), "runs": found}
    cells.write_json(workdir / "tuning.json", body)
    return body


def _tuned(case, suspect, cache, seed, number, noise, true_labels) -> dict[str, Any]:
    access = Access(
        "label",
        true_labels=true_labels,
        num_augmentations=number,
        augmentation=Augmentation(noise_levels=noise),
    )
    found = {
        "seed": seed,
        "label_queries": number,
        "noise_levels": noise,
        "true_labels": true_labels,
        "log10_p": cells.judged(case, cells.table_of(suspect, case, access, cache))["log10_p"],
    }
    print(found, flush=True)
    return found


def check_settings(workdir: pathlib.Path, settings: Settings) -> None:
    """Refuse a folder whose trainings were made with other settings."""
    mine = {name: getattr(settings, name) for name in _OF_TRAINING}
    path = workdir / "settings.json"
    workdir.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        cells.write_json(path, mine)
    if json.loads(path.read_text()) != mine:
        raise SystemExit(f"{path} has other settings: give another --workdir")


def run(
    workdir: pathlib.Path,
    seeds: tuple[int, ...],
    settings: Settings,
    load: LoadFn,
    used_makes: tuple[str, ...] = makes.MAKES,
) -> dict[str, Any]:
    """Return the results of all seeds; resume from existing files."""
    check_settings(workdir, settings)
    start = time.perf_counter()
    found = [audit_seed(workdir, seed, settings, load, used_makes) for seed in seeds]
    tuning = workdir / "tuning.json"
    return {
        "settings": dataclasses.asdict(settings),
        "seeds": found,
        "label_tuning": json.loads(tuning.read_text())["runs"] if tuning.exists() else [],
        "seconds_of_this_call": round(time.perf_counter() - start, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument(
        "--workdir", type=pathlib.Path, default=pathlib.Path("workdir/adapters")
    )
    parser.add_argument(
        "--tune", action="store_true", help="measure label-only access, no more"
    )
    parser.add_argument("--page", action="store_true", help="only write the page anew")
    flags = parser.parse_args()
    workdir = flags.workdir.resolve()

    @functools.cache
    def load() -> data.Splits:
        return data.load(SETTINGS.source, data_dir=os.environ.get("TFDS_DATA_DIR"))

    if flags.tune:
        check_settings(workdir, SETTINGS)
        tune(workdir, SETTINGS, load)
        return
    if not flags.page:
        results = run(workdir, tuple(flags.seeds), SETTINGS, load)
        _measure.write("adapters", results, _measure.REPOSITORY / "results")
    body = json.loads((_measure.REPOSITORY / "results" / "adapters.json").read_text())
    PAGE.write_text(renewed(PAGE.read_text(), body))


if __name__ == "__main__":
    main()
