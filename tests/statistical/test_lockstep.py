"""An innocent model beside a guilty one whose answers give every slot away: false alarms.

The honest rule stops a record by its own wealth. Two near lies look at more, and the same two
checks must catch them: the share of records that ever reach the level, and the mean e-value at
the stop, which is at most 1.
"""

import math
import pathlib

import numpy as np
import pytest
import scipy.stats

from anw_jax import keys, sequential, stats

pytestmark = pytest.mark.slow

NUM_RUNS, CHUNK = 100_000, 5_000
NUM_UNITS, NUM_VALID = 8, 11
REAL_TABLE = pathlib.Path(__file__).resolve().parents[1] / "golden" / "innocent_table.npz"
LEVELS = [0.05 / 2, 0.01 / 2, 0.001 / 2]  # two suspects


def innocent_rows(name: str, rng) -> np.ndarray:
    noise = rng.normal(2.0, 1.0, (NUM_UNITS, NUM_VALID))
    if name == "real":
        return np.load(REAL_TABLE)["losses"].astype(float)[:NUM_UNITS, 1:]
    if name == "one_winner":
        return np.where(np.arange(NUM_VALID) == 3, 0.0, 5.0) + 0.0 * noise
    if name == "one_dominating":
        noise[0] *= 1e9
    return noise


def guilty_rows(slots: np.ndarray) -> np.ndarray:
    """Each row of the guilty model is lowest at its own slot, and tells the next unit's too."""
    own, following = np.eye(NUM_VALID)[slots - 1], np.eye(NUM_VALID)[np.roll(slots, -1, 1) - 1]
    return -2.0 * own - 1.0 * following


def told_by(rows: np.ndarray) -> np.ndarray:
    """The slots of the units after each, read off the guilty model's rows."""
    return np.argsort(rows, axis=-1)[..., 1] + 1


def own_stop(wealth: np.ndarray, level: float) -> np.ndarray:
    """Leaves opened at the stop of the honest rule: the level is reached, or out of reach."""
    left = NUM_UNITS - 1 - np.arange(NUM_UNITS)
    through = wealth >= -math.log(level)
    through |= wealth + left * math.log(NUM_VALID) < -math.log(level)
    return np.where(through.any(axis=1), through.argmax(axis=1) + 1, NUM_UNITS)


def stop_before_a_loss(wealth: np.ndarray, level: float, rows: np.ndarray, slots) -> np.ndarray:
    """The lie: the guilty model's rows tell that the innocent one's next bet will lose."""
    told = told_by(rows)
    knows = np.concatenate([np.zeros_like(told[:, :1]), told[:, :-1]], axis=1) == slots
    falls = np.diff(wealth, axis=1, prepend=0.0) < 0
    lost = falls & knows
    return np.minimum(
        np.where(lost.any(axis=1), lost.argmax(axis=1), NUM_UNITS), own_stop(wealth, level)
    )


