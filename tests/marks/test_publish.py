"""Published pixels: integers, the same bytes on NumPy, under jit and under vmap."""

import hashlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax.keys import SignatureSpace
from anw_jax.marks import HueRotation, UserLCT, publish

# From the published matrix, by exact arithmetic: originals and their marks at 60, 120, 180.
GOLDEN_ORIGINALS = [(200, 40, 40), (10, 200, 90), (128, 128, 128), (30, 60, 210)]

# SHA-256 of pictures published by the first version of the map.
GOLDEN_DIGEST = "8141fb95d6559bf5d9315572f91101428100641e544e7d086a604fe9d3503177"


def _integer_twin(mark, image, degrees):
    """The fixed-point map with Python's unbounded integers, value by value."""
    table = np.rint(mark.matrix(degrees) * 2**mark.shift).astype(int).tolist()
    marked = []
    for pixel in image.reshape(-1, 3).tolist():
        sums = [sum(p * v for p, v in zip(row, pixel, strict=True)) for row in table]
        rounded = [(total + 2 ** (mark.shift - 1)) // 2**mark.shift for total in sums]
        marked.append([min(255, max(0, value)) for value in rounded])
    return np.reshape(marked, image.shape).astype(np.uint8)


@pytest.mark.parametrize("degrees", [60.0, 120.0, 180.0])
def test_golden_pixels(degrees):
    yiq = np.array([[0.299, 0.587, 0.114], [0.596, -0.275, -0.321], [0.212, -0.523, 0.311]])
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    originals = np.array(GOLDEN_ORIGINALS, np.uint8).reshape(1, 2, 2, 3)
    expected = np.rint(np.clip(originals @ (np.linalg.inv(yiq) @ turn @ yiq).T, 0, 255))
    np.testing.assert_array_equal(publish(HueRotation(), originals, degrees), expected)


def test_published_bytes_never_change():
    # Other bytes would orphan every published photo.
    rng = np.random.default_rng(2209)
    images = rng.integers(0, 256, (12, 9, 7, 3), dtype=np.uint8)
    marks = [HueRotation(), *(UserLCT.from_sub_key(rng.bytes(32)) for _ in range(5))]
    everything = b"".join(
        publish(mark, images, rng.uniform(-400, 400, 12)).tobytes() for mark in marks
    )
    assert hashlib.sha256(everything).hexdigest() == GOLDEN_DIGEST


def test_tables_are_int32_with_one_entry_for_each_angle():
    mark = UserLCT.from_sub_key(bytes(32))
    tables = mark.parameters(np.zeros((2, 5)))
    shapes = {name: (table.shape, table.dtype) for name, table in tables.items()}
    int32 = np.dtype(np.int32)
    assert shapes == {"matrix": ((2, 5, 3, 3), int32), "shift": ((2, 5), int32)}
    assert (tables["shift"] == mark.shift).all()


def test_every_slot_gives_the_same_bytes_everywhere(rng):
    images = rng.integers(0, 256, (24, 7, 5, 3), dtype=np.uint8)
    images[0], images[1] = 0, 255
    mark = HueRotation()
    on_batch = jax.jit(jax.vmap(mark.publish_pixels))
    on_one = jax.jit(mark.publish_pixels)
    for degrees in SignatureSpace().degrees:
        table = mark.parameters(degrees)
        expected = np.stack([_integer_twin(mark, image, degrees) for image in images[:4]])
        published = publish(mark, images, degrees)
        np.testing.assert_array_equal(published[:4], expected)
        tables = jax.tree.map(lambda leaf: np.repeat(leaf[None], 24, axis=0), table)
        np.testing.assert_array_equal(on_batch(images, tables), published)
        np.testing.assert_array_equal(on_one(images[2], table), published[2])
        np.testing.assert_array_equal(
            mark.publish_pixels(jnp.asarray(images[3]), table), published[3]
        )


@settings(derandomize=True, deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31 - 1), degrees=st.floats(-400, 400))
def test_publish_is_the_rounded_mark_except_near_halves(seed, degrees):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (2, 9, 9, 3), dtype=np.uint8)
    for mark in (HueRotation(), UserLCT.from_sub_key(rng.bytes(32))):
        exact = np.clip(images @ mark.matrix(degrees).T, 0, 255)
        is_near_half = np.abs(exact % 1 - 0.5) < 1e-3
        published = publish(mark, images, degrees)
        np.testing.assert_array_equal(published[~is_near_half], np.rint(exact)[~is_near_half])
        assert np.abs(published - exact).max() <= 0.501
        floats = [mark.mark(image / np.float32(255), degrees) for image in images]
        as_floats = np.rint(np.float32(255) * np.stack(floats))
        np.testing.assert_array_equal(published[~is_near_half], as_floats[~is_near_half])


