"""Coverage of the lower bound and false entries of the unit list, on real rows.

Rows come from trainings that used 0, 25, 50, 75 and 100 % of five owners' photos
(`_partly_trained`). A resample is a table of 40 units: trained rows with the slots they were
trained with, drawn with replacement, and rows of left-out photos with slots that a fresh key
draws for them through `keys.assign`. "every imprint clear" takes only trained rows whose
inferred slot is correct: with them the bound has the least slack. Then come the bounds and
lists of the trainings themselves, for each owner with the owner's key.

    python -m benchmarks.lower_bound                  # from the stored rows
    python -m benchmarks.lower_bound --train 0 1 2    # trains (CIFAR-10) and stores them first
"""

import argparse
import functools
import time

import numpy as np
import scipy.stats

from anw_jax import keys, stats
from anw_jax.keys import Assignment, MarkKey, Units
from anw_jax.stats.bounds import (
    confidence,
    longest_prefix,
    lower_bound_by_hits,
    lower_bound_by_ranks,
    slot_ranks,
)
from benchmarks import _measure, _partly_trained
from benchmarks._partly_trained import NUM_PHOTOS, RULES, SHARES, SPACE, Rows, num_trained

ROWS = _measure.RESULTS / "lower_bound_rows.npz"
ALPHA = Q = 0.05
POOLS = ("all trained rows", "every imprint clear")

_bound_by_hits = functools.cache(lower_bound_by_hits)
_bound_by_ranks = functools.cache(lower_bound_by_ranks)


def fresh_slots(rows: Rows, num_keys: int) -> np.ndarray:
    """Draw slots of the left-out photos with fresh keys, `[num_keys, number left out]`."""
    digests = tuple(rows.digests[~rows.trained].tolist())
    names = tuple(f"{index:06d}" for index in range(len(digests)))
    manifest = keys.Manifest(digests, names, tuple(range(len(digests))), SPACE, "per_image")
    fresh = (
        MarkKey.for_experiment(number, f"resample of training {rows.seed}")
        for number in range(num_keys)
    )
    return np.array([keys.assign(mark_key, manifest, RULES).slots for mark_key in fresh])


