"""Publicly seeded changes: the same for all, for ever, and within their bounds."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax.suspects import Augmentation


def picture(seed=0, height=9, width=7):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def naive(image, draw):
    height, width, _ = image.shape
    out = np.zeros_like(image)

    def inside(place, side):
        while not 0 <= place < side:
            place = -place if place < 0 else 2 * (side - 1) - place
        return place

    for y in range(height):
        for x in range(width):
            shifted = width - 1 - x if draw.is_mirrored else x
            pixel = image[inside(y - draw.down, height), inside(shifted - draw.right, width)]
            noise = 0 if draw.noise is None else draw.noise[y, x]
            out[y, x] = np.clip(pixel.astype(int) + noise, 0, 255)
    return out


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    shift=st.floats(0, 0.5),
    mirror=st.booleans(),
    noise=st.integers(0, 127),
    number=st.integers(0, 20),
    height=st.integers(1, 9),
    seed=st.integers(0, 50),
)
def test_a_change_is_its_naive_twin(shift, mirror, noise, number, height, seed):
    change, image = Augmentation(shift, mirror, noise), picture(seed, height)
    draw = change.draw(b"public", image, number)
    assert abs(draw.down) <= shift * height
    assert abs(draw.right) <= shift * 7
    assert mirror or not draw.is_mirrored
    if draw.noise is not None:
        assert np.abs(draw.noise).max() <= noise
    np.testing.assert_array_equal(change.apply(image, draw), naive(image, draw))


def test_change_zero_is_the_picture():
    change, image = Augmentation(), picture()
    np.testing.assert_array_equal(change.apply(image, change.draw(b"s", image, 0)), image)


def test_draws_depend_on_seed_original_and_number():
    change, image = Augmentation(), picture()
    draws = [
        change.draw(b"public", image, 1),
        change.draw(b"publiC", image, 1),
        change.draw(b"public", picture(1), 1),
        change.draw(b"public", image, 2),
    ]
    assert len({draw.noise.tobytes() for draw in draws}) == 4
    again = change.draw(b"public", image.copy(), 1)
    assert again.noise.tobytes() == draws[0].noise.tobytes()


def test_the_draws_are_fixed_for_ever():
    change, image = Augmentation(), np.zeros((4, 4, 3), np.uint8)
    changed = [change.apply(image, change.draw(b"seed", image, k)) for k in range(5)]
    digest = hashlib.sha256(np.stack(changed).tobytes()).hexdigest()
    assert digest == "e06ab2bde4a99273d298bc6475ab3332fb46e9ff94304e1769b3aa81400b7c58"


def test_all_shifts_and_both_ways_occur_about_evenly():
    change = Augmentation(max_shift=0.5, noise_levels=1)
    draws = [change.draw(b"%d" % i, picture(height=4), 1) for i in range(2000)]
    counts = np.bincount([draw.down + 2 for draw in draws], minlength=5)
    assert counts.min() > 400 - 5 * np.sqrt(400)
    mirrored = sum(draw.is_mirrored for draw in draws)
    assert abs(mirrored - 1000) < 5 * np.sqrt(500)
    values, counts = np.unique(np.stack([draw.noise for draw in draws]), return_counts=True)
    assert values.tolist() == [-1, 0, 1]
    np.testing.assert_allclose(counts / counts.sum(), 1 / 3, atol=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_shift": 0.6}, "max_shift must lie in [0.0, 0.5], got 0.6"),
        ({"noise_levels": -1}, "noise_levels must be at least 0, got -1"),
        ({"noise_levels": 128}, "noise_levels must be at most 127, got 128"),
    ],
)
def test_bad_settings(arguments, message):
    with pytest.raises(ValueError) as error:
        Augmentation(**arguments)
    assert str(error.value) == message
