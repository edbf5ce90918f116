"""Units and queries until a decision, on loss tables of real trainings: ours, the coin flips.

The published audit: a unit is a pair of marked versions, one published; from a row of eleven
valid slots it gets the secret one and another drawn at random, or the opposite one, and is
won if the secret one has the lower loss. Ours: the sequential mode
(`stats.mixture_log_wealth`) on the whole row; on rows completed by `sequential.coarse_to_fine`;
and on 4 or 2 of the slots, as if the owner had drawn the hue from so few. All sides query
each version once (the published audit averages 16 crops of each; any number multiplies the
queries of all sides alike).

First the real data: each table's own units in many random orders, without replacement. Then a
simulation: units drawn from the table with replacement, as from an owner with many more such
photos (the published audit with 5,000 pairs in all).

    python -m benchmarks.coin_flip_real                     # from the stored tables
    python -m benchmarks.coin_flip_real --workdirs FOLDER…  # collects and stores them first
"""

import argparse
import pathlib
import time

import numpy as np

from anw_jax import sequential, stats
from anw_jax.baselines.coin_flip import CoinFlipAudit
from benchmarks import _measure, _real_tables
from benchmarks._real_tables import Table

TABLES = _measure.RESULTS / "coin_flip_real_tables.npz"
LEVELS = (0.05, 1e-6)
NUM_PAIRS = 5_000
# Most units drawn in the simulation: for our audits, at first and if a quarter of them is still
# undecided, and for the published one.
LENGTHS, LONGEST_PAIRS = (120, 400), 2_500
# (stride, best) of `coarse_to_fine`: only the first slots, and also those around the best.
SAVING = {"11 slots, saving 3, 0": (3, 0), "11 slots, saving 3, 1": (3, 1)}
TWO_OPPOSITE = "2 slots, opposite hues"
FEWER_SLOTS = {"4 slots": 4, "2 slots": 2, TWO_OPPOSITE: 2}
PUBLISHED, OPPOSITE = "published coin flips", "published coin flips, opposite hues"
# The rule is compared with the same queried slots, the others being as bad as the worst.
WORST = "11 slots, saving 3, 1, rest worst"
ARMS = (PUBLISHED, OPPOSITE, "11 slots", *SAVING, WORST, *FEWER_SLOTS)
BANDS = ((0.0, 0.65), (0.65, 0.72), (0.72, 1.0))


def reached(log_wealth: np.ndarray) -> dict[float, np.ndarray]:
    """Return the first unit at which each level is reached, int64 `[runs]`; 0 where none."""
    found = {}
    for level in LEVELS:
        over = log_wealth >= -np.log(level)
        found[level] = np.where(over.any(axis=1), over.argmax(axis=1) + 1, 0)
    return found


def published(
    table: Table, order: np.ndarray, others: np.ndarray, num_pairs: int, rng
) -> dict[float, np.ndarray]:
    """Return the same for the published audit of `num_pairs` pairs, in the given orders."""
    own = table.losses[order, table.slots[order]]
    other = table.losses[order, others[..., 0]]
    won = np.where(own == other, rng.random(order.shape) < 0.5, own < other)
    found = {}
    for level in LEVELS:
        after = CoinFlipAudit(num_pairs, level).decided_after(won)
        found[level] = np.where(after <= order.shape[1], after, 0)
    return found


def random_others(slots: np.ndarray, num: int, rng) -> np.ndarray:
    """Draw valid slots other than the secret ones, `[..., num]`, all different."""
    steps = np.argsort(rng.random((*slots.shape, 10)), axis=-1)[..., :num] + 1
    return 1 + (slots[..., None] - 1 + steps) % 11


def opposite(slots: np.ndarray, rng) -> np.ndarray:
    """Return slots 180 degrees away, `[..., 1]`; 150 for slot 6, whose opposite is unmarked."""
    turned = (slots + 6) % 12
    near = np.where(rng.random(slots.shape) < 0.5, 1, 11)
    return np.where(turned == 0, near, turned)[..., None]


