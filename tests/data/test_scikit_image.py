import importlib.util

import numpy as np
import pytest

from anw_jax import data, errors, keys
from anw_jax.data import image_files
from anw_jax.data.readers import scikit_image


@pytest.fixture(scope="module")
def splits():
    return data.load("photos")


def test_counts(splits):
    assert len(splits.train) == 1473
    assert len(splits.test) == 369
    labels = np.concatenate([splits.train.labels, splits.test.labels])
    assert np.bincount(labels).tolist() == [250, 126, 216, 250, 250, 250, 250, 250]


def test_every_photo_is_in_both_splits(splits):
    assert np.bincount(splits.test.labels).tolist() == [59, 26, 53, 43, 57, 52, 31, 48]


def test_golden_pixels_of_the_lossless_photos(splits):
    # JPEG decoders may differ by one level, so only the PNG photos have golden bytes.
    lossless = [name.endswith(".png") for name in scikit_image.FILES]
    train, test = splits.train, splits.test
    assert train.take(np.flatnonzero(np.take(lossless, train.labels))).digest() == TRAIN
    assert test.take(np.flatnonzero(np.take(lossless, test.labels))).digest() == TEST


def test_tiles_are_cut_from_the_photo(splits):
    astronaut = scikit_image.read("astronaut.png")
    tiles = scikit_image._tiles(astronaut)
    assert len(tiles) == 256
    np.testing.assert_array_equal(tiles[17], astronaut[32:64, 32:64])


def test_digests_are_of_the_tiles_before_resizing(splits):
    assert splits.test.original_digests is None
    resized = data.load("photos", image_size=16).test
    assert resized.original_digests == tuple(map(keys.image_digest, splits.test.images))


def test_few_tiles_are_black(splits):
    black = splits.train.images.max(axis=(1, 2, 3)) < 16
    assert black.mean() < 0.03


def test_argument_is_refused():
    with pytest.raises(errors.SourceError) as caught:
        data.load("photos:cat")
    assert str(caught.value) == "source 'photos' takes no argument, got 'cat'"


def test_without_scikit_image(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(errors.SourceError) as caught:
        data.load("photos")
    assert str(caught.value) == ("source 'photos' needs scikit-image: pip install scikit-image")


def test_fit_keeps_the_centre():
    image = np.zeros((10, 30, 3), np.uint8)
    image[:, 10:20] = 200
    np.testing.assert_array_equal(
        image_files.fit(image, 10), np.full((10, 10, 3), 200, np.uint8)
    )
    assert image_files.fit(image, 20).shape == (20, 20, 3)
    assert image_files.fit(image[:, :13], 7).shape == (7, 7, 3)
    assert image_files.fit(image, None) is image


TRAIN = "8b7b345ce178db91e8328887f9f9834ba478f3a70ef820d7e3a959359361030f"
TEST = "9faf9c76139aa4add0b19dc1e7f7f8071101d78f77ef90809bdc27d97a96bb91"
