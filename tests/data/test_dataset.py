import dataclasses

import numpy as np
import pytest

from anw_jax import data


@pytest.fixture
def photos(small_images):
    files = tuple(f"{row}.png" for row in range(6))
    return data.Dataset(small_images, np.arange(6) % 2, ("cat", "dog"), "six", files)


def test_take_keeps_rows_together(photos):
    taken = photos.take([4, 1])
    np.testing.assert_array_equal(taken.images, photos.images[[4, 1]])
    assert taken.labels.tolist() == [0, 1]
    assert taken.file_names == ("4.png", "1.png")
    assert taken.original_digests is None
    assert len(photos.take([])) == 0


def test_digests_of_the_originals_travel_with_their_rows(photos):
    resized = dataclasses.replace(photos, original_digests=list("abcdef"))
    assert resized.original_digests == tuple("abcdef")
    assert resized.take([4, 1]).original_digests == ("e", "b")
    assert resized.take([]).original_digests == ()


@pytest.mark.parametrize("indices", [[6], [-1]])
def test_take_refuses_rows_that_are_not_there(photos, indices):
    with pytest.raises(ValueError, match=r"^indices must be"):
        photos.take(indices)


def test_take_refuses_masks(photos):
    with pytest.raises(TypeError, match=r"^indices must be integers, got bool$"):
        photos.take(photos.labels == 1)


def test_digest_is_golden():
    images = np.arange(2 * 2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 2, 3)
    dataset = data.Dataset(images, [0, 1], ("a", "b"), "golden")
    assert dataset.digest() == GOLDEN


def test_digest_sees_pixels_labels_and_order(photos):
    flipped = dataclasses.replace(photos, images=photos.images[:, ::-1])
    relabelled = dataclasses.replace(photos, labels=1 - photos.labels)
    reordered = photos.take([1, 0, 2, 3, 4, 5])
    digests = {d.digest() for d in (photos, flipped, relabelled, reordered)}
    assert len(digests) == 4
    assert dataclasses.replace(photos, name="other").digest() == photos.digest()


IMAGES = np.zeros((2, 4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": IMAGES[..., :1]}, "images must have shape [n, H, W, 3], got (2, 4, 4, 1)"),
        ({"images": IMAGES.astype(np.int32)}, "images must be uint8 or float in [0, 1]"),
        ({"labels": [0, 2]}, "labels must be below num_classes = 2, got 2"),
        ({"labels": [0, -1]}, "labels must be at least 0, got -1"),
        ({"labels": [0]}, "labels must have shape (2,), got (1,)"),
        ({"labels": [0.0, 1.0]}, "labels must be integers, got float64"),
        ({"class_names": ("a", 1)}, "each of class_names must be a str"),
        ({"file_names": ("a",)}, "file_names must name all 2 images, got 1 names"),
        ({"original_digests": ("a",)}, "original_digests must name all 2 images, got 1 names"),
        ({"original_digests": (1, 2)}, "each of original_digests must be a str"),
    ],
)
def test_bad_datasets(changes, message):
    good = {"images": IMAGES, "labels": [0, 1], "class_names": ("a", "b"), "name": "bad"}
    with pytest.raises((TypeError, ValueError)) as caught:
        data.Dataset(**(good | changes))
    assert str(caught.value).startswith(message)


def test_splits_must_agree():
    small = data.Dataset(IMAGES, [0, 1], ("a", "b"), "small")
    large = data.Dataset(IMAGES.repeat(2, 1), [0, 1], ("a", "b"), "large")
    other = data.Dataset(IMAGES, [0, 1], ("a", "c"), "other")
    with pytest.raises(ValueError, match="one size"):
        data.Splits(small, large)
    with pytest.raises(ValueError, match="same class_names"):
        data.Splits(small, other)


GOLDEN = "c6c156da9a08815e1526f88fb37d0ed501c001595bead8dbcf624dc10826da02"