def fewer(table: Table, order: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return log wealth if the owner had drawn only from the secret slot and `others`."""
    known = np.concatenate([table.slots[order][..., None], others], axis=-1)
    scores = scores_of(table.losses)[order[..., None], known]
    return stats.mixture_log_wealth(scores, np.ones(order.shape, np.int64))


def scores_of(losses: np.ndarray) -> np.ndarray:
    """Return scores of the plan's default statistic, row by row."""
    return np.array([stats.score_row(row) for row in losses])


def completed(table: Table, saving: tuple[int, int]) -> sequential.CompletedRows:
    """Return the rows as the query-saving rule completes them."""

    def ask(units: np.ndarray, slots: np.ndarray) -> np.ndarray:
        return table.losses[units, slots]

    stride, num_best = saving
    return sequential.coarse_to_fine(
        ask, len(table.slots), 12, stride=stride, num_best=num_best
    )


def with_the_worst(rows: sequential.CompletedRows) -> np.ndarray:
    """Return the rows with the worst queried loss at slots that were not queried."""
    worst = np.where(rows.asked, rows.losses, -np.inf).max(axis=1, keepdims=True)
    return np.where(rows.asked, rows.losses, worst)


def play(table: Table, order: np.ndarray, pairs: np.ndarray, num_pairs: int, rng) -> dict:
    """Return units and queries until each side decides, by arm and level; 0 if it does not.

    `order` and `pairs` are int64 `[runs, units]`: the order of units in our audits and in the
    published ones.
    """
    found = {}
    for name in (PUBLISHED, OPPOSITE):
        others = others_of(table.slots[pairs], name == OPPOSITE, 2, rng)
        for level, units in published(table, pairs, others, num_pairs, rng).items():
            found[name, level] = (units, 2 * units)
    for name, (losses, cost) in rows_of(table).items():
        wealth = stats.mixture_log_wealth(scores_of(losses)[order], table.slots[order])
        paid = np.insert(np.cumsum(cost[order], axis=1), 0, 0, axis=1)
        for level, units in reached(wealth).items():
            found[name, level] = (units, np.take_along_axis(paid, units[:, None], 1)[:, 0])
    for name, num_slots in FEWER_SLOTS.items():
        others = others_of(table.slots[order], name == TWO_OPPOSITE, num_slots, rng)
        for level, units in reached(fewer(table, order, others)).items():
            found[name, level] = (units, num_slots * units)
    return found


def others_of(slots: np.ndarray, opposed: bool, num_slots: int, rng) -> np.ndarray:
    """Return the slots other than the secret ones, `[..., num_slots - 1]`."""
    return opposite(slots, rng) if opposed else random_others(slots, num_slots - 1, rng)


def rows_of(table: Table) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return completed rows `[n, 11]` and their queries `[n]` of each arm with all slots."""
    rows = {"11 slots": (table.losses[:, 1:], np.full(len(table.slots), 11))}
    for name, saving in SAVING.items():
        done = completed(table, saving)
        rows[name] = (done.losses, done.asked.sum(axis=1))
    rows[WORST] = (with_the_worst(done), done.asked.sum(axis=1))
    return rows


def quartiles(values: np.ndarray) -> list[float | None]:
    """Return lower quartile, median, upper quartile; null where the audit did not decide."""
    known = np.where(values > 0, values.astype(float), np.inf)
    return [
        float(q) if np.isfinite(q) else None
        for q in np.quantile(known, (0.25, 0.5, 0.75), method="higher")
    ]


def simulate(table: Table, num_draws: int, rng) -> dict:
    """Return the same as `play`, with units drawn with replacement."""
    pairs = rng.integers(0, len(table.slots), (num_draws, LONGEST_PAIRS))
    for length in LENGTHS:
        drawn = rng.integers(0, len(table.slots), (num_draws, length))
        found = play(table, drawn, pairs, NUM_PAIRS, rng)
        ours = [units for (arm, _), (units, _) in found.items() if arm != PUBLISHED]
        if all((units > 0).mean() > 0.75 for units in ours):
            break
    return found


def study(table: Table, num_orders: int, num_draws: int, seed: int) -> dict:
    """Return all figures of one table."""
    rng, num_units = np.random.default_rng(seed), len(table.slots)
    real = np.argsort(rng.random((num_orders, num_units)), axis=1)
    within = play(table, real, real, num_units, rng)
    if table.facts["kind"] == "innocent":
        # Drawing luck with replacement would turn it into a signal, so it is not simulated.
        beyond = {cell: (np.zeros(1), np.zeros(1)) for cell in within}
    else:
        beyond = simulate(table, num_draws, rng)
    cells = [
        {
            "arm": arm,
            "level": level,
            "share_decided": float((within[arm, level][0] > 0).mean()),
            "units": quartiles(within[arm, level][0]),
            "queries": quartiles(within[arm, level][1]),
            "simulated_units": quartiles(beyond[arm, level][0]),
            "simulated_queries": quartiles(beyond[arm, level][1]),
        }
        for level in LEVELS
        for arm in ARMS
    ]
    facts = table.facts | {"num_units": num_units, "win_rate": round(table.win_rate, 3)}
    return {**facts, "cells": cells}


def summary(studies: list[dict]) -> list[dict]:
    """Return shares and medians of medians over tables of one kind or band of win rates."""
    groups = {kind: [s for s in studies if s["kind"] == kind] for kind in kinds(studies)}
    guilty = [s for s in studies if s["kind"] != "innocent"]
    for low, high in BANDS:
        name = f"pairs won {low:.0%} to {high:.0%}"
        groups[name] = [s for s in guilty if low <= s["win_rate"] < high]
    groups["all but innocent"] = guilty
    return [row(name, group) for name, group in groups.items() if group]


def kinds(studies: list[dict]) -> list[str]:
    return list(dict.fromkeys(study["kind"] for study in studies))


def row(name: str, studies: list[dict]) -> dict:
    found: dict = {"tables": name, "num_tables": len(studies), "cells": []}
    for index, first in enumerate(studies[0]["cells"]):
        cells = [study["cells"][index] for study in studies]
        typical = {
            what: quartiles(np.array([cell[what][1] or 0.0 for cell in cells]))
            for what in ("simulated_units", "simulated_queries")
        }
        found["cells"].append(
            {
                "arm": first["arm"],
                "level": first["level"],
                "tables_decided": sum(cell["share_decided"] >= 0.5 for cell in cells),
                "share_of_audits_decided": float(
                    np.mean([cell["share_decided"] for cell in cells])
                ),
                **typical,
            }
        )
    return found


def say(rows: list[dict]) -> None:
    for group in rows:
        print(f"{group['tables']}: {group['num_tables']} tables")
        for cell in group["cells"]:
            print(
                f"  p = {cell['level']:<6g} {cell['arm']:<34}"
                f" decided {cell['tables_decided']:>3}"
                f"  simulated units {cell['simulated_units'][1]}"
                f"  queries {cell['simulated_queries'][1]}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdirs", type=pathlib.Path, nargs="*", default=[])
    parser.add_argument("--orders", type=int, default=200, help="real audits of each table")
    parser.add_argument("--draws", type=int, default=60, help="simulated audits of each")
    flags = parser.parse_args()
    start = time.perf_counter()
    if flags.workdirs:
        _real_tables.save(TABLES, _real_tables.collect(flags.workdirs))
    studies = []
    for seed, table in enumerate(_real_tables.load(TABLES)):
        studies.append(study(table, flags.orders, flags.draws, seed))
        print(seed, {k: v for k, v in studies[-1].items() if k != "cells"}, flush=True)
    by_seed = {
        f"seed {seed}": summary([s for s in studies if s["seed"] == seed])
        for seed in sorted({s["seed"] for s in studies})
    }
    every = summary(studies)
    say(every)
    _measure.write(
        "coin_flip_real",
        {
            "orders": flags.orders,
            "draws": flags.draws,
            "longest": {"units": LENGTHS, "pairs": LONGEST_PAIRS, "pairs_in_all": NUM_PAIRS},
            "summary": every,
            "summary_by_seed": by_seed,
            "tables": studies,
            "seconds": round(time.perf_counter() - start, 1),
        },
    )


if __name__ == "__main__":
    main()
