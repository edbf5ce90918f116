"""The loss tables, rows and audits that are committed in `results/`, and their numbers."""

import functools
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from anw_jax import keys, stats, verify

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results"
BENCHMARKS = RESULTS / "benchmarks"
SPACE = keys.SignatureSpace()
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)

# A table float32 `[n, 12]` with its secret slots int64 `[n]`.
Table = tuple[np.ndarray, np.ndarray]


def real_tables() -> Iterator[tuple[dict[str, Any], Table]]:
    """The 52 tables of real trainings with what is known of each, in the file's order."""
    with np.load(BENCHMARKS / "coin_flip_real_tables.npz") as arrays:
        stored = dict(arrays)
    ends = np.cumsum(stored["lengths"])[:-1]
    losses = np.split(stored["losses"], ends)
    slots = np.split(stored["slots"].astype(np.int64), ends)
    for facts, *table in zip(stored["facts"].tolist(), losses, slots, strict=True):
        yield json.loads(facts), tuple(table)


def owners_rows(name: str) -> Iterator[tuple[str, Table, np.ndarray]]:
    """Five owners of each training in a file of rows: name, table and photo digests."""
    with np.load(BENCHMARKS / f"{name}_rows.npz") as arrays:
        stored = dict(arrays)
    for number, seed in enumerate(stored["seed"].tolist()):
        for index, share in enumerate(SHARES):
            part = np.s_[number, 40 * index : 40 * index + 40]
            table = (stored["losses"][part], stored["slots"][part])
            yield f"{seed}/{share:g}", table, stored["digests"][part]


def assignment(slots: np.ndarray) -> keys.Assignment:
    """One unit for each slot."""
    return keys.Assignment(keys.Units(np.arange(len(slots)), SPACE), slots)


@functools.cache
def audits() -> dict[str, list[dict[str, Any]]]:
    """All audits of one user in result files, by the digest of the tested table."""
    found: dict[str, list[dict[str, Any]]] = {}

    def walk(value: Any) -> None:
        if not isinstance(value, dict):
            return
        if {"table_digest", "p_value", "true_slots"} <= value.keys():
            found.setdefault(value["table_digest"], []).append(value)
        for part in value.values():
            walk(part)

    for file in sorted(RESULTS.rglob("*seed*.json")):
        walk(json.loads(file.read_text()))
    return found


def numbers_of(table: Table) -> dict[str, Any]:
    """What every statistic, bound, list and bet says of one table."""
    losses, slots = table
    secret = assignment(slots)
    scores = np.array([stats.score_row(row) for row in losses[:, 1:]])
    wealth = stats.mixture_log_wealth(scores, slots)
    return {
        "digest": verify.seal(losses),
        "log10_p": {
            name: stats.exact_test(losses, secret, statistic=name).log10_p
            for name in sorted(stats.STATISTICS[:7])  # those of the stored numbers
        },
        "hits": stats.count_hits(losses, secret),
        "at_least": {
            by: stats.how_many(losses, secret, alpha=0.05, by=by).num_used
            for by in stats.INVERSIONS
        },
        "listed": stats.which_units(losses, secret, q=0.05).units.tolist(),
        "log_wealth": [float(wealth.max()), float(wealth[-1])],
    }
