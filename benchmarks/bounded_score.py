"""Ways to bound a row: evidence of clean tables, and the evidence left after absurd answers.

The candidates are compared on trainings with seeds >= 100, which are in no result: each used
all photos of some owners (`_partly_trained`), and its trained rows are split into tables of 50
photos. Then the chosen statistic is applied to the stored tables of the real trainings, which
were not used to choose it (`coin_flip_real_tables.npz`).

A suspect answers absurdly to 1 to 5 of 50 photos, those with most evidence
(`_hostile_answers`): at random hues, at a guess of the hue of its training, or knowing that
hue. "worst" is the worst of all such attacks for each table; all figures are log10 p, medians
over tables.

    python -m benchmarks.bounded_score                         # from the stored rows
    python -m benchmarks.bounded_score --train 100:40 101:20   # SEED:EPOCHS, trains first
"""

import argparse
import dataclasses
import functools
import time
from collections.abc import Callable

import numpy as np

from anw_jax import keys, stats
from anw_jax.stats.exact import ExactNull, quantise
from benchmarks import _hostile_answers, _measure, _partly_trained, _real_tables
from benchmarks._hostile_answers import KINDS
from benchmarks._partly_trained import SPACE, Rows
from benchmarks.coin_flip_real import TABLES as REAL_TABLES

ROWS = _measure.RESULTS / "bounded_score_rows.npz"
CHOSEN, TODAY = "bounded_log_losses", "log_losses"
SIZE, PHOTOS = 50, (1, 2, 3, 4, 5)

# Maps a table [n, 12] to scores [n, 11].
ScoreFn = Callable[[np.ndarray], np.ndarray]


def candidate(
    table: np.ndarray, *, below: float, above: float, centring: float, scaled: bool
) -> np.ndarray:
    """Return a candidate: log loss cut at fixed nats, or at the rows' scale."""
    valid = np.asarray(table[:, 1:], np.float64)
    usable = (np.abs(valid) <= 1e30).all(axis=1)
    logs = -np.log(np.maximum(valid[usable], 0.0) + 0.3)
    logs -= np.median(logs, axis=1, keepdims=True)
    scale = min(1.0, np.median(logs.std(axis=1))) if scaled else 1.0
    rows = np.clip(logs, -below * scale, above * scale)
    others = (rows.sum(axis=0) - rows) / max(1, len(rows) - 1)
    scores = np.zeros_like(valid)
    scores[usable] = rows - centring * others
    return scores


def named(statistic: str, table: np.ndarray) -> np.ndarray:
    """Return the scores of a statistic of the library."""
    return stats.score_units(table, keys.Units(np.arange(len(table)), SPACE), statistic)


def candidates() -> dict[str, ScoreFn]:
    """Return all candidates by name, the library's own two first."""
    found: dict[str, ScoreFn] = {n: functools.partial(named, n) for n in (TODAY, CHOSEN)}
    grid = [
        (1.5, 2.0, 0.0, False),
        (1.5, 1.5, 0.5, False),
        (0.5, 1.0, 0.5, False),
        *((below, above, 0.5, True) for below, above in _SCALED),
        (0.75, 1.5, 0.0, True),
        (0.75, 1.5, 1.0, True),
    ]
    for below, above, centring, scaled in grid:
        unit = "scale" if scaled else "nats"
        found[f"-{below:g} +{above:g} {unit}, {centring:g} of the means"] = functools.partial(
            candidate, below=below, above=above, centring=centring, scaled=scaled
        )
    return found


_SCALED = (
    (0.5, 1.0),
    (0.6, 1.2),
    (0.75, 0.75),
    (0.75, 1.5),
    (1.0, 1.0),
    (1.0, 2.0),
    (2.0, 3.0),
)


def log10_p(score: ScoreFn, table: np.ndarray, slots: np.ndarray) -> float:
    integers = quantise(score(table))
    observed = int(integers[np.arange(len(table)), slots - 1].sum())
    return float(ExactNull(integers).log_p_value(observed)) / np.log(10)


def tables_of(rows: Rows) -> list[tuple[np.ndarray, np.ndarray]]:
    """Split the trained rows of one training into tables of 50 photos, with their slots."""
    trained = np.random.default_rng(rows.seed).permutation(np.flatnonzero(rows.trained))
    parts = [trained[start : start + SIZE] for start in range(0, len(trained) - SIZE + 1, SIZE)]
    return [(rows.losses[part], rows.slots[part]) for part in parts]


def worst_of(score: ScoreFn, tables, num_photos: int, values) -> list[dict[str, tuple]]:
    """Return per table and kind of attack the largest log10 p, the value and number of hues."""
    found = []
    for table, slots in tables:
        worst: dict[str, tuple] = {}
        for kind, value, number, answer in _hostile_answers.attacks(values):
            hostile = _hostile_answers.attacked(table, slots, answer, num_photos)
            p = log10_p(score, hostile, slots)
            if kind not in worst or p > worst[kind][0]:
                worst[kind] = (p, value, number)
        found.append(worst)
    return found


