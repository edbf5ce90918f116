"""The cells of `benchmarks.adapters`: one audit each, blind until its table is sealed."""

import contextlib
import dataclasses
import json
import pathlib
import time
from typing import Any

import numpy as np
import scipy.stats

from anw_jax import _files, keys, stats, verify
from anw_jax.errors import MissingLibraryError
from anw_jax.suspects import Access, AnswerCache, Augmentation, Suspect, ask
from benchmarks import _adapters_makes as makes
from benchmarks._adapters_case import Case, Settings

OWN = ", own labels"
LEVELS = (0.05, 0.01)

# Logits of one network in several makes differ only by the order of float32 sums.
LOSS_TOLERANCE = 1e-4
LOG10_P_TOLERANCE = 0.001


def rungs_of(settings: Settings) -> dict[str, Access]:
    """Return the rungs of the table by name, with true labels and then without."""
    change = Augmentation(noise_levels=settings.noise_levels)
    number = settings.label_queries
    kinds = {
        "logits": {"kind": "logits"},
        "rounded": {"kind": "rounded", "decimals": settings.decimals},
        "label once": {"kind": "label", "num_augmentations": 1},
        "label": {"kind": "label", "num_augmentations": number, "augmentation": change},
    }
    return {
        name + ("" if true_labels else OWN): Access(**fields, true_labels=true_labels)
        for true_labels in (True, False)
        for name, fields in kinds.items()
    }


def table_of(suspect: Suspect, case: Case, access: Access, cache: AnswerCache) -> np.ndarray:
    """Query one table, with the slots of the owner's manifest."""
    published = case.published
    return ask(
        suspect,
        case.originals,
        case.labels if access.true_labels else None,
        published.mark,
        published.manifest.space,
        access=access,
        seed=keys.augmentation_seed(published.commitment, published.plan),
        cache=cache,
    )


def judged(case: Case, table: np.ndarray) -> dict[str, Any]:
    """Seal a table, then open the key and run the one test of the commitment."""
    published, digest = case.published, verify.seal(table)
    verdict = verify.decide(
        table,
        case.key,
        published.manifest,
        published.plan,
        commitment=published.commitment,
        sealed_digest=digest,
    )
    return {
        "p": verdict.result.p_value,
        "log10_p": verdict.result.log10_p,
        "outcome": verdict.result.outcome,
        "hits": verdict.num_hits,
        "z": verdict.result.z,
        "num_units": verdict.result.num_units,
        "sealed": digest,
    }


def row(case: Case, world: str, make: str, rungs: dict[str, Access]) -> dict[str, Any]:
    """Return the cells of one make by rung, and print each."""
    found = {}
    with makes.Service(case.folder / world) as service:
        for name, access in rungs.items():
            found[name] = one = cell(case, world, make, name, access, service)
            told = one.get("missing") or (
                f"p = {stats.format_p(one['log10_p'])}, {one['queries']} queries, "
                f"{one['seconds']:.1f} s"
            )
            where = f"{case.folder.name}, {world} the photos, {make}, {name}"
            print(f"{where}: {told}", flush=True)
    return found


def cell(
    case: Case, world: str, make: str, name: str, access: Access, service: makes.Service
) -> dict[str, Any]:
    """Return one cell, from its file if it was made before with the same access."""
    path = case.folder / "cells" / f"{world}-{make}-{name.replace(OWN, '-own')}.json"
    asked = {"access": access.describe(), "noise_levels": access.augmentation.noise_levels}
    if path.exists():
        found = json.loads(path.read_text())
        if {field: found[field] for field in asked} == asked:
            return found
    path.parent.mkdir(exist_ok=True)
    try:
        with makes.opened(make, case.folder / world, access, service) as suspect:
            with AnswerCache(None, suspect.declaration) as cache:
                start = time.perf_counter()
                table = table_of(suspect, case, access, cache)
                seconds, queries = time.perf_counter() - start, cache.num_queries
    except (MissingLibraryError, ImportError) as error:
        return {**asked, "missing": str(error)}
    np.save(path.with_suffix(".npy"), table)
    found = {**asked, "queries": queries, "seconds": round(seconds, 3), **judged(case, table)}
    write_json(path, found)
    return found


