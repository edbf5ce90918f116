"""Statistics that bound each image's row: every photo keeps its own row to the end."""

import dataclasses

import numpy as np
import pytest

from anw_jax import audit
from anw_jax.audit.query import photos_of_units
from anw_jax.keys import MarkKey, Plan
from anw_jax.suspects import Access
from tests.audit.conftest import NUM_PHOTOS, hand_over, write_photos, write_suspect
from tests.audit.owners import mark_folder, saving_choices
from tests.audit.test_query import batch_of
from tests.audit.test_rounds import to_the_end

NAME = "bounded_log_losses"
ACCESS = Access("logits", true_labels=False)


def albums_of(root, case_dir, statistic=NAME, **plan):
    """Three albums, one photo in two of them; handed over without labels."""
    for group, number in (("a", 3), ("b", 2), ("c", 4)):
        write_photos(root / "photos" / group, seed=ord(group), number=number)
    copy = (root / "photos" / "a" / "photo00.png").read_bytes()
    (root / "photos" / "a" / "photo01.png").write_bytes(copy)
    key = MarkKey.for_experiment(2)
    mark_folder(
        root / "photos", key, root / "out", Plan(statistic, 0.1, **plan), scheme="per_group"
    )
    folder = case_dir / "owners" / "ann"
    folder.mkdir(parents=True)
    for file in (root / "out").glob("*.json"):
        (folder / file.name).write_bytes(file.read_bytes())
    (root / "photos").rename(folder / "originals")
    return key


@pytest.mark.parametrize("saving", [None, (3, 1), (2, 0)])
def test_a_units_rows_are_those_of_the_table(root, case_dir, saving):
    albums_of(root, case_dir)
    batch, _ = batch_of(case_dir, access=ACCESS)
    (table,) = batch.full_tables() if saving is None else batch.saving_tables(*saving)
    members = photos_of_units(batch.owners[0].published.manifest)
    assert [len(photos) for photos in members] == [2, 2, 4]
    for unit, photos in enumerate(members):
        rows = batch.unit_row(0, unit, saving)
        assert rows.shape == (len(photos), 11)
        assert np.isfinite(rows).all()
        np.testing.assert_allclose(rows, table[photos, 1:], rtol=1e-6)


@pytest.mark.parametrize("saving", [(3, 1), (2, 0)])
def test_saved_rows_are_the_answers_where_asked_and_sum_to_the_units_row(
    root, case_dir, saving
):
    albums_of(root, case_dir)
    batch, _ = batch_of(case_dir, access=ACCESS)
    (full,), (table,) = batch.full_tables(), batch.saving_tables(*saving)
    sums = batch_of_sums(batch, saving)
    for unit, photos in enumerate(photos_of_units(batch.owners[0].published.manifest)):
        np.testing.assert_allclose(table[photos, 1:].sum(axis=0), sums[unit], rtol=1e-5)
        at = np.arange(1, 12, saving[0])
        np.testing.assert_array_equal(table[photos][:, at], full[photos][:, at])


def test_a_rule_that_names_the_statistic_keeps_every_photos_row(root, case_dir, monkeypatch):
    """The table of a plan whose own statistic sums a unit's photos first."""
    plan_of = audit.Choices.plan

    def with_own_statistic(choices, *arguments):
        plan = plan_of(choices, *arguments)
        own = {"statistic": NAME, "saving": (3, 1), "labels": "model"}
        rules = (dataclasses.replace(rule, **own) for rule in plan.rules)
        return dataclasses.replace(plan, rules=tuple(rules))

    monkeypatch.setattr(audit.Choices, "plan", with_own_statistic)
    key = albums_of(root, case_dir, "log_losses")
    write_suspect(case_dir, None)
    audit.declare(audit.Case(case_dir), audit.Options(), despite_probe=True)
    audit.seal_case(audit.Case(case_dir))
    with np.load(case_dir / "tables" / "net.npz") as stored:
        assert np.isfinite(stored["ann"][:, 1:]).all(axis=1).tolist() == [
            not copy for copy in audit.Case(case_dir).owners["ann"].published.manifest.is_copy
        ]
    verdict = audit.judge_case(audit.Case(case_dir), {"ann": key})
    assert verdict["tests"]["ann"]["net"]["statistic"] == NAME


def batch_of_sums(batch, saving):
    """The units' rows as other statistics see them."""
    batch._takes_images = lambda owner: False
    rows = [batch.unit_row(0, unit, saving) for unit in range(3)]
    assert all(row.shape == (11,) for row in rows)
    return rows


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e31])
@pytest.mark.parametrize("saving", [None, (3, 1)])
def test_one_unusable_answer_costs_one_photo(root, case_dir, saving, bad):
    albums_of(root, case_dir)
    batch, _ = batch_of(case_dir, access=ACCESS)
    members = photos_of_units(batch.owners[0].published.manifest)
    hole, answer = members[2][1], batch.losses

    def with_a_hole(photos, slots, on_progress=None):
        losses = answer(photos, slots)
        return np.where((photos == hole) & (slots == 1), np.float32(bad), losses)

    batch.losses = with_a_hole
    rows = batch.unit_row(0, 2, saving)
    usable = (np.abs(rows) <= 1e30).all(axis=1)
    assert usable.tolist() == [True, False, True, True]
    if saving is not None:
        (table,) = batch.saving_tables(*saving)
        assert np.isnan(table[hole, 1:]).all()
        np.testing.assert_allclose(table[members[2]][usable, 1:], rows[usable], rtol=1e-6)


@pytest.mark.parametrize("saving", [None, (3, 1)])
def test_a_sequential_case_goes_to_its_end(root, case_dir, saving):
    choices = saving_choices(saving)
    key = hand_over(root, case_dir, statistic=NAME, mode="sequential", choices=choices)
    write_suspect(case_dir, root / "ann_marked" / "published")
    audit.probe_case(audit.Case(case_dir))
    audit.declare(audit.Case(case_dir), audit.Options())
    standing = to_the_end(root, case_dir, key)
    assert standing.closed_because == "the level is reached"
    assert standing.num_opened < NUM_PHOTOS
    verdict = audit.judge_record(audit.Case(case_dir), {})
    assert verdict["tests"]["ann"]["net"]["outcome"] == "shown"