def figures(score: ScoreFn, tables, photos, values) -> dict:
    """Return medians over tables: clean, and after the worst attack of each kind and of all."""
    clean = [log10_p(score, table, slots) for table, slots in tables]
    result: dict = {
        "clean": float(np.median(clean)),
        "clean_of_each": np.round(clean, 3).tolist(),
    }
    for num_photos in photos:
        worst = worst_of(score, tables, num_photos, values)
        of_all = [max(found.values()) for found in worst]
        medians = {
            kind: float(np.median([found[kind][0] for found in worst])) for kind in KINDS
        }
        result[f"{num_photos} photos"] = {
            **medians,
            "worst": float(np.median([found[0] for found in of_all])),
            "kept": float(np.median([found[0] for found in of_all]) / np.median(clean)),
            "worst_of_each": [round(found[0], 3) for found in of_all],
            "value_and_hues_of_each": [[f"{found[1]:g}", found[2]] for found in of_all],
        }
    return result


def by_hues(tables, num_photos: int) -> dict[str, list[float]]:
    """Return the median log10 p of the chosen statistic for 1 to 11 absurd hues."""
    score, found = functools.partial(named, CHOSEN), {}
    for kind, value, number, answer in _hostile_answers.attacks():
        if kind != KINDS[0] or not np.isfinite(value):
            continue
        p_values = [
            log10_p(score, _hostile_answers.attacked(table, slots, answer, num_photos), slots)
            for table, slots in tables
        ]
        found.setdefault(f"{value:g}", []).append(round(float(np.median(p_values)), 3))
        assert len(found[f"{value:g}"]) == number
    return found


def wealth(tables) -> dict[str, float]:
    """Return the median log10 of the largest wealth in 50 random orders (sequential mode)."""
    found: dict[str, list[float]] = {}
    for name in (TODAY, CHOSEN):
        for table, slots in tables:
            for seed in range(50):
                order = np.random.default_rng(seed).permutation(len(table))
                scorer = stats.RowScorer(name)
                rows = [
                    table[i, 1:][None] if scorer.takes_images else table[i, 1:] for i in order
                ]
                scores = np.array([scorer.score(row) for row in rows])
                nats = stats.mixture_log_wealth(scores, slots[order]).max()
                found.setdefault(name, []).append(float(nats) / np.log(10))
    return {name: float(np.median(values)) for name, values in found.items()}


def hostile_wealth(tables) -> dict[str, float]:
    """Return the same after the attack on 3 photos that costs the sealed test most."""
    score, changed = functools.partial(named, CHOSEN), []
    for table, slots in tables:
        options = [
            _hostile_answers.attacked(table, slots, answer, 3)
            for _, _, _, answer in _hostile_answers.attacks((1e29,))
        ]
        changed.append((max(options, key=lambda o: log10_p(score, o, slots)), slots))
    return wealth(changed)


def study(trainings: list[Rows]) -> dict:
    tables = [table for rows in trainings for table in tables_of(rows)]
    chosen = []
    for name, score in candidates().items():
        chosen.append({"score": name, **figures(score, tables, (3,), (20.0, 1e29))})
        print({k: v for k, v in chosen[-1].items() if "each" not in k}, flush=True)
    own = figures(functools.partial(named, CHOSEN), tables, PHOTOS, _hostile_answers.VALUES)
    print({n: round(own[f"{n} photos"]["kept"], 3) for n in PHOTOS}, flush=True)
    real = [
        (table.losses, table.slots)
        for table in _real_tables.load(REAL_TABLES)
        if table.facts["kind"] != "innocent" and len(table.slots) == SIZE
    ]
    return {
        "candidates": chosen,
        "chosen": {"name": CHOSEN, **own},
        "chosen_by_number_of_hues_3_photos": by_hues(tables, 3),
        "sequential_log10_wealth": {"clean": wealth(tables), "hostile": hostile_wealth(tables)},
        "stored_real_tables": {
            "num_tables": len(real),
            **{
                name: figures(functools.partial(named, name), real, (3, 5), (20.0, 1e29))
                for name in (TODAY, CHOSEN)
            },
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", nargs="*", default=[], metavar="SEED:EPOCHS")
    parser.add_argument("--source", default="tfds:cifar10", help="photos to train on")
    flags = parser.parse_args()
    start, trainings = time.perf_counter(), []
    for text in flags.train:
        seed, epochs = map(int, text.split(":"))
        if seed < 100:
            parser.error(f"choose scores on seeds >= 100, got {seed}")
        settings = dataclasses.replace(_partly_trained.TRAIN, num_epochs=epochs)
        trainings.append(_partly_trained.train_and_ask(flags.source, seed, settings))
        _partly_trained.save(ROWS, trainings)
    trainings = _partly_trained.load(ROWS)
    results = {
        "trainings": [
            {"seed": rows.seed, "accuracy_train_and_test": rows.accuracies.tolist()}
            for rows in trainings
        ],
        "photos_per_table": SIZE,
        **study(trainings),
        "seconds": round(time.perf_counter() - start, 1),
    }
    _measure.write("bounded_score", results)


if __name__ == "__main__":
    main()
