"""Publicly seeded changes: the same for all, for ever, and within their bounds."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax import verify
from anw_jax.suspects import Augmentation
from anw_jax.suspects.pictures import Draw

FILLS = ("reflect", "black")


def picture(seed=0, height=9, width=7):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def naive(image, draw, fill="reflect"):
    height, width, _ = image.shape
    out = np.zeros_like(image)

    def inside(place, side):
        if side == 1:
            return 0
        while not 0 <= place < side:
            place = -place if place < 0 else 2 * (side - 1) - place
        return place

    for y in range(height):
        for x in range(width):
            shifted = width - 1 - x if draw.is_mirrored else x
            row, column = y - draw.down, shifted - draw.right
            if fill == "reflect":
                pixel = image[inside(row, height), inside(column, width)]
            elif 0 <= row < height and 0 <= column < width:
                pixel = image[row, column]
            else:
                pixel = np.zeros(3, np.uint8)
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
    fill=st.sampled_from(FILLS),
)
def test_a_change_is_its_naive_twin(shift, mirror, noise, number, height, seed, fill):
    change, image = Augmentation(shift, mirror, noise, fill), picture(seed, height)
    draw = change.draw(b"public", image, number)
    assert abs(draw.down) <= shift * height
    assert abs(draw.right) <= shift * 7
    assert mirror or not draw.is_mirrored
    if draw.noise is not None:
        assert np.abs(draw.noise).max() <= noise
    np.testing.assert_array_equal(change.apply(image, draw), naive(image, draw, fill))


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    down=st.integers(-8, 8),
    right=st.integers(-6, 6),
    mirror=st.booleans(),
    number=st.integers(1, 20),
)
def test_both_fills_agree_wherever_the_picture_is_seen(down, right, mirror, number):
    image = picture(number)
    noise = Augmentation().draw(b"public", image, number).noise
    draw = Draw(down, right, mirror, noise)
    reflect, black = (Augmentation(fill=fill).apply(image, draw) for fill in FILLS)
    seen = np.zeros(image.shape[:2], bool)
    seen[max(down, 0) : 9 + min(down, 0), max(right, 0) : 7 + min(right, 0)] = True
    seen = seen[:, ::-1] if mirror else seen
    assert seen.any()
    np.testing.assert_array_equal(reflect[seen], black[seen])
    np.testing.assert_array_equal(black[~seen], np.clip(noise[~seen], 0, 255))


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize(
    ("height", "width", "down", "right"),
    [
        (1, 1, 0, 0),
        (1, 1, 1, 0),
        (1, 1, -3, 2),
        (1, 7, 1, 1),
        (5, 1, -2, 1),
        (2, 2, 1, -1),
        (4, 4, 4, 0),  # by a whole side
        (4, 3, -9, 7),  # by more
        (4, 3, 25, 25),
    ],
)
def test_small_pictures_and_large_shifts(fill, height, width, down, right):
    image = picture(3, height, width)
    for is_mirrored in (False, True):
        draw = Draw(down, right, is_mirrored, None)
        got = Augmentation(fill=fill).apply(image, draw)
        np.testing.assert_array_equal(got, naive(image, draw, fill))
        assert got.dtype == np.uint8
        if fill == "black" and (abs(down) >= height or abs(right) >= width):
            assert not got.any()


@pytest.mark.parametrize("fill", FILLS)
def test_a_grey_picture_without_noise_stays_grey(fill):
    image = np.repeat(picture()[..., :1], 3, axis=2)
    change = Augmentation(0.5, noise_levels=0, fill=fill)
    for number in range(8):
        view = change.apply(image, change.draw(b"s", image, number))
        np.testing.assert_array_equal(view, np.repeat(view[..., :1], 3, axis=2))


def test_the_draws_do_not_depend_on_the_fill():
    image = picture()
    draws = [Augmentation(fill=fill).draw(b"s", image, 5) for fill in FILLS]
    assert draws[0].noise.tobytes() == draws[1].noise.tobytes()
    assert len({(draw.down, draw.right, draw.is_mirrored) for draw in draws}) == 1


def test_views_are_filled_as_those_of_an_audit():
    image = picture(5, 16, 24)

    def pixels(predict, images, targets):
        return images.reshape(len(images), -1).T

    got = verify.over_views(pixels, 5, image.shape, seed=3)(None, image[None], ())
    random, change = np.random.default_rng(3), Augmentation(fill="black")
    shifts = np.stack([random.integers(-m, m, 5, endpoint=True) for m in (2, 3)], axis=1)
    shifts[:2] = 0
    views = [
        change.apply(image, Draw(int(down), int(right), bool(number % 2), None))
        for number, (down, right) in enumerate(shifts)
    ]
    np.testing.assert_allclose(got[:, 0], np.mean(views, axis=0).ravel(), rtol=1e-6)


def test_the_fill_is_left_out_of_the_json_of_earlier_declarations():
    old = {"max_shift": 0.125, "mirror": True, "noise_levels": 8}
    assert Augmentation().as_json() == old
    assert Augmentation(fill="black").as_json() == {**old, "fill": "black"}
    for change in (Augmentation(), Augmentation(fill="black")):
        assert Augmentation(**change.as_json()) == change


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
        (
            {"fill": "blak"},
            "fill must be one of reflect, black; got 'blak'; did you mean 'black'?",
        ),
    ],
)
def test_bad_settings(arguments, message):
    with pytest.raises(ValueError) as error:
        Augmentation(**arguments)
    assert str(error.value) == message
