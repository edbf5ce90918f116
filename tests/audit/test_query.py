import shutil

import numpy as np
import pytest

from anw_jax import audit, data
from anw_jax.audit.query import QueryBatch, photos_of_units
from anw_jax.keys import MarkKey, Plan
from anw_jax.stats import unit_losses
from anw_jax.suspects import Access, AnswerCache, CallableSuspect, Declaration, ask
from tests.audit.conftest import arrays_of, hand_over, receive, write_labels, write_photos
from tests.audit.owners import mark_folder

SUSPECT = CallableSuspect(
    lambda batch: np.stack([batch.mean((1, 2, 3)), batch[:, 0, 0, 2]], 1) * 5,
    Declaration(2),
    identity="mean against blue",
)


def batch_of(case_dir, suspect=SUSPECT, access=None):
    owners = list(audit.Case(case_dir).owners.values())
    cache = AnswerCache(None, suspect.declaration)
    seeds = [bytes([number] * 32) for number in range(len(owners))]
    return QueryBatch(suspect, owners, access or Access("logits"), seeds, cache, None), cache


def test_tables_are_those_of_asking_each_owner_alone(root, case_dir):
    for seed, name in enumerate(("ann", "bob"), start=1):
        hand_over(root, case_dir, name, seed)
    batch, _ = batch_of(case_dir)
    for owner, table in zip(batch.owners, batch.full_tables(), strict=True):
        published, originals = owner.published, owner.originals
        images = np.stack(originals.images)
        space = published.manifest.space
        twin = ask(SUSPECT, images, originals.labels, published.mark, space)
        assert np.isnan(table[:, 0]).all()
        np.testing.assert_array_equal(table[:, 1:], twin[:, 1:])


def test_photos_of_several_sizes_and_marks_share_a_case(root, case_dir):
    hand_over(root, case_dir, "ann", 1)
    write_photos(root / "bob_photos", seed=8, number=2)
    wide = np.random.default_rng(0).integers(0, 256, (8, 16, 3), dtype=np.uint8)
    (root / "bob_photos" / "wide.png").write_bytes(data.png_of(wide))
    key = MarkKey.for_experiment(2)
    plan = Plan("log_losses", 1e-3)
    mark_folder(root / "bob_photos", key, root / "bob_marked", plan, mark="private_basis")
    receive(root / "bob_marked", root / "bob_photos", case_dir, "bob")
    batch, cache = batch_of(case_dir)
    ann, bob = batch.full_tables()
    assert np.isfinite(ann[:, 1:]).all()
    assert np.isfinite(bob[:, 1:]).all()
    assert cache.num_queries == (12 + 3) * 11
    owner = batch.owners[1]
    twin = ask(
        SUSPECT,
        owner.originals.images[2][None],
        [0],
        owner.published.mark,
        owner.published.manifest.space,
    )
    np.testing.assert_array_equal(bob[2, 1:], twin[0, 1:])


def mark_and_receive_groups(root, case_dir):
    key, plan = MarkKey.for_experiment(2), Plan("losses", 0.1)
    mark_folder(root / "photos", key, root / "out", plan, scheme="per_group")
    folder = case_dir / "owners" / "ann"
    folder.mkdir(parents=True)
    for file in (root / "out").glob("*.json"):
        (folder / file.name).write_bytes(file.read_bytes())
    (root / "photos").rename(folder / "originals")


@pytest.mark.parametrize("saving", [None, (3, 1)])
def test_a_units_row_is_that_of_the_table(root, case_dir, saving):
    write_photos(root / "photos" / "a", seed=1, number=3)
    write_photos(root / "photos" / "b", seed=2, number=2)
    copy = (root / "photos" / "a" / "photo00.png").read_bytes()
    (root / "photos" / "b" / "copy.png").write_bytes(copy)
    mark_and_receive_groups(root, case_dir)
    batch, _ = batch_of(case_dir, access=Access("logits", true_labels=False))
    manifest = batch.owners[0].published.manifest
    assert [len(photos) for photos in photos_of_units(manifest)] == [3, 2]
    (table,) = batch.full_tables() if saving is None else batch.saving_tables(*saving)
    rows = unit_losses(table, manifest.units)
    for unit in range(2):
        np.testing.assert_allclose(batch.unit_row(0, unit, saving), rows[unit], rtol=1e-6)


