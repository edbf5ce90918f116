import dataclasses

import numpy as np
import pytest

from anw_jax import data

SPECS = (
    data.UserSpec("ann", 5),
    data.UserSpec("bob", 7, "unmarked"),
    data.UserSpec("eve", 6, "held_out"),
    data.UserSpec("kim", 4),
    data.UserSpec("lee", 3, "held_out"),
)


@pytest.fixture(scope="module")
def splits():
    return data.load("mock:64", image_size=8)


@pytest.fixture(scope="module")
def partition(splits):
    return data.assign_users(splits, SPECS, seed=5, num_train=40)


def _published(splits, partition):
    return {name: 255 - partition.images_of(splits, name).images for name in ("ann", "kim")}


def test_users_own_disjoint_rows_of_their_split(partition):
    for split, num in (("train", 16), ("test", 9)):
        rows = [u.indices for u in partition.users if u.spec.split == split]
        assert len(np.unique(np.concatenate(rows))) == num
    for user in partition.users:
        assert user.indices.dtype == np.int32
        assert len(user.indices) == user.spec.num_images
        if user.spec.split == "train":
            assert np.isin(user.indices, partition.train_indices).all()


def test_train_subset(splits, partition):
    assert partition.train_indices.dtype == np.int32
    assert len(np.unique(partition.train_indices)) == 40
    assert (np.diff(partition.train_indices) > 0).all()
    everything = data.assign_users(splits, SPECS, seed=5)
    np.testing.assert_array_equal(everything.train_indices, np.arange(64))


def test_same_seed_same_users(splits, partition):
    again = data.assign_users(splits, SPECS, seed=5, num_train=40)
    other = data.assign_users(splits, SPECS, seed=6, num_train=40)
    for user, same, different in zip(partition.users, again.users, other.users, strict=True):
        np.testing.assert_array_equal(user.indices, same.indices)
        assert user.indices.tolist() != different.indices.tolist()


def test_a_user_added_at_the_end_changes_nothing_before(splits, partition):
    more = data.assign_users(splits, (*SPECS, data.UserSpec("new", 9)), seed=5, num_train=40)
    np.testing.assert_array_equal(more.train_indices, partition.train_indices)
    for user, same in zip(partition.users, more.users[:-1], strict=True):
        np.testing.assert_array_equal(user.indices, same.indices)


def test_golden_draw(partition):
    assert partition.train_indices[:8].tolist() == GOLDEN_SUBSET
    assert partition.user("ann").indices.tolist() == GOLDEN_ANN
    assert partition.user("lee").indices.tolist() == GOLDEN_LEE


def test_twins_are_never_owned(splits):
    train_images, test_images = splits.train.images.copy(), splits.test.images.copy()
    train_images[1] = train_images[0]  # twins in training
    test_images[0] = train_images[2]  # a test photo that is trained on
    test_images[2] = test_images[1]  # twins in test
    twins = data.Splits(
        dataclasses.replace(splits.train, images=train_images),
        dataclasses.replace(splits.test, images=test_images),
    )
    specs = [data.UserSpec("all", 62), data.UserSpec("unseen", 14, "held_out")]
    partition = data.assign_users(twins, specs, seed=0)
    assert sorted(partition.user("all").indices) == list(range(2, 64))
    assert sorted(partition.user("unseen").indices) == [1, *range(3, 16)]


def test_a_test_photo_outside_the_subset_is_unseen(splits):
    specs = [data.UserSpec("unseen", 16, "held_out")]
    test = dataclasses.replace(splits.train.take(range(16)), name="copies")
    copies = data.Splits(splits.train, test)
    with pytest.raises(ValueError, match="'unseen'"):
        data.assign_users(copies, specs, seed=0)
    subset = data.assign_users(copies, [], seed=0, num_train=20).train_indices
    specs = [data.UserSpec("unseen", int((~np.isin(range(16), subset)).sum()), "held_out")]
    unseen = data.assign_users(copies, specs, seed=0, num_train=20).user("unseen").indices
    assert not np.isin(unseen, subset).any()