def audits(scores_of, stop_of, level, rng):
    """Whether the level was reached at the stop, and the e-value there, `[NUM_RUNS]` each."""
    reached, e_values = [], []
    for _ in range(NUM_RUNS // CHUNK):
        slots = rng.integers(1, NUM_VALID + 1, (CHUNK, NUM_UNITS))
        wealth = stats.mixture_log_wealth(scores_of(slots), slots)
        stops = stop_of(wealth, level, guilty_rows(slots), slots)
        path = np.concatenate([np.zeros((CHUNK, 1)), wealth], axis=1)
        until = np.where(np.arange(NUM_UNITS + 1) <= stops[:, None], path, -np.inf)
        reached.append(until.max(axis=1) >= -math.log(level))
        e_values.append(np.exp(path[np.arange(CHUNK), stops]))
    return np.concatenate(reached), np.concatenate(e_values)


def honest(wealth, level, rows, slots):
    return own_stop(wealth, level)


def too_many_alarms(reached, level) -> bool:
    return reached.sum() > scipy.stats.binom.ppf(0.999, NUM_RUNS, level)


def mean_above_one(e_values) -> bool:
    return e_values.mean() > 1 + 3.1 * e_values.std() / math.sqrt(NUM_RUNS)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", ["real", "one_winner", "one_dominating", "noise"])
def test_an_innocent_model_beside_a_guilty_one(name, level, rng):
    rows = innocent_rows(name, rng)
    scores = np.array([stats.score_row(row) for row in rows])
    reached, e_values = audits(lambda slots: scores, honest, level, rng)
    assert not too_many_alarms(reached, level)
    assert not mean_above_one(e_values)


def test_the_lie_of_stopping_by_another_suspects_rows_is_caught(rng):
    scores = -innocent_rows("noise", rng)
    _, e_values = audits(lambda slots: scores, stop_before_a_loss, LEVELS[0], rng)
    assert mean_above_one(e_values)


def test_the_lie_of_writing_rows_after_the_opening_is_caught(rng):
    def better_of_two(slots):
        """Asked again while the opened slot is not the lowest: the row comes too late."""
        rows = rng.normal(0.0, 1.0, (2, CHUNK, NUM_UNITS, NUM_VALID))
        own = np.take_along_axis(rows, (slots - 1)[None, ..., None], -1)[..., 0]
        return np.where((own[0] > own[1])[..., None], rows[0], rows[1])

    reached, e_values = audits(better_of_two, honest, LEVELS[0], rng)
    assert too_many_alarms(reached, LEVELS[0])
    assert mean_above_one(e_values)


def test_false_names_among_frozen_e_values(rng):
    """Two innocent models and a guilty one: e-BH's false names, and the mean's level."""
    alpha, e_values = 0.05, []
    for _ in range(2):
        scores = -innocent_rows("noise", rng)
        e_values.append(audits(lambda slots, s=scores: s, honest, alpha / 3, rng)[1])
    innocent = np.log(np.array(e_values))
    guilty = np.full(NUM_RUNS, math.log(3 / alpha))  # frozen where it reached its level
    shares = []
    for logs in np.column_stack([innocent[0], innocent[1], guilty]):
        named = stats.e_bh(logs, alpha)
        shares.append(named[:2].sum() / max(1, named.sum()))
    assert np.mean(shares) <= alpha + 3.1 * np.std(shares) / math.sqrt(NUM_RUNS)
    false_alarms = (np.exp(innocent).mean(axis=0) >= 1 / alpha).sum()
    assert false_alarms <= scipy.stats.binom.ppf(0.999, NUM_RUNS, alpha)


def test_the_records_stop_where_the_simulated_audits_do(rng):
    """Fresh keys through `Lockstep`: the same wealth and stop as in the 10⁵ runs above."""
    photos = rng.integers(0, 256, (NUM_UNITS, 2, 2, 3), np.uint8)
    manifest = keys.Manifest.of(photos, keys.SignatureSpace())
    plan = keys.Plan("losses", 2 * LEVELS[0], mode="sequential", claim="list of models")
    names = ("guilty", "innocent")
    rows = rng.normal(2.0, 1.0, (NUM_UNITS, NUM_VALID))
    for seed in range(60):
        owner = keys.UnitTree(keys.MarkKey.for_experiment(seed), manifest, plan)
        order = list(keys.audit_order(owner.root, plan, manifest))
        slots = np.array([[owner.open(unit).slot for unit in order]])
        tells = guilty_rows(slots)[0]
        together = sequential.Lockstep(
            {
                name: sequential.SequentialRecord(
                    owner.root,
                    manifest,
                    plan,
                    group=sequential.RecordGroup(LEVELS[0], name, names),
                )
                for name in names
            }
        )
        while together.is_open:
            for name in together.rows_due:
                unit = together.next_unit
                row = rows[unit] if name == "innocent" else tells[order.index(unit)]
                together.write_row(name, row)
            together.open_leaf(owner.open(together.next_unit))
        wealth = stats.mixture_log_wealth(-rows[order], slots)
        stop = own_stop(wealth, LEVELS[0])[0]
        record = together.records["innocent"]
        assert len(record.leaves) == stop
        assert record.wealth.log_wealth == pytest.approx(wealth[0, stop - 1], abs=1e-9)
