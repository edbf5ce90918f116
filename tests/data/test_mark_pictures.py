"""Pictures to hide in images."""

import numpy as np
import pytest

from anw_jax import data


@pytest.mark.parametrize("name", data.MARK_PICTURES)
@pytest.mark.parametrize("side", [16, 32])
def test_pictures_are_square_floats_and_always_the_same(name, side):
    picture = data.mark_picture(name, side)
    assert picture.shape == (side, side, 3)
    assert picture.dtype == np.float32
    assert 0.0 <= picture.min() < 0.3
    assert 0.7 < picture.max() <= 1.0
    assert np.array_equal(picture, data.mark_picture(name, side))
    is_grey = bool((picture == picture[..., :1]).all())
    assert is_grey == (name != "colour")


def test_bits_are_squares_of_one_value():
    squares = data.mark_picture("bits", 32).reshape(8, 4, 8, 4, 3)
    assert np.array_equal(squares.min((1, 3)), squares.max((1, 3)))
    assert set(np.unique(squares)) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("name", "side", "text"),
    [
        ("face", 32, "name must be one of bits, logo, grey, colour"),
        ("bits", 20, "side must be a multiple of 8 for bits, got 20"),
        ("grey", 7, "side must be at least 8"),
    ],
)
def test_bad_input_is_one_clear_error(name, side, text):
    with pytest.raises(ValueError, match=text):
        data.mark_picture(name, side)