@pytest.mark.parametrize("slot", [1, 5, 11])
@pytest.mark.parametrize("saving", [(3, 1), (2, 0)])
def test_one_unusable_answer_costs_one_photo_not_its_unit(root, case_dir, saving, slot):
    """As in a full table: the unit's row is that of its other photos."""
    folder = root / "photos"
    write_photos(folder, seed=1, number=5)
    labels = write_labels(folder, root / "labels.csv")
    key, plan = MarkKey.for_experiment(2), Plan("losses", 0.1)
    mark_folder(folder, key, root / "out", plan, scheme="per_user", labels=labels)
    receive(root / "out", folder, case_dir, "ann")
    batch, _ = batch_of(case_dir)
    photos = np.arange(len(batch.owners[0].originals.images))
    valid = np.arange(1, 12)
    true = {p: batch.losses(np.full(11, p), valid).astype(float) for p in photos}
    answer, asked = batch.losses, set()

    def with_a_hole(photos, slots, on_progress=None):
        losses = answer(photos, slots)
        asked.update(slots.tolist())
        return np.where((photos == 3) & (slots == slot), np.nan, losses)

    batch.losses = with_a_hole
    row = batch.unit_row(0, 0, saving)
    twin = sum(true[p] for p in photos if p != 3)
    if slot not in asked:  # nothing is missing
        twin = sum(true.values())
    at = np.arange(0, 11, saving[0])
    np.testing.assert_allclose(row[at], twin[at], rtol=1e-5)
    assert np.isfinite(row).all()


def test_units_with_unusable_answers_side_by_side(root, case_dir):
    """Each unit's row is that of asking it alone, whichever photos are left out."""
    for group, number in (("a", 3), ("b", 2), ("c", 4)):
        write_photos(root / "photos" / group, seed=ord(group), number=number)
    mark_and_receive_groups(root, case_dir)
    batch, _ = batch_of(case_dir, access=Access("logits", true_labels=False))
    answer = batch.losses

    def with_holes(photos, slots, on_progress=None):
        losses = answer(photos, slots)
        losses[(photos == 1) & (slots == 4)] = np.nan
        losses[(photos == 6) & (slots == 1)] = 1e31
        return np.where(photos == 3, -np.inf, losses)

    batch.losses = with_holes
    (table,) = batch.saving_tables(3, 1)
    members = photos_of_units(batch.owners[0].published.manifest)
    for unit, photos in enumerate(members):
        alone = batch.unit_row(0, unit, (3, 1))
        np.testing.assert_allclose(table[photos[0], 1:], alone, rtol=1e-6)
    coarse = np.arange(1, 12, 3)
    for photos, left in zip(members, [[0, 2], [4], [5, 7, 8]], strict=True):
        twin = sum(answer(np.full(len(coarse), photo), coarse) for photo in left)
        np.testing.assert_allclose(table[photos[0], coarse], twin, rtol=1e-5)


def test_labels_and_photos_from_arrays(root, case_dir):
    hand_over(root, case_dir)
    folder = case_dir / "owners" / "ann"
    before, _ = batch_of(case_dir)
    arrays = arrays_of(folder / "originals")
    arrays["labels"] = np.zeros(len(arrays["images"]), int)
    order = np.random.default_rng(0).permutation(len(arrays["images"]))
    shutil.rmtree(folder / "originals")
    (folder / "labels.csv").unlink()
    np.savez(folder / "originals.npz", **{name: a[order] for name, a in arrays.items()})
    after, _ = batch_of(case_dir)
    assert before.owners[0].originals.digest == after.owners[0].originals.digest
