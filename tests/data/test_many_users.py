"""A thousand users, equal shares, what nobody owns, and users of a streamed set."""

import dataclasses

import numpy as np
import pytest

from anw_jax import data


def _noise(num, seed, size=2):
    return np.random.default_rng(seed).integers(0, 256, (num, size, size, 3), dtype=np.uint8)


def _splits(num_train, num_test, size=2):
    return data.Splits(
        *(
            data.Dataset(_noise(num, num, size), np.arange(num) % 5, tuple("abcde"), name)
            for num, name in ((num_train, "train"), (num_test, "test"))
        )
    )


def _rows(partition):
    return np.concatenate([user.indices for user in partition.users])


@pytest.fixture(scope="module")
def everyone():
    """1,000 users of 100 photos each, and how long it took to deal and to publish them."""
    splits = _splits(100_000, 10)
    specs = [data.UserSpec(f"user{i:04d}", 100) for i in range(1000)]
    partition = data.assign_users(splits, specs, seed=1)
    published = {
        user.spec.name: 255 - partition.images_of(splits, user.spec.name).images
        for user in partition.users
    }
    learned = data.training_set(splits, partition, published)
    return splits, partition, learned


def test_a_thousand_users_share_the_whole_training_set(everyone):
    splits, partition, learned = everyone
    assert [len(user.indices) for user in partition.users] == [100] * 1000
    np.testing.assert_array_equal(np.sort(_rows(partition)), np.arange(100_000))
    np.testing.assert_array_equal(learned.images, 255 - splits.train.images)
    np.testing.assert_array_equal(learned.labels, splits.train.labels)


def test_a_thousand_specs_are_dealt_as_well():
    splits = _splits(5_000, 2_000)
    specs = [data.UserSpec(f"u{i}", 2 + i % 3, data.KINDS[i % 3]) for i in range(1000)]
    partition = data.assign_users(splits, specs, seed=3)
    for side, kinds in (("train", ("marked", "unmarked")), ("test", ("held_out",))):
        users = [user for user in partition.users if user.spec.kind in kinds]
        rows = np.concatenate([user.indices for user in users])
        assert len(np.unique(rows)) == sum(user.spec.num_images for user in users)
        assert rows.max() < len(getattr(splits, side))


def test_users_of_a_subset_get_no_image_with_a_copy():
    splits = _splits(20, 4)
    images = splits.train.images.copy()
    images[[4, 9]] = images[17]
    splits = dataclasses.replace(splits, train=dataclasses.replace(splits.train, images=images))
    specs = [data.UserSpec(f"u{i}", size) for i, size in enumerate((5, 4, 4, 4))]
    partition = data.assign_users(splits, specs, seed=0)
    assert set(range(20)) - set(_rows(partition).tolist()) == {4, 9, 17}
    with pytest.raises(ValueError, match="num_images of user 'u3'"):
        data.assign_users(splits, [*specs[:3], data.UserSpec("u3", 5)], seed=0)
    subset = data.assign_users(splits, [data.UserSpec("u", 6)], seed=0, num_train=9)
    assert set(_rows(subset).tolist()) <= set(subset.train_indices.tolist())


def test_spare_rows_are_owned_by_nobody_and_seen_by_no_training():
    splits = _splits(20, 12)
    images = splits.test.images.copy()
    specs = [data.UserSpec("ann", 5), data.UserSpec("eve", 3, "held_out")]
    plain = data.assign_users(splits, specs, seed=2, num_train=16)
    owned = plain.user("eve").indices
    free = np.setdiff1d(np.arange(12), owned)
    np.testing.assert_array_equal(plain.spare_test_rows(splits), free)
    assert plain.spare_test_rows(splits).dtype == np.int32
    untrained = np.setdiff1d(np.arange(20), plain.train_indices)
    images[free[0]] = splits.train.images[plain.train_indices[3]]
    images[free[1]] = images[owned[0]]
    images[free[4]] = images[free[2]]
    images[free[5]] = splits.train.images[untrained[0]]  # nobody trains on it
    test = dataclasses.replace(splits.test, images=images)
    twins = data.Splits(splits.train, test)
    wanted = np.delete(free, [0, 1, 4])
    np.testing.assert_array_equal(plain.spare_test_rows(twins), wanted)


def test_all_test_rows_are_spare_without_held_out_users():
    splits = _splits(20, 12)
    partition = data.assign_users(splits, [data.UserSpec("ann", 5)], seed=2)
    np.testing.assert_array_equal(partition.spare_test_rows(splits), np.arange(12))


def test_users_of_a_streamed_set_are_those_of_a_set_in_memory():
    specs = [
        data.UserSpec("ann", 5),
        data.UserSpec("bob", 4, "unmarked"),
        data.UserSpec("eve", 3, "held_out"),
    ]
    seen = []
    for in_memory in (True, False):
        splits = data.load("mock:48", image_size=8, in_memory=in_memory)
        partition = data.assign_users(splits, specs, seed=7, num_train=40)
        own = partition.images_of(splits, "ann")
        assert type(own) is data.Dataset
        published = {"ann": 255 - own.images}
        learned = data.training_set(splits, partition, published, exclude=("bob",))
        assert isinstance(learned, data.StreamedDataset) is not in_memory
        rows = (user.indices.tolist() for user in partition.users)
        seen.append((learned.digest(), *rows, partition.spare_test_rows(splits).tolist()))
        assert np.isin(published["ann"], learned.images[:]).all()
    assert seen[0] == seen[1]


def test_nothing_is_read_to_publish_in_a_streamed_set():
    splits = data.load("mock:16", image_size=4, in_memory=False)
    partition = data.assign_users(splits, [data.UserSpec("ann", 3)], seed=0)
    published = {"ann": np.full((3, 4, 4, 3), 9, np.uint8)}
    learned = data.training_set(splits, partition, published)
    assert (learned.images[partition.user("ann").indices] == 9).all()
    untouched = data.training_set(splits, partition, {}, exclude=("ann",))
    assert len(untouched) == 13
