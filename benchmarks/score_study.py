"""Choice of the plan's score: log10 p of each statistic on seeds that are in no result.

Command: python -m benchmarks.score_study WORKDIR [WORKDIR ...] (runs with seeds >= 100)
Writes:  results/score_study.json

For the keyed user of each run: p of the whole set, and the mean log10 p of random twenties
of its photos, which is closer to the case of a small owner. More negative is better.
"""

import json
import pathlib
import sys

import numpy as np

from anw_jax import keys, stats
from benchmarks import _real_tables

NUM_SUBSETS, SUBSET_SIZE = 20, 20
OUT = pathlib.Path(__file__).resolve().parents[1] / "results" / "score_study.json"


def study(workdir: pathlib.Path, user: str = "keyed") -> dict:
    settings = json.loads((workdir / "settings.json").read_text())
    if settings["seed"] < 100:
        sys.exit(f"{workdir} has seed {settings['seed']}: choose scores on seeds >= 100")
    with np.load(workdir / "tables" / f"{user}.npz") as arrays:
        table = arrays["losses"][:, :: settings["verify"]["grid_refinement"]]
    assignment = _real_tables.assignment_of_run(workdir, user)
    rng = np.random.default_rng(0)
    subsets = [rng.permutation(len(table))[:SUBSET_SIZE] for _ in range(NUM_SUBSETS)]
    return {
        "experiment": settings["name"],
        "seed": settings["seed"],
        "num_images": len(table),
        "log10_p": {n: log10_p(table, assignment, n) for n in stats.STATISTICS},
        "log10_p_of_20": {
            name: float(np.mean([log10_p(table, assignment, name, rows) for rows in subsets]))
            for name in stats.STATISTICS
        },
    }


def log10_p(
    table: np.ndarray,
    assignment: keys.Assignment,
    statistic: str,
    rows: np.ndarray | None = None,
) -> float:
    if rows is not None:
        slots = assignment.slots[rows]
        assignment = keys.Assignment(
            keys.Units(np.arange(len(rows)), assignment.units.space), slots
        )
        table = table[rows]
    return stats.exact_test(table, assignment, statistic=statistic).log10_p


def main() -> None:
    runs = [study(pathlib.Path(folder)) for folder in sys.argv[1:]]
    if not runs:
        sys.exit(__doc__)
    OUT.write_text(json.dumps({"runs": runs}, indent=1) + "\n")
    for part in ("log10_p", "log10_p_of_20"):
        print(part, *(f"{r['experiment']}/{r['seed']}" for r in runs), sep="\t")
        for name in stats.STATISTICS:
            print(name, *(f"{run[part][name]:.2f}" for run in runs), sep="\t")


if __name__ == "__main__":
    main()
