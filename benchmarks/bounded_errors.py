"""Limits of "bounded_log_errors": evidence of clean tables, and after absurd answers.

Command:   python -m benchmarks.bounded_errors     (a few seconds)
Reads:     results/benchmarks/bounded_errors_rows.npz
Writes:    results/benchmarks/bounded_errors.json

The rows are errors of a base (that of seed 3 of experiments/diffusion.py:quick) and of
models fine-tuned from it for 150 epochs on 25 light-marked CIFAR-10 photos of each of several
owners: trainings 103 and 104, made by hand, with photos, keys and slots that are in no result.
Owners 1 to 3 had other patterns of light, which were tried and not kept.

Each pair of limits is applied to each owner's rows, calibrated by the base. A suspect answers
absurdly to the 1 or 3 photos with most evidence: a million times the error at their slot,
random errors, or a millionth of the error at all other slots; the figure is the worst of the
three. All are sums of log10 p over the owners.
"""

import numpy as np

from anw_jax import stats
from anw_jax.keys import Assignment, SignatureSpace, Units
from anw_jax.stats import scores
from benchmarks import _measure

ROWS = _measure.RESULTS / "bounded_errors_rows.npz"
NAME = "bounded_log_errors"
LIMITS = [(0.75, 1.5), (1.0, 2.0), (1.5, 2.5), (2.0, 2.0), (2.0, 3.0), (3.0, 3.0), (3.0, 4.0)]
UNBOUNDED = (1e3, 1e3)
NUM_PHOTOS = (1, 3)


def log10_p(suspect: np.ndarray, base: np.ndarray, slots: np.ndarray) -> float:
    """Test the rows of one owner."""
    units = Units(np.arange(len(slots)), SignatureSpace(suspect.shape[1]))
    assignment = Assignment(units, slots)
    return stats.exact_test(suspect, assignment, statistic=NAME, references=[base]).log10_p


def attacked(
    suspect: np.ndarray, base: np.ndarray, slots: np.ndarray, num_photos: int
) -> list[np.ndarray]:
    """Return the tables after each kind of absurd answers."""
    rows = np.arange(len(slots))
    ratio = np.log(base / suspect)
    ratio -= np.median(ratio[:, 1:], axis=1, keepdims=True)
    chosen = np.argsort(-ratio[rows, slots])[:num_photos]
    own = chosen, slots[chosen]
    noise = np.random.default_rng(0).normal(0, 20, (num_photos, suspect.shape[1]))
    larger, random, smaller = suspect.copy(), suspect.copy(), suspect.copy()
    larger[own] *= 1e6
    random[chosen] *= np.exp(noise)
    smaller[chosen] *= 1e-6
    smaller[own] = suspect[own]
    return [larger, random, smaller]


def main() -> None:
    """Apply all limits, print and store."""
    stored = np.load(ROWS)
    owners = [stored["owner"] == number for number in np.unique(stored["owner"])]
    tables = [
        tuple(stored[name][own] for name in ("suspect", "base", "slots")) for own in owners
    ]
    kept, found = scores.BOUNDS[NAME], {}
    for below, above in [*LIMITS, UNBOUNDED]:
        scores.BOUNDS[NAME] = scores.Bounds(kept.score, below, above)
        clean = [log10_p(*table) for table in tables]
        worst = {
            number: [
                max(log10_p(each, *table[1:]) for each in attacked(*table, number))
                for table in tables
            ]
            for number in NUM_PHOTOS
        }
        name = f"-{below:g} +{above:g}"
        found[name] = {
            "clean": round(sum(clean), 2),
            "clean_of_each": [round(each, 2) for each in clean],
            **{f"worst_of_{n}": round(sum(each), 2) for n, each in worst.items()},
        }
        print(name, found[name])
    scores.BOUNDS[NAME] = kept
    chosen = f"-{kept.below:g} +{kept.above:g}"
    _measure.write("bounded_errors", {"chosen": chosen, "limits": found})


if __name__ == "__main__":
    main()
