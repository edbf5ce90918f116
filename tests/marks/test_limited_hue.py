"""A hue that is rotated by a few degrees at most."""

import numpy as np
import pytest

from anw_jax.keys import SignatureSpace
from anw_jax.marks import HueRotation, LimitedHue, publish

SLOTS = {
    2: [0, -24],
    3: [0, 24, -24],
    4: [0, 12, -24, -12],
    12: [0, 4, 8, 12, 16, 20, -24, -20, -16, -12, -8, -4],
}


@pytest.mark.parametrize(("num_slots", "rotations"), SLOTS.items())
def test_slots_are_spread_evenly_over_both_directions(num_slots, rotations, small_images):
    mark, angles = LimitedHue(24.0, num_slots), SignatureSpace(num_slots).degrees
    np.testing.assert_allclose(mark.rotation(angles), rotations, atol=1e-12)
    for degrees, rotation in zip(angles, rotations, strict=True):
        expected = publish(HueRotation(), small_images, rotation)
        np.testing.assert_array_equal(publish(mark, small_images, degrees), expected)


def test_the_float_mark_is_the_rotation_of_the_slot(rng):
    image = rng.random((6, 6, 3))
    marked = LimitedHue(24.0).mark(image, 330.0)
    np.testing.assert_allclose(marked, HueRotation().mark(image, -4.0), atol=1e-12)
    assert np.abs(marked - HueRotation().mark(image, 4.0)).max() > 1e-3


def test_it_is_another_mark_than_a_whole_turn():
    assert LimitedHue(180.0) != HueRotation()
    assert HueRotation() != LimitedHue(180.0)
    assert LimitedHue(25).description == "hue_limited:25.0:12"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"max_degrees": 0.0}, "max_degrees must be"),
        ({"max_degrees": 181.0}, r"max_degrees must lie in \[0.0, 180.0\], got 181"),
        ({"num_slots": 1}, "num_slots must be at least 2, got 1"),
        ({"num_slots": 1025}, "num_slots must be at most 1024, got 1025"),
    ],
)
def test_refuses_numbers_out_of_range(arguments, words):
    with pytest.raises(ValueError, match=words):
        LimitedHue(**arguments)
