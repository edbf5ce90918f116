"""Units and queries on stored tables of real trainings: the figures replay."""

import json

import numpy as np
import pytest

from anw_jax import sequential
from anw_jax.baselines.coin_flip import CoinFlipAudit
from benchmarks import _real_tables
from benchmarks import coin_flip_real as benchmark


@pytest.fixture(scope="module")
def tables():
    return _real_tables.load(benchmark.TABLES)


def _made_up(num_units=30):
    """The secret slot has the lowest loss, its neighbours higher ones."""
    slots = 1 + np.arange(num_units) % 11
    losses = np.abs(np.arange(12) - slots[:, None]).astype(np.float32)
    return _real_tables.Table({"kind": "plain training"}, losses, slots)


def test_tables_survive_their_file(tables, tmp_path):
    _real_tables.save(tmp_path / "again.npz", tables)
    for before, after in zip(tables, _real_tables.load(tmp_path / "again.npz"), strict=True):
        assert before.facts == after.facts
        np.testing.assert_array_equal(before.losses, after.losses)
        np.testing.assert_array_equal(before.slots, after.slots)
    assert {table.facts["kind"] for table in tables} > {"plain training", "innocent"}


def test_a_perfect_table_costs_what_each_side_needs_at_least():
    table, rng = _made_up(), np.random.default_rng(0)
    order = np.argsort(rng.random((6, 30)), axis=1)
    assert table.win_rate == 1.0
    found = benchmark.play(table, order, order, 30, rng)
    units, queries = found[benchmark.PUBLISHED, 0.05]
    assert set(units.tolist()) == {CoinFlipAudit(30, 0.05).decided_after(np.ones(30, bool))}
    np.testing.assert_array_equal(queries, 2 * units)
    assert (found[benchmark.PUBLISHED, 1e-6][0] == 0).all()  # 30 pairs can never suffice
    units, queries = found["11 slots", 1e-6]
    assert (units > 0).all()
    np.testing.assert_array_equal(queries, 11 * units)
    units, queries = found["11 slots, saving 3, 0", 1e-6]
    np.testing.assert_array_equal(queries, 4 * units)


def test_saving_asks_what_it_pays_for():
    table, rng = _made_up(), np.random.default_rng(0)
    order = np.arange(30)[None]
    units, queries = benchmark.play(table, order, order, 30, rng)["11 slots, saving 3, 1", 1e-6]
    asked = sequential.coarse_to_fine(lambda u, s: table.losses[u, s], 30, 12).asked
    assert queries[0] == asked[: units[0]].sum()


def test_rows_filled_with_the_worst():
    done = benchmark.completed(_made_up(), (3, 1))
    worst = benchmark.with_the_worst(done)
    np.testing.assert_array_equal(worst[done.asked], done.losses[done.asked])
    for row, asked, whole in zip(worst, done.asked, done.losses, strict=True):
        assert set(row[~asked].tolist()) == {whole[asked].max()}


def test_few_slots_hold_the_secret_one_and_no_slot_twice(monkeypatch):
    seen = {}

    def keep(scores, slots):
        seen.update(scores=scores, slots=slots)
        return np.zeros(slots.shape)

    monkeypatch.setattr(benchmark.stats, "mixture_log_wealth", keep)
    table, order = _made_up(11), np.tile(np.arange(11), (50, 1))
    others = benchmark.random_others(table.slots[order], 3, np.random.default_rng(0))
    benchmark.fewer(table, order, others)
    best = benchmark.scores_of(table.losses)[np.arange(11), table.slots]
    np.testing.assert_allclose(seen["scores"][..., 0], np.tile(best, (50, 1)))
    assert (seen["scores"][..., 1:] < seen["scores"][..., :1]).all()
    assert (seen["slots"] == 1).all()


def test_opposite_hues():
    slots = np.tile(np.arange(1, 12), 20)
    others = benchmark.opposite(slots, np.random.default_rng(0))[:, 0]
    apart = np.minimum((slots - others) % 12, (others - slots) % 12)
    assert set(others.tolist()) == set(range(1, 12)) - {6}  # slot 0 is never asked
    assert (apart[slots != 6] == 6).all()
    assert (apart[slots == 6] == 5).all()


def test_quartiles_say_none_where_the_audit_did_not_decide():
    assert benchmark.quartiles(np.array([3, 0, 5, 0])) == [5.0, None, None]


@pytest.mark.parametrize("number", [1, 2])
def test_stored_figures_replay(tables, number):
    stored = json.loads(benchmark.TABLES.with_name("coin_flip_real.json").read_text())
    results, table = stored["results"], tables[number]
    rng, num_units = np.random.default_rng(number), len(table.slots)
    order = np.argsort(rng.random((results["orders"], num_units)), axis=1)
    found = benchmark.play(table, order, order, num_units, rng)
    for cell in results["tables"][number]["cells"]:
        units, queries = found[cell["arm"], cell["level"]]
        assert cell["share_decided"] == (units > 0).mean()
        assert cell["units"] == benchmark.quartiles(units)
        assert cell["queries"] == benchmark.quartiles(queries)
