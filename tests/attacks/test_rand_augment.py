"""RandAugment's operations, beside Pillow's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from anw_jax.attacks.rand_augment import OPERATIONS, RandAugment, apply_operations

# Equalization leaves images below 256 pixels as they are.
HEIGHT, WIDTH, MAGNITUDE = 23, 26, 7.0
SIGNS = (1.0, -1.0)

_apply = jax.jit(apply_operations, static_argnums=3)


@pytest.fixture(scope="module")
def photo():
    """Few levels, so that equalization has something to do."""
    rng = np.random.default_rng(9)
    return (20 + 40 * rng.integers(0, 5, (HEIGHT, WIDTH, 3)) + rng.integers(0, 3)).astype(
        np.uint8
    )


@pytest.fixture(scope="module")
def results(photo):
    """Levels of every operation in both directions: `[operation, sign]`."""
    num = len(OPERATIONS)
    images = np.repeat((photo / 255).astype(np.float32)[None], 2 * num, axis=0)
    choices = np.repeat(np.arange(num), 2).astype(np.int32)
    signs = np.tile(np.array(SIGNS, np.float32), num)
    out = _apply(images, choices, signs, MAGNITUDE)
    assert (out.dtype, out.shape) == (jnp.float32, images.shape)
    return np.asarray(out).reshape(num, 2, HEIGHT, WIDTH, 3) * 255


def _naive_warp(photo, source_of):
    out = np.full(photo.shape, 127.5)
    middle_x, middle_y = (WIDTH - 1) / 2, (HEIGHT - 1) / 2
    for row in range(HEIGHT):
        for column in range(WIDTH):
            x, y = source_of(column - middle_x, row - middle_y)
            i, j = round(y + middle_y), round(x + middle_x)
            if 0 <= i < HEIGHT and 0 <= j < WIDTH:
                out[row, column] = photo[i, j]
    return out


def _expected(name, sign, photo):
    share = MAGNITUDE / 10
    pillow = Image.fromarray(photo)
    factor = 1 + 0.9 * share * sign
    if name in ("brightness", "contrast", "color", "sharpness"):
        enhancer = getattr(ImageEnhance, name.capitalize())
        return np.asarray(enhancer(pillow).enhance(factor))
    turn = np.deg2rad(30 * share * sign)
    maps = {
        "identity": lambda x, y: (x, y),
        "shear_x": lambda x, y: (x + 0.3 * share * sign * y, y),
        "shear_y": lambda x, y: (x, y + 0.3 * share * sign * x),
        "translate_x": lambda x, y: (x + 0.45 * share * sign * WIDTH, y),
        "translate_y": lambda x, y: (x, y + 0.45 * share * sign * HEIGHT),
        "rotate": lambda x, y: (
            np.cos(turn) * x - np.sin(turn) * y,
            np.sin(turn) * x + np.cos(turn) * y,
        ),
    }
    if name in maps:
        return _naive_warp(photo, maps[name])
    on_levels = {
        "posterize": lambda image: ImageOps.posterize(image, 8 - round(4 * share)),
        "solarize": lambda image: ImageOps.solarize(image, 256 * (1 - share)),
        "autocontrast": ImageOps.autocontrast,
        "equalize": ImageOps.equalize,
    }
    return np.asarray(on_levels[name](pillow))


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_are_those_of_pillow(name, photo, results):
    for sign, result in zip(SIGNS, results[OPERATIONS.index(name)], strict=True):
        expected = _expected(name, sign, photo).astype(float)
        # Pillow rounds down, or the mean luma to a level, where we keep floats.
        np.testing.assert_allclose(result, expected, atol=1.5)
        if name != "identity":
            assert np.abs(result - photo).max() > 3


@pytest.mark.parametrize(
    "photo",
    [
        np.full((4, 4, 3), 77, np.uint8),
        np.zeros((4, 4, 3), np.uint8),
        np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5,
    ],
    ids=["flat", "black", "ramp"],
)
def test_edges_of_equalize_and_autocontrast(photo):
    images = np.repeat((photo / 255).astype(np.float32)[None], 2, axis=0)
    choices = np.array([OPERATIONS.index(n) for n in ("equalize", "autocontrast")], np.int32)
    out = _apply(images, choices, np.ones(2, np.float32), 5.0)
    for image, operation in zip(out, (ImageOps.equalize, ImageOps.autocontrast), strict=True):
        expected = np.asarray(operation(Image.fromarray(photo)))
        np.testing.assert_allclose(np.asarray(image) * 255, expected, atol=1.01)


def test_equalize_is_exact_on_many_levels():
    photo = np.random.default_rng(1).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    images = (photo / 255).astype(np.float32)[None]
    choice = np.array([OPERATIONS.index("equalize")], np.int32)
    out = _apply(images, choice, np.ones(1, np.float32), 5.0)
    expected = np.asarray(ImageOps.equalize(Image.fromarray(photo)))
    np.testing.assert_array_equal(np.rint(np.asarray(out[0]) * 255), expected)


def test_magnitude_zero_leaves_all_but_two():
    num = len(OPERATIONS)
    images = np.random.default_rng(2).integers(60, 200, (1, 20, 20, 3)) / 255
    images = np.repeat(images.astype(np.float32), num, axis=0)
    out = _apply(images, np.arange(num, dtype=np.int32), np.ones(num, np.float32), 0.0)
    changed = np.abs(np.asarray(out) - images).max((1, 2, 3)) > 1e-5
    assert [name for name, is_so in zip(OPERATIONS, changed, strict=True) if is_so] == [
        "autocontrast",
        "equalize",
    ]


@pytest.mark.slow
def test_all_operations_are_drawn():
    """Each image of a batch gets one of the 14 operations in one of two directions."""
    one = (np.random.default_rng(3).integers(0, 256, (1, 6, 6, 3)) / 255).astype(np.float32)
    num = len(OPERATIONS)
    possible = _apply(
        np.repeat(one, 2 * num, axis=0),
        np.tile(np.arange(num), 2).astype(np.int32),
        np.repeat(np.array(SIGNS, np.float32), num),
        9.0,
    )
    images, targets = np.repeat(one, 400, axis=0), np.ones((400, 2), np.float32) / 2
    attack = RandAugment(num_ops=1, magnitude=9.0)
    drawn, _ = jax.jit(attack.transform)(jax.random.key(0), images, targets)
    distance = np.abs(np.asarray(drawn)[:, None] - np.asarray(possible)[None]).max((2, 3, 4))
    assert distance.min(1).max() < 1e-5
    # Operations without a direction occur twice among the possible.
    counts = (distance < 1e-5).sum(0)
    # 400 draws of 28 equal chances: mean 14.3, standard deviation 3.7.
    assert counts.min() >= 3
