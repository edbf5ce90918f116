"""Photos of unequal size are one clear error, whoever is given them."""

import numpy as np
import pytest

from anw_jax.keys import SignatureSpace
from anw_jax.marks import HueRotation
from anw_jax.verify import loss_table

SPACE = SignatureSpace(4)


def redness(batch):
    red = batch[..., 0].mean((1, 2)) - batch.mean((1, 2, 3))
    return np.stack([red, -red], axis=1)


def photo(*shape):
    return np.full(shape, 100, np.uint8)


def objects(*photos):
    array = np.empty(len(photos), object)
    array[:] = photos
    return array


UNEQUAL = {
    "a list": ([photo(8, 8, 3), photo(8, 8, 3), photo(8, 9, 3)], 2),
    "a tuple": ((photo(8, 8, 3), photo(9, 8, 3)), 1),
    "of objects": (objects(photo(8, 8, 3), photo(8, 7, 3)), 1),
    "floats": ([photo(8, 8, 3) / 255, photo(4, 4, 3) / 255], 1),
    "a grey one": ([photo(8, 8, 3), photo(8, 8)], 1),
    "with transparency": ([photo(8, 8, 3), photo(8, 8, 4)], 1),
    "turned": ([photo(8, 6, 3), photo(6, 8, 3)], 1),
}


@pytest.mark.parametrize(("photos", "place"), UNEQUAL.values(), ids=UNEQUAL)
def test_unequal_photos_are_one_clear_error(photos, place):
    labels = np.zeros(len(photos), int)
    shapes = f"got {np.shape(photos[0])} and, as images[{place}], {np.shape(photos[place])}: "
    expected = f"images must be of one size, {shapes}query the photos of each size"
    with pytest.raises(ValueError) as error:
        loss_table(redness, photos, labels, HueRotation(), SPACE)
    assert str(error.value).startswith(expected)


@pytest.mark.parametrize("kind", [list, tuple, np.stack, lambda photos: objects(*photos)])
def test_equal_photos_may_come_as_a_list(kind):
    photos = [photo(8, 8, 3), photo(8, 8, 3) // 2]
    table = loss_table(redness, kind(photos), np.zeros(2, int), HueRotation(), SPACE)
    twin = loss_table(redness, np.stack(photos), np.zeros(2, int), HueRotation(), SPACE)
    np.testing.assert_array_equal(table, twin)
