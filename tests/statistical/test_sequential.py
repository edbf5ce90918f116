"""The sequential mode, the list and the bound at full size: false alarms, FDR, coverage."""

import math
import pathlib

import numpy as np
import pytest
import scipy.stats

from anw_jax import stats
from anw_jax.keys import Assignment, SignatureSpace, Units

pytestmark = pytest.mark.slow

NUM_RUNS = 100_000
REAL_TABLE = pathlib.Path(__file__).resolve().parents[1] / "golden" / "innocent_table.npz"


def _real_rows() -> np.ndarray:
    if not REAL_TABLE.exists():
        pytest.skip(f"{REAL_TABLE.name} has not been made")
    return np.load(REAL_TABLE)["losses"].astype(float)


def _losses(name: str, rng) -> np.ndarray:
    noise = rng.normal(2.0, 1.0, (20, 11))
    if name == "real":
        return _real_rows()[:20, 1:]
    if name == "one_winner":
        return np.where(np.arange(11) == 3, 0.0, 5.0) + 0.0 * noise
    if name == "one_dominating":
        noise[0] *= 1e9
        return noise
    return noise[:1] + 0.01 * noise  # correlated rows


@pytest.mark.parametrize("name", ["real", "one_winner", "one_dominating", "correlated_rows"])
def test_a_hundred_thousand_null_audits(name, rng):
    scores = np.array([stats.score_row(row) for row in _losses(name, rng)])
    highest = np.concatenate(
        [
            stats.mixture_log_wealth(scores, rng.integers(1, 12, (5_000, 20))).max(axis=1)
            for _ in range(NUM_RUNS // 5_000)
        ]
    )
    for alpha in (0.05, 0.01, 0.001):
        alarms = (highest >= -math.log(alpha)).sum()
        assert alarms <= scipy.stats.binom.ppf(0.999, NUM_RUNS, alpha)


def _resampled(rng, share: float, num_units: int = 40):
    """Real innocent rows under fresh slots; the used units' own slot is the lowest."""
    real = _real_rows()
    table = real[rng.integers(0, len(real), num_units)]
    slots = rng.integers(1, 12, num_units)
    num_used = round(share * num_units)
    used = np.arange(num_used)
    table[used, slots[:num_used]] = table[used, 1:].min(axis=1) - 0.5
    return table, Assignment(Units(np.arange(num_units), SignatureSpace()), slots), num_used


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_coverage_on_ten_thousand_resamples_of_real_rows(share, rng):
    covered = 0
    for _ in range(10_000):
        table, assignment, num_used = _resampled(rng, share)
        covered += stats.how_many(table, assignment, by="hits").num_used <= num_used
    assert covered >= scipy.stats.binom.ppf(0.001, 10_000, 0.95)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5])
def test_false_discoveries_on_resamples_of_real_rows(share, rng):
    wrong = []
    for _ in range(5_000):
        table, assignment, num_used = _resampled(rng, share)
        units = stats.which_units(table, assignment, q=0.05).units
        wrong.append((units >= num_used).sum() / max(1, len(units)))
    assert np.mean(wrong) <= 0.05 + 3.1 * np.std(wrong) / math.sqrt(len(wrong))
