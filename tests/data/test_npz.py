import numpy as np
import pytest

from anw_jax import data, errors, keys

IMAGES = np.arange(4 * 5 * 5 * 3, dtype=np.uint8).reshape(4, 5, 5, 3)
GOOD = {
    "train_images": IMAGES,
    "train_labels": np.array([0, 1, 2, 0]),
    "test_images": IMAGES[:2] + 1,
    "test_labels": np.array([1, 0]),
}


def _load(path, arrays, **settings):
    np.savez(path / "set.npz", **arrays)
    return data.load(f"npz:{path / 'set.npz'}", **settings)


def test_arrays_come_back(tmp_path):
    splits = _load(tmp_path, GOOD)
    np.testing.assert_array_equal(splits.train.images, IMAGES)
    assert splits.test.labels.tolist() == [1, 0]
    assert splits.train.class_names == ("0", "1", "2")
    assert splits.train.name == "npz:set.npz/train"
    assert splits.train.original_digests is None


def test_resized_rows_keep_the_digests_of_their_originals(tmp_path):
    splits = _load(tmp_path, GOOD, image_size=3)
    assert splits.train.images.shape == (4, 3, 3, 3)
    assert splits.train.original_digests == tuple(map(keys.image_digest, IMAGES))
    assert splits.test.original_digests == tuple(map(keys.image_digest, IMAGES[:2] + 1))


def test_digests_go_to_the_side_of_their_photo(tmp_path, rng):
    images = rng.integers(0, 256, (40, 4, 4, 3), dtype=np.uint8)
    arrays = {"images": images, "labels": np.zeros(40, int)}
    originals, resized = _load(tmp_path, arrays), _load(tmp_path, arrays, image_size=2)
    for side in ("train", "test"):
        wanted = tuple(map(keys.image_digest, getattr(originals, side).images))
        assert getattr(resized, side).original_digests == wanted


def test_class_names(tmp_path):
    splits = _load(tmp_path, GOOD | {"class_names": np.array(["a", "b", "c", "d"])})
    assert splits.train.class_names == ("a", "b", "c", "d")


def test_copies_stay_on_one_side(tmp_path, rng):
    images = rng.integers(0, 256, (30, 4, 4, 3), dtype=np.uint8).repeat(3, axis=0)
    splits = _load(tmp_path, {"images": images, "labels": np.zeros(90, int)})
    assert len(splits.train) % 3 == len(splits.test) % 3 == 0
    assert splits.train.name == "npz:set.npz/train"


def _without(name):
    return {key: value for key, value in GOOD.items() if key != name}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            _without("test_labels"),
            " has no array test_labels",
        ),
        (
            {"images": IMAGES},
            " has no array labels",
        ),
        (
            GOOD | {"train_images": IMAGES / 255},
            ": train_images must be uint8, got float64",
        ),
        (
            GOOD | {"test_images": IMAGES[..., :1]},
            ": test_images must have shape [n, H, W, 3], got (4, 5, 5, 1)",
        ),
        (
            GOOD | {"train_images": IMAGES.transpose(0, 3, 1, 2)},
            ": train_images must have shape [n, H, W, 3], got (4, 3, 5, 5)",
        ),
        (
            GOOD | {"train_labels": np.zeros(3, int)},
            ": train_labels must have shape (4,), got (3,)",
        ),
        (
            GOOD | {"train_labels": np.array([0, -1, 0, 0])},
            ": train_labels must be at least 0, got -1",
        ),
        (
            GOOD | {"class_names": np.array(["a", "b"])},
            ": train_labels must be below 2, the length of class_names, got 2",
        ),
        (
            GOOD | {"test_images": IMAGES[:0], "test_labels": np.zeros(0, int)},
            ": test_images must hold at least one image, got none",
        ),
        (
            GOOD | {"train_labels": np.array([0, "a", None, 1], object)},
            " is not a .npz file of plain arrays (pickled ones are refused)",
        ),
    ],
)
def test_bad_files(tmp_path, arrays, message):
    with pytest.raises(errors.SourceError) as caught:
        _load(tmp_path, arrays)
    assert f"{tmp_path / 'set.npz'}{message}" in str(caught.value)


def test_sides_of_different_size(tmp_path):
    larger = IMAGES.repeat(2, axis=1)[:2]
    with pytest.raises(errors.SourceError) as caught:
        _load(tmp_path, GOOD | {"test_images": larger})
    assert str(caught.value).startswith(
        f"npz:{tmp_path / 'set.npz'}: train and test must have images of one size, got "
        "(5, 5, 3) and (10, 5, 3)"
    )


def test_missing_file(tmp_path):
    with pytest.raises(errors.SourceError, match="is not there: give the path"):
        data.load(f"npz:{tmp_path / 'none.npz'}")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04broken"])
def test_not_an_archive(tmp_path, content):
    (tmp_path / "set.npz").write_bytes(content)
    with pytest.raises(errors.SourceError, match=r"is not a \.npz file of plain arrays"):
        data.load(f"npz:{tmp_path / 'set.npz'}")