@pytest.mark.parametrize(
    ("specs", "num_train", "message"),
    [
        (
            [data.UserSpec("a", 30), data.UserSpec("b", 11, "unmarked")],
            40,
            "num_images of user 'b' (11) exceeds the 10 different train images left of 40",
        ),
        (
            [data.UserSpec("c", 17, "held_out")],
            None,
            "num_images of user 'c' (17) exceeds the 16 different test images left of 16",
        ),
        (
            [data.UserSpec("a", 1), data.UserSpec("a", 2, "held_out")],
            None,
            "users must have different names, got 'a' 2 times",
        ),
        ([], 65, "num_train must be at most 64, the training images there are, got 65"),
        ([], 0, "num_train must be at least 1, got 0"),
    ],
)
def test_impossible_users(splits, specs, num_train, message):
    with pytest.raises(ValueError) as caught:
        data.assign_users(splits, specs, seed=0, num_train=num_train)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (("", 1, "marked"), "name of a user must not be empty"),
        (("a", 0, "marked"), "num_images must be at least 1, got 0"),
        (
            ("a", 1, "heldout"),
            "kind must be one of marked, unmarked, held_out; got 'heldout'; "
            "did you mean 'held_out'?",
        ),
    ],
)
def test_bad_specs(fields, message):
    with pytest.raises(ValueError) as caught:
        data.UserSpec(*fields)
    assert str(caught.value).startswith(message)


def test_images_of_is_the_users_own_order(splits, partition):
    eve = partition.user("eve")
    own = partition.images_of(splits, "eve")
    np.testing.assert_array_equal(own.images, splits.test.images[eve.indices])
    with pytest.raises(ValueError, match=r"^user must be one of .*; got 'evy'; did you mean"):
        partition.user("evy")


def test_training_set_replaces_in_place(splits, partition):
    published = _published(splits, partition)
    learned = data.training_set(splits, partition, published)
    np.testing.assert_array_equal(learned.labels, splits.train.labels[partition.train_indices])
    owner = {
        row: (name, k)
        for name in published
        for k, row in enumerate(partition.user(name).indices)
    }
    for position, row in enumerate(partition.train_indices):
        name, k = owner.get(row, (None, None))
        wanted = splits.train.images[row] if name is None else published[name][k]
        np.testing.assert_array_equal(learned.images[position], wanted)


def test_digests_of_the_originals_stay_with_their_photos(splits, partition):
    named = tuple(f"digest {row}" for row in range(64))
    train = dataclasses.replace(splits.train, original_digests=named)
    resized = data.Splits(train, splits.test)
    ann = partition.user("ann").indices
    own = partition.images_of(resized, "ann").original_digests
    assert own == tuple(named[row] for row in ann)
    published = _published(splits, partition)
    learned = data.training_set(resized, partition, published, exclude=("bob",))
    bob = partition.user("bob").indices
    kept = [row for row in partition.train_indices if row not in bob]
    assert learned.original_digests == tuple(named[row] for row in kept)


def test_exclude_drops_rows_and_moves_nothing_else(splits, partition):
    published = _published(splits, partition)
    learned = data.training_set(splits, partition, published)
    without = data.training_set(splits, partition, published, exclude=("ann", "bob"))
    gone = np.concatenate([partition.user(name).indices for name in ("ann", "bob")])
    keep = np.flatnonzero(~np.isin(partition.train_indices, gone))
    assert len(without) == 40 - 12
    assert without.digest() == learned.take(keep).digest()
    del published["ann"]
    assert data.training_set(splits, partition, published, exclude=("ann", "bob")).digest() == (
        without.digest()
    )


def test_bad_publications(splits, partition):
    good = _published(splits, partition)

    def message(published, exclude=()):
        with pytest.raises((TypeError, ValueError)) as caught:
            data.training_set(splits, partition, published, exclude)
        return str(caught.value)

    assert message({"ann": good["ann"]}) == (
        "published must hold the marked images of user 'kim'"
    )
    assert message(good | {"bob": good["ann"]}) == (
        "each name in published must be one of ann, kim; got 'bob'"
    )
    assert message(good | {"ann": good["ann"][:4]}) == (
        "published['ann'] must have shape (5, 8, 8, 3), got (4, 8, 8, 3)"
    )
    assert message(good | {"ann": good["ann"] / np.float32(300)}).startswith(
        "published['ann'] must hold 8-bit values"
    )
    assert message(good, exclude=("eve",)) == (
        "each name in exclude must be one of ann, bob, kim; got 'eve'"
    )
    assert message(good, exclude="ann") == "exclude must be a collection of names, got 'ann'"


GOLDEN_SUBSET = [3, 4, 6, 7, 8, 10, 12, 14]
GOLDEN_ANN = [34, 28, 37, 44, 10]
GOLDEN_LEE = [10, 1, 12]