def resample(
    rows: Rows, share: float, pool: str, slots: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return row numbers and slots of a table per row of `slots`, trained units first."""
    trained, left = np.flatnonzero(rows.trained), np.flatnonzero(~rows.trained)
    if pool == POOLS[1]:
        right = stats.blind_argmin(rows.losses[trained, 1:]) == rows.slots[trained]
        trained = trained[right]
    count, num_runs = num_trained(share), len(slots)
    used = trained[rng.integers(0, len(trained), (num_runs, count))]
    chosen = np.argsort(rng.random((num_runs, len(left))), axis=1)[:, : NUM_PHOTOS - count]
    numbers = np.concatenate([used, left[chosen]], axis=1)
    drawn = np.take_along_axis(slots, chosen, axis=1)
    return numbers, np.concatenate([rows.slots[used], drawn], axis=1)


def outcomes(rows: Rows, numbers: np.ndarray, slots: np.ndarray) -> dict[str, np.ndarray]:
    """Return the results of `how_many` and `which_units` on many tables, `[num_runs]` each.

    Numbers of each row are computed once; tests compare the results with the public calls.
    """
    guess = stats.blind_argmin(rows.losses[:, 1:])
    ranks = np.stack(
        [slot_ranks(rows.losses[:, 1:], np.full(len(guess), s)) for s in range(1, 12)], axis=1
    )
    sure = confidence(rows.losses, Units(np.arange(len(guess)), SPACE), stats.DEFAULT_STATISTIC)
    hit = guess[numbers] == slots
    sums = ranks[numbers, slots - 1].sum(axis=1)
    listed = [_listed(sure[n], h) for n, h in zip(numbers, hit, strict=True)]
    return {
        "hits": np.array([_bound_by_hits(int(h), NUM_PHOTOS, 11, ALPHA) for h in hit.sum(1)]),
        "ranks": np.array([_bound_by_ranks(int(s), NUM_PHOTOS, 11, ALPHA) for s in sums]),
        "listed": np.array(listed),
    }


def _listed(sure: np.ndarray, hit: np.ndarray) -> np.ndarray:
    """Return bool `[40]`: the units in the list."""
    order = np.argsort(-sure, kind="stable")
    prefix = order[: longest_prefix(hit[order], 11, Q)]
    named = np.zeros(len(hit), bool)
    named[prefix[hit[prefix]]] = True
    return named


def judged(found: dict[str, np.ndarray], share: float) -> dict:
    """Return coverage and share of wrong entries, each with a 99.9 % band around its goal."""
    count, num_runs = num_trained(share), len(found["hits"])
    result: dict = {"share": share, "num_used": count, "num_resamples": num_runs}
    least = float(scipy.stats.binom.ppf(0.001, num_runs, 1 - ALPHA)) / num_runs
    for by in stats.INVERSIONS:
        coverage = float((found[by] <= count).mean())
        result[by] = {
            "coverage": coverage,
            "within": coverage >= least,
            "median_bound": float(np.median(found[by])),
        }
    sizes = found["listed"].sum(axis=1)
    wrong = found["listed"][:, count:].sum(axis=1) / np.maximum(sizes, 1)
    error = float(wrong.std() / np.sqrt(num_runs))
    result["list"] = {
        "share_of_wrong_entries": float(wrong.mean()),
        "standard_error": error,
        "within": bool(wrong.mean() <= Q + 3.1 * error),
        "mean_length": float(sizes.mean()),
        "share_of_used_listed": float(found["listed"][:, :count].mean()) if count else None,
    }
    return result


def resampled(trainings: list[Rows], num_runs: int) -> dict[str, list[dict]]:
    """Return figures of each pool and share; all trainings get equally many runs."""
    rng, parts = np.random.default_rng(0), -(-num_runs // len(trainings))
    fresh = [fresh_slots(rows, parts) for rows in trainings]
    tables: dict[str, list[dict]] = {pool: [] for pool in POOLS}
    for pool, cells in tables.items():
        for share in SHARES:
            found = [
                outcomes(rows, *resample(rows, share, pool, slots, rng))
                for rows, slots in zip(trainings, fresh, strict=True)
            ]
            merged = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
            cells.append(judged(merged, share))
            print(pool, cells[-1], flush=True)
    return tables


def real(rows: Rows) -> list[dict]:
    """Return the bounds and the list of each owner of one training, with the owner's key."""
    found = []
    for share in SHARES:
        mine, count = rows.owner(share), num_trained(share)
        table = rows.losses[mine]
        assignment = Assignment(Units(np.arange(NUM_PHOTOS), SPACE), rows.slots[mine])
        bounds = {
            by: stats.how_many(table, assignment, alpha=ALPHA, by=by).num_used
            for by in stats.INVERSIONS
        }
        units = stats.which_units(table, assignment, q=Q).units
        found.append(
            {
                "seed": rows.seed,
                "share": share,
                "num_used": count,
                "bound_by_hits": bounds["hits"],
                "bound_by_ranks": bounds["ranks"],
                "covered": all(bound <= count for bound in bounds.values()),
                "listed": len(units),
                "listed_wrongly": int((units >= count).sum()),
                "p_value": stats.exact_test(table, assignment).p_value,
            }
        )
        print(found[-1], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=int, nargs="*", default=[], metavar="SEED")
    parser.add_argument("--source", default="tfds:cifar10", help="photos to train on")
    parser.add_argument("--resamples", type=int, default=12_000, help="of each share")
    flags = parser.parse_args()
    start, trainings = time.perf_counter(), []
    for seed in flags.train:
        trainings.append(_partly_trained.train_and_ask(flags.source, seed))
        _partly_trained.save(ROWS, trainings)
    trainings = _partly_trained.load(ROWS)
    tables = resampled(trainings, flags.resamples)
    cells = [cell for part in tables.values() for cell in part]
    owners = [owner for rows in trainings for owner in real(rows)]
    goals = {
        "coverage at least nominal, within chance": all(
            cell[by]["within"] for cell in cells for by in stats.INVERSIONS
        ),
        "wrong entries within q in every cell": all(cell["list"]["within"] for cell in cells),
    }
    print(goals, sum(owner["covered"] for owner in owners), "of", len(owners), "real covered")
    _measure.write(
        "lower_bound",
        {
            "alpha": ALPHA,
            "q": Q,
            "num_units": NUM_PHOTOS,
            "trainings": [
                {"seed": rows.seed, "accuracy_train_and_test": rows.accuracies.tolist()}
                for rows in trainings
            ],
            "resampled": tables,
            "real": owners,
            "goals": goals,
            "seconds": round(time.perf_counter() - start, 1),
        },
    )


if __name__ == "__main__":
    main()