def test_slot_zero_publishes_the_original(small_images):
    np.testing.assert_array_equal(publish(HueRotation(), small_images, 0.0), small_images)


def test_one_angle_for_all_or_one_for_each(small_images):
    angles = np.arange(6) * 30.0
    marked = publish(HueRotation(), small_images, angles)
    assert marked.dtype == np.uint8
    for image, degrees, expected in zip(small_images, angles, marked, strict=True):
        alone = publish(HueRotation(), image[None], degrees)[0]
        np.testing.assert_array_equal(alone, expected)
    assert publish(HueRotation(), small_images[:0], 60.0).shape == (0, 8, 8, 3)
    assert publish(HueRotation(), small_images[:0], np.zeros(0)).shape == (0, 8, 8, 3)


def test_originals_are_left_alone(small_images):
    before = small_images.copy()
    publish(HueRotation(), small_images, 60.0)
    publish(HueRotation(), small_images[:0], 60.0)
    np.testing.assert_array_equal(small_images, before)


def test_exact_8_bit_floats_are_taken(small_images):
    np.testing.assert_array_equal(
        publish(HueRotation(), small_images / 255.0, 60.0),
        publish(HueRotation(), small_images, 60.0),
    )


def _worst_basis(condition):
    """A basis of that condition number whose axes mix all channels."""
    rng = np.random.default_rng(3)
    left, right = (np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(2))
    return left @ np.diag([1.0, 0.5, 1 / condition]) @ right


@pytest.mark.parametrize("condition", [1.5, 4.0, 100.0, 999.0])
def test_int32_never_overflows(condition):
    mark = UserLCT(_worst_basis(condition))
    tables = mark.parameters(np.arange(0.0, 360.0, 0.5))["matrix"].astype(object)
    # The largest sum of each row: 255 where its entry is positive, else 0; and its mirror.
    highest = np.maximum(tables, 0).sum(axis=-1).max() * 255 + 2 ** (mark.shift - 1)
    lowest = np.minimum(tables, 0).sum(axis=-1).min() * 255
    assert highest < 2**31
    assert lowest >= -(2**31)
    assert mark.shift >= 10
    corners = np.stack(np.meshgrid([0, 255], [0, 255], [0, 255]), axis=-1).astype(np.uint8)
    image = corners.reshape(2, 4, 3)
    for degrees in (17.0, 180.0, 275.0):
        np.testing.assert_array_equal(
            publish(mark, image[None], degrees)[0], _integer_twin(mark, image, degrees)
        )


@pytest.mark.parametrize("degrees", [[1.0, 2.0], np.zeros((6, 1))])
def test_angles_must_be_one_or_n_finite_numbers(small_images, degrees):
    shape = np.shape(degrees)
    message = f"degrees must be one finite number or 6 of them, got shape {shape}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        publish(HueRotation(), small_images, degrees)


@pytest.mark.parametrize(
    ("degrees", "message"),
    [
        (np.nan, "degrees must be finite, got nan"),
        (-np.inf, "degrees must be finite, got -inf"),
        ([0, 1, 2, np.nan, 4, np.inf], "degrees[3] must be finite, got nan"),
    ],
)
def test_angles_that_are_not_finite_are_shown(small_images, degrees, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        publish(HueRotation(), small_images, degrees)


def test_angles_that_are_no_numbers_are_shown(small_images):
    for degrees in ("sixty", ["a"] * 6, [[1.0], [1.0, 2.0]], object):
        message = f"degrees must be one finite number or 6 of them, got {degrees!r}"
        with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
            publish(HueRotation(), small_images, degrees)


@pytest.mark.parametrize("mark", ["hue", None, HueRotation, HueRotation().mark])
def test_what_is_no_mark_is_refused(small_images, mark):
    beginning = f"mark must be a Mark, such as HueRotation(), got {type(mark).__name__}: "
    with pytest.raises(TypeError, match=f"^{re.escape(beginning)}"):
        publish(mark, small_images, 60.0)
