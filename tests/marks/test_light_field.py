"""The light field against naive loops, and the draw of its patterns."""

import hashlib
import hmac

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax.keys import MarkKey, Plan, SignatureSpace
from anw_jax.marks import LightField, publish
from anw_jax.marks.light_field import _curve

SUB_KEY = MarkKey.for_experiment(4).sub_key("light")
MARK = LightField(SUB_KEY, strength=0.3, cells=4, num_slots=6)


def _image(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _field_at(cells, u, v):
    """The field at a point of the frame, u and v in (0, 1), from its four nearest cells."""
    count = len(cells)
    total = 0.0
    for i in range(count):
        for j in range(count):
            # Beyond the outermost centres the field stays as it is there.
            down = abs(min(max(u * count - 0.5, 0), count - 1) - i)
            right = abs(min(max(v * count - 0.5, 0), count - 1) - j)
            total += max(0, 1 - down) * max(0, 1 - right) * cells[i][j]
    return total


def _twin(image, mark, degrees):
    """Pixel by pixel, in floats from 0 to 1."""
    slot = degrees / 360 * mark.num_slots
    low = int(slot)
    share = slot - low
    patterns = mark.strength * mark.patterns
    cells = (1 - share) * patterns[low] + share * patterns[(low + 1) % mark.num_slots]
    height, width, _ = image.shape
    marked = np.array(image, np.float64)
    for row in range(height):
        for column in range(width):
            a = _field_at(cells, (row + 0.5) / height, (column + 0.5) / width)
            for channel in range(3):
                x = marked[row, column, channel]
                marked[row, column, channel] = x + a * x * (1 - x)
    return marked


@pytest.mark.parametrize("shape", [(4, 4, 3), (9, 5, 3), (16, 23, 3)])
@pytest.mark.parametrize("degrees", [0.0, 60.0, 100.0, 359.0])
def test_mark_equals_the_naive_twin(shape, degrees):
    image = _image(shape) / np.float64(255)
    # Shares of neighbouring cells are multiples of 1/256.
    np.testing.assert_allclose(
        MARK.mark(image, degrees), _twin(image, MARK, degrees), atol=0.3 / 4 * 2 / 128
    )


def test_the_twin_notices_a_pattern_of_another_slot():
    image = _image((16, 16, 3)) / np.float64(255)
    assert np.abs(MARK.mark(image, 60.0) - _twin(image, MARK, 120.0)).max() > 0.05


@pytest.mark.parametrize("shape", [(4, 4, 3), (7, 50, 3), (301, 40, 3)])
def test_published_bytes_agree_with_the_float_mark_and_between_numpy_and_jax(shape):
    image = _image(shape, 1)
    for degrees in (0.0, 60.0, 215.0):
        parameters = MARK.parameters(degrees)
        exact = MARK.publish_pixels(image, parameters)
        floats = 255 * np.asarray(MARK.mark(image / np.float32(255), degrees), np.float64)
        assert np.abs(exact - floats).max() <= 0.75
        compiled = jax.jit(MARK.publish_pixels)(image, parameters)
        np.testing.assert_array_equal(exact, compiled)


def test_strips_do_not_change_the_bytes(monkeypatch):
    image = _image((37, 30, 3), 2)
    whole = MARK.publish_pixels(image, MARK.parameters(60.0))
    monkeypatch.setattr("anw_jax.marks.mark._STRIP_NUMBERS", 200)
    np.testing.assert_array_equal(whole, MARK.publish_pixels(image, MARK.parameters(60.0)))


def test_slot_0_is_the_original():
    images = _image((2, 20, 20, 3), 3)
    np.testing.assert_array_equal(publish(MARK, images, 0.0), images)


def test_greys_stay_grey_and_black_and_white_stay():
    level = np.repeat(np.arange(256, dtype=np.uint8), 16).reshape(64, 64, 1)
    marked = publish(LightField(SUB_KEY, 1.0), np.repeat(level, 3, axis=2)[None], 90.0)[0]
    assert (np.ptp(marked, axis=-1) == 0).all()
    for end in (0, 255):
        assert (marked[level[..., 0] == end] == end).all()
    assert (marked != level).any()


@pytest.mark.parametrize("strength", [1.0, 0.25, 1e-3])
def test_the_curve_leaves_no_level_and_keeps_their_order(strength):
    """All 256 levels under the strongest fields: exhaustive."""
    levels = np.arange(256, dtype=np.uint8)[:, None, None]
    for sign in (-1, 1):
        field = np.full((256, 1), round(sign * strength * 2**20 / 255), np.int32)
        moved = _curve(levels, field).astype(int)[:, 0, 0]
        x = np.arange(256) / 255
        exact = 255 * (x + sign * strength * x * (1 - x))
        assert np.abs(moved - exact).max() <= 0.52
        assert (np.diff(moved) >= 0).all()


def test_a_resized_photo_carries_the_same_field():
    grey = np.full((1, 256, 256, 3), 128, np.uint8)
    large = publish(MARK, grey, 120.0)[0, ..., 0].astype(float)
    small = publish(MARK, grey[:, :32, :32], 120.0)[0, ..., 0]
    means = large.reshape(32, 8, 32, 8).mean(axis=(1, 3))
    assert np.abs(means - small).max() <= 1.0


@pytest.mark.slow
def test_gradient_by_the_angle_is_the_difference_of_two_patterns():
    image = jnp.asarray(_image((8, 8, 3)) / np.float32(255))
    slope = jax.jacfwd(lambda degrees: MARK.mark(image, degrees))(70.0)
    step = (MARK.mark(image, 75.0) - MARK.mark(image, 65.0)) / 10
    np.testing.assert_allclose(slope, step, atol=1e-5)
    assert float(jnp.abs(slope).max()) > 1e-4


class Transformations(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True)
    def test_mark_is_pure_under_jit_and_vmap(self):
        images = jnp.asarray(_image((3, 8, 9, 3)) / np.float32(255))
        angles = jnp.asarray([0.0, 60.0, 301.0])
        batch = self.variant(jax.vmap(MARK.mark))(images, angles)
        alone = [
            MARK.mark(np.asarray(i), float(d)) for i, d in zip(images, angles, strict=True)
        ]
        np.testing.assert_allclose(batch, alone, atol=1e-6)


def _naive_patterns(sub_key, num_patterns, cells):
    stream = b""
    for counter in range(-(-8 * num_patterns * cells**2 // 32)):
        message = b"anw_jax/v1/light-draw\0" + counter.to_bytes(4, "big")
        stream += hmac.new(sub_key, message, hashlib.sha256).digest()
    patterns = [[] for _ in range(num_patterns)]
    for _ in range(cells**2):
        words = [int.from_bytes(stream[8 * i : 8 * i + 8], "big") for i in range(num_patterns)]
        stream = stream[8 * num_patterns :]
        num_light = num_patterns // 2 + (num_patterns % 2) * (1 - words[0] % 2)
        lightest = sorted(words)[:num_light]
        for pattern, word in zip(patterns, words, strict=True):
            pattern.append(1 if word in lightest else -1)
    return np.reshape(patterns, (num_patterns, cells, cells))


@pytest.mark.parametrize(("num_slots", "cells"), [(12, 5), (7, 3), (2, 2)])
def test_patterns_equal_the_naive_draw(num_slots, cells):
    mark = LightField(SUB_KEY, cells=cells, num_slots=num_slots)
    assert not mark.patterns[0].any()
    naive = _naive_patterns(SUB_KEY, num_slots - 1, cells)
    np.testing.assert_array_equal(mark.patterns[1:], naive)


@settings(max_examples=25, deadline=None)
@given(sub_key=st.binary(min_size=32, max_size=32), num_slots=st.integers(2, 40))
def test_each_cell_is_light_in_half_of_the_patterns(sub_key, num_slots):
    signs = LightField(sub_key, cells=4, num_slots=num_slots).patterns[1:].astype(int)
    assert set(np.unique(signs)) <= {-1, 1}
    assert np.abs(signs.sum(axis=0)).max() <= (num_slots - 1) % 2


def test_signs_are_fair_over_keys():
    """Of 400 keys, each cell of each pattern is light in about half."""
    total = sum(
        LightField(i.to_bytes(32, "big"), cells=2, num_slots=4).patterns[1:].astype(int)
        for i in range(400)
    )
    assert np.abs(total).max() <= 4.5 * 20


def test_the_description_is_what_a_plan_may_hold():
    plan = Plan("log_losses", 1e-3, mark=MARK.description)
    name, strength, cells, num_slots, digest = plan.mark.split(":")
    assert (name, strength, cells, num_slots) == ("light_field", "0.3", "4", "6")
    assert digest != LightField(bytes(32)).description.split(":")[-1]
    assert SUB_KEY.hex() not in repr(MARK)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"strength": 0.0}, "strength"),
        ({"strength": 1.5}, "strength"),
        ({"strength": float("nan")}, "strength"),
        ({"cells": 1}, "cells must be at least 2"),
        ({"cells": 65}, "cells must be at most 64, got 65"),
        ({"num_slots": 1}, "num_slots must be at least 2"),
        ({"num_slots": 5000}, "num_slots must be at most 1024, got 5000"),
    ],
)
def test_refuses_numbers_out_of_range(arguments, words):
    with pytest.raises(ValueError, match=words):
        LightField(SUB_KEY, **arguments)


def test_refuses_a_short_key_and_a_frame_smaller_than_its_cells():
    with pytest.raises(ValueError, match="sub_key must be 32 bytes"):
        LightField(b"short")
    for image in (_image((3, 9, 3)), _image((9, 3, 3))):
        with pytest.raises(ValueError, match=r"4 \(one for each cell.*got 3"):
            MARK.publish_pixels(image, MARK.parameters(60.0))
        with pytest.raises(ValueError, match="got 3"):
            MARK.mark(image / np.float32(255), 60.0)


def test_the_loss_table_of_a_light_field_finds_the_stored_image():
    from anw_jax.verify import loss_table

    photo = _image((1, 12, 12, 3), 9)
    stored = publish(MARK, photo, 120.0)[0] / np.float32(255)

    def remembers(batch):
        near = 200 * jnp.square(batch - stored).mean((1, 2, 3))
        return jnp.stack([-near, near], axis=1)

    space = SignatureSpace(MARK.num_slots)
    table = loss_table(remembers, photo, np.array([0]), MARK, space)
    assert int(table.argmin()) == 2