def table_file(case: Case, world: str, make: str, name: str) -> np.ndarray:
    """Return the path of the table of a cell."""
    file = f"{world}-{make}-{name.replace(OWN, '-own')}.npy"
    return np.load(case.folder / "cells" / file)


def write_json(path: pathlib.Path, body: Any) -> None:
    """Write a JSON file whole or not at all."""
    _files.write_whole(path, (json.dumps(body, indent=1) + "\n").encode())


def record(case: Case, rungs: dict[str, Access]) -> None:
    """Record the PyTorch network's answers to all queries of the rungs in a file."""
    folder = case.folder / "with"
    about = json.dumps({name: dataclasses.asdict(rungs[name]) for name in rungs})
    note = folder / "answers.txt"
    if note.exists() and note.read_text() == about:
        return
    with contextlib.suppress(FileNotFoundError):
        note.unlink()
    recorder = makes.Recorder(makes.in_torch(folder))
    with AnswerCache(None, recorder.declaration) as cache:
        for access in rungs.values():
            table_of(recorder, case, access, cache)
    recorder.save(folder / makes.RECORDING)
    note.write_text(about)


def agreement(case: Case, cells: dict[str, dict[str, dict]]) -> dict[str, dict[str, float]]:
    """Return the largest differences between the makes and the first one, rung by rung.

    Raises:
      RuntimeError: if tables from logits differ by more than the rounding of float32 sums.
    """
    found = {}
    made = [make for make in cells if not any("missing" in c for c in cells[make].values())]
    for name in cells[made[0]]:
        tables = {make: table_file(case, "with", make, name).astype(float) for make in made}
        gaps = [np.abs(tables[make] - tables[made[0]]) for make in made]
        logs = [cells[make][name]["log10_p"] for make in made]
        found[name] = {
            "makes": len(made),
            "largest_loss_gap": float(np.max(gaps)),
            "share_of_entries_apart": float(np.mean(np.max(gaps, axis=0) > LOSS_TOLERANCE)),
            "largest_log10_p_gap": max(logs) - min(logs),
        }
        if name.startswith("logits"):
            _check_agreement(name, found[name])
    return found


def _check_agreement(name: str, gaps: dict[str, float]) -> None:
    far = gaps["largest_loss_gap"] > LOSS_TOLERANCE
    if far or gaps["largest_log10_p_gap"] > LOG10_P_TOLERANCE:
        raise RuntimeError(
            f"the makes disagree at {name!r}: losses by {gaps['largest_loss_gap']:.2g} nats, "
            f"log10 p by {gaps['largest_log10_p_gap']:.2g}"
        )


def wrong_keys(case: Case, table: np.ndarray, number: int, seed: int) -> dict[str, Any]:
    """Return how often the same table matches keys that had no part in the training.

    The share of p at most a level has to lie in the two-sided 99.9 % band of a binomial with
    that chance; p is discrete, but with 50 units of 11 slots its steps are negligible.
    """
    manifest, plan = case.published.manifest, case.published.plan
    fresh = (
        keys.assign(keys.MarkKey.for_experiment(seed, f"wrong key {i}"), manifest, plan)
        for i in range(number)
    )
    p_values = stats.fresh_p_values(table, fresh, plan.statistic)
    shares = {}
    for level in LEVELS:
        count = int((p_values <= level).sum())
        low, high = scipy.stats.binom.ppf([0.0005, 0.9995], number, level)
        shares[str(level)] = {
            "share": count / number,
            "low": low / number,
            "high": high / number,
            "within": bool(low <= count <= high),
        }
    return {"keys": number, "smallest_p": float(p_values.min()), "shares": shares}
