"""The blue-channel mark against naive loops, and the draw of its pixels."""

import collections
import hashlib
import hmac

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax.keys import MarkKey, SignatureSpace
from anw_jax.marks import PixelMark, publish

SUB_KEY = MarkKey.for_experiment(4).sub_key("pixels")
MARK = PixelMark(SUB_KEY, 6, 5, num_pixels=9)
GOLDEN_POSITIONS = [488, 3101, 3996, 3452, 3580, 376]


def _naive_positions(sub_key, height, width, num_pixels):
    """Draws one pixel after the other out of a shrinking list, from the keyed stream."""
    stream = b""
    prefix = b"anw_jax/v1/pixel-draw\0" + bytes([0, 0, 0, height, 0, 0, 0, width])
    for counter in range(200):
        message = prefix + bytes([0, 0, 0, counter])
        stream += hmac.new(sub_key, message, hashlib.sha256).digest()
    pixels, chosen = list(range(height * width)), []
    for _ in range(num_pixels):
        while True:
            word, stream = int.from_bytes(stream[:4], "big"), stream[4:]
            if word < 2**32 - 2**32 % len(pixels):
                break
        # The gap is filled with the first that is left, as a swap does.
        j = word % len(pixels)
        chosen.append(pixels[j])
        pixels[j] = pixels[0]
        pixels = pixels[1:]
    return chosen


def _twin(image, mark, value):
    """The paper's words, pixel by pixel: the blue channel's intensity, adjusted."""
    marked = np.array(image, np.float64)
    for position in _naive_positions(mark.sub_key, mark.height, mark.width, mark.num_pixels):
        row, column = divmod(position, mark.width)
        marked[row, column, 2] = min(1.0, marked[row, column, 2] + value)
    return marked


def _image(seed, shape=(6, 5, 3)):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


@pytest.mark.parametrize(("height", "width", "num"), [(6, 5, 9), (3, 7, 21), (1, 1, 1)])
def test_positions_equal_the_naive_draw(height, width, num):
    mark = PixelMark(SUB_KEY, height, width, num_pixels=num)
    assert mark.positions.tolist() == _naive_positions(SUB_KEY, height, width, num)
    assert len(set(mark.positions.tolist())) == num
    assert mark.mask.shape == (height, width)
    assert sorted(mark.positions) == np.flatnonzero(mark.mask).tolist()


def test_positions_are_golden_and_cannot_be_changed():
    # A change of the derivation would orphan every published photo.
    positions = PixelMark(bytes(32), 64, 64).positions
    assert positions[:6].tolist() == GOLDEN_POSITIONS
    assert len(positions) == 512
    with pytest.raises(ValueError, match="read-only"):
        positions[0] = 1


def test_positions_are_uniform_over_keys_and_pixels():
    counts, num_keys, first = np.zeros(30), 2000, collections.Counter()
    for seed in range(num_keys):
        mark = PixelMark(hashlib.sha256(bytes([seed % 256, seed // 256])).digest(), 6, 5, 9)
        counts += mark.mask.ravel()
        first[int(mark.positions[0])] += 1
    # Each pixel is chosen by 9 of 30: chi-squared with 29 degrees of freedom, which at p = 1e-4
    # is 66; without replacement the variance is smaller by (1 - .3) · 30 / 29.
    expected = num_keys * 9 / 30
    assert ((counts - expected) ** 2 / (expected * 0.7)).sum() * 29 / 30 < 66
    firsts = np.array([first[i] for i in range(30)])
    assert ((firsts - num_keys / 30) ** 2 / (num_keys / 30)).sum() < 66


def test_positions_depend_on_key_and_shape():
    others = (
        PixelMark(bytes(32), 6, 5, 9),
        PixelMark(SUB_KEY, 5, 6, 9),
        PixelMark(SUB_KEY, 10, 3, 9),
    )
    for other in others:
        assert other.positions.tolist() != MARK.positions.tolist()
    more = PixelMark(SUB_KEY, 6, 5, 20).positions
    assert more[:9].tolist() == MARK.positions.tolist()


@settings(derandomize=True, deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**31 - 1), degrees=st.floats(0.0, 359.99))
def test_mark_equals_the_naive_twin_and_jax_equals_numpy(seed, degrees):
    image = _image(seed)
    expected = _twin(image, MARK, 0.6 * degrees / 360)
    in_numpy = MARK.mark(image, degrees)
    in_jax = MARK.mark(jnp.asarray(image), degrees)
    assert in_numpy.dtype == in_jax.dtype == np.float32
    np.testing.assert_allclose(in_numpy, expected, atol=1e-6)
    np.testing.assert_allclose(in_jax, in_numpy, atol=1e-6)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**31 - 1),
    degrees=st.floats(0.0, 359.9),
    full_scale=st.floats(0.01, 1.0),
)
def test_publish_equals_integers_and_the_float_map_within_one_level(seed, degrees, full_scale):
    mark = PixelMark(SUB_KEY, 6, 5, 9, full_scale)
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (2, 6, 5, 3), dtype=np.uint8)
    published = publish(mark, images, degrees)
    expected = images.astype(int)
    level = round(255 * full_scale * degrees / 360)  # Python rounds halves to even
    for position in _naive_positions(SUB_KEY, 6, 5, 9):
        row, column = divmod(position, 5)
        expected[:, row, column, 2] = np.minimum(255, expected[:, row, column, 2] + level)
    np.testing.assert_array_equal(published, expected)
    floats = [255 * _twin(image / 255, mark, full_scale * degrees / 360) for image in images]
    assert np.abs(published - np.stack(floats)).max() <= 0.5 + 1e-6


def test_only_the_blue_of_the_chosen_pixels_changes(rng):
    images = rng.integers(0, 100, (3, 6, 5, 3), dtype=np.uint8)
    changed = publish(MARK, images, 90.0) != images
    assert not changed[..., :2].any()
    np.testing.assert_array_equal(changed[..., 2], np.broadcast_to(MARK.mask, (3, 6, 5)))


def test_greys_and_black_can_be_marked_but_full_blue_cannot():
    grey = np.full((1, 6, 5, 3), 90, np.uint8)
    assert (publish(MARK, grey, 180.0) != grey).any()
    blue = np.full((1, 6, 5, 3), 255, np.uint8)
    np.testing.assert_array_equal(publish(MARK, blue, 180.0), blue)
    assert publish(MARK, blue - blue, 180.0).max() == 76  # .3 of 255 is 76.5: to even


def test_blue_rises_with_the_angle(rng):
    image = rng.integers(0, 256, (1, 6, 5, 3), dtype=np.uint8)
    slots = np.stack([publish(MARK, image, degrees) for degrees in range(360)])
    assert (np.diff(slots.astype(int), axis=0) >= 0).all()
    assert slots[359].astype(int).sum() > slots[0].astype(int).sum()


def test_the_papers_signatures_stand_on_the_dial():
    np.testing.assert_allclose(MARK.degrees_of([0.1, 0.3, 0.5]), [60.0, 180.0, 300.0])
    assert MARK.full_scale == 0.6
    values = np.linspace(0, 0.599, 50)
    np.testing.assert_allclose(MARK.value_of(MARK.degrees_of(values)), values, atol=1e-12)
    # tau = .1 on values is tau = 60 degrees, and so three slots, away from the seam.
    coarse = SignatureSpace(3)
    for value, inferred in ((0.1, 0.12), (0.3, 0.28), (0.5, 0.44)):
        assert coarse.matches(MARK.degrees_of(inferred), MARK.degrees_of(value))
    for apart in (0.09, 0.11):
        near = coarse.matches(MARK.degrees_of(0.3 + apart), MARK.degrees_of(0.3))
        assert near == (apart < 0.1)


def test_the_dial_is_round_and_the_value_is_not():
    assert SignatureSpace.distance(350.0, 10.0) == 20.0
    np.testing.assert_allclose(MARK.value_of([350.0, 10.0]), [7 / 12, 1 / 60])
    np.testing.assert_allclose(MARK.value_of([-60.0, 360.0, 420.0]), [0.5, 0.0, 0.1])
    # In float32, -1e-9 % 360 is 360.
    image = np.zeros((MARK.height, MARK.width, 3), np.float32)
    assert not np.any(MARK.mark(image, np.float32(-1e-9)))
    assert MARK.value_of(-1e-20) == 0.0


@pytest.mark.parametrize("degrees", [3.0, 60.0, 200.0, 355.0])
def test_gradient_equals_finite_differences(degrees):
    # Colours from 0 to 1: some clip, which the twin's slope must leave out too.
    image, weights = _image(2), _image(3)

    def fun(degrees):
        return (MARK.mark(image, degrees) * weights).sum()

    def twin(degrees):
        return (_twin(image, MARK, 0.6 * degrees / 360) * weights).sum()

    slope = float(jax.jit(jax.grad(fun))(degrees))
    assert slope == pytest.approx(
        (twin(degrees + 1e-4) - twin(degrees - 1e-4)) / 2e-4, rel=1e-4
    )
    clear = MARK.mask & (image[..., 2] + 0.6 * degrees / 360 < 1)
    assert slope == pytest.approx(0.6 / 360 * weights[..., 2][clear].sum(), rel=1e-4)


def test_gradient_by_the_pixels_is_one_where_nothing_clips():
    image = _image(5)
    slopes = jax.grad(lambda image: MARK.mark(image, 300.0).sum())(jnp.asarray(image))
    clipped = MARK.mask & (image[..., 2] + 0.5 > 1)
    assert clipped.any()
    expected = np.ones((6, 5, 3))
    expected[clipped, 2] = 0
    np.testing.assert_array_equal(slopes, expected)


def test_half_precision_keeps_its_dtype():
    image = jnp.asarray(_image(7), jnp.float16)
    marked = MARK.mark(image, 331.0)
    assert marked.dtype == jnp.float16
    exact = _twin(np.asarray(image, np.float64), MARK, 0.6 * 331 / 360)
    np.testing.assert_allclose(np.asarray(marked, np.float64), exact, atol=2e-3)


def test_tables_hold_the_mask_once():
    tables = MARK.parameters(np.zeros((1000, 12)))
    assert tables["mask"].shape == (1000, 12, 6, 5)
    assert tables["mask"].strides[:2] == (0, 0)
    assert tables["level"].shape == (1000, 12)
    assert tables["level"].dtype == np.int32


def test_description_binds_key_number_and_scale():
    assert MARK.description.startswith("pixel_mark:9:0.6:")
    digest = hashlib.sha256(b"anw_jax/v1/pixels\0" + SUB_KEY).hexdigest()
    assert MARK.description == f"pixel_mark:9:0.6:{digest}"
    others = (
        PixelMark(bytes(32), 6, 5, 9),
        PixelMark(SUB_KEY, 6, 5, 10),
        PixelMark(SUB_KEY, 6, 5, 9, 0.5),
    )
    assert len({mark.description for mark in (MARK, *others)}) == 4
    assert "\\x" not in repr(MARK)
    assert repr(MARK) == "PixelMark(height=6, width=5, num_pixels=9, full_scale=0.6)"


def _refuses(kind, message, fun, *args, **kwargs):
    with pytest.raises(kind) as caught:
        fun(*args, **kwargs)
    assert str(caught.value) == message


@pytest.mark.parametrize("sub_key", [b"", bytes(31), "0" * 32, bytearray(32)])
def test_sub_keys_must_be_32_bytes(sub_key):
    message = (
        'sub_key must be 32 bytes (mark_key.sub_key("pixels")); the value given is not shown'
    )
    _refuses(ValueError, message, PixelMark, sub_key, 8, 8, 4)


REFUSED = {
    "too many": (
        {},
        ValueError,
        "num_pixels must be at most height * width = 64, got 512: choose fewer for small "
        "photos",
    ),
    "none": ({"num_pixels": 0}, ValueError, "num_pixels must be at least 1, got 0"),
    "half": ({"num_pixels": 1.5}, TypeError, "num_pixels must be an integer, got 1.5"),
    "height": ({"height": 0}, ValueError, "height must be at least 1, got 0"),
    "width": ({"width": 40000}, ValueError, "width must be at most 32768, got 40000"),
    "no scale": (
        {"num_pixels": 4, "full_scale": 0.0},
        ValueError,
        "full_scale must be above 0, got 0.0",
    ),
    "scale": (
        {"num_pixels": 4, "full_scale": 1.1},
        ValueError,
        "full_scale must lie in [0.0, 1.0], got 1.1",
    ),
}


@pytest.mark.parametrize(("change", "kind", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_numbers_are_refused(change, kind, message):
    _refuses(
        kind, message, PixelMark, **({"sub_key": bytes(32), "height": 8, "width": 8} | change)
    )


@pytest.mark.parametrize("value", [-0.01, 0.6, np.nan, [0.1, 0.7]])
def test_values_off_the_dial_are_refused(value):
    message = f"value must lie in [0, 0.6), got {value}"
    _refuses(ValueError, message, MARK.degrees_of, value)


@pytest.mark.parametrize("shape", [(5, 6, 3), (1, 1, 3), (7, 5, 3)])
def test_photos_of_another_shape_are_refused(shape):
    message = (
        "image must have shape (6, 5, 3), for which this mark's pixels were chosen, got "
        f"{shape}"
    )
    image = np.zeros(shape, np.float32)
    _refuses(ValueError, message, MARK.mark, image, 30.0)
    _refuses(ValueError, message, jax.jit(MARK.mark), image, 30.0)
    _refuses(ValueError, message, publish, MARK, np.zeros((1, *shape), np.uint8), 30.0)


def test_pictures_and_angles_are_checked_like_those_of_other_marks():
    image = np.zeros((6, 5, 3), np.float32)
    _refuses(ValueError, "degrees must be finite, got nan", MARK.mark, image, float("nan"))
    uint8 = "image must be float in [0, 1], got uint8: divide by 255 first"
    _refuses(TypeError, uint8, MARK.mark, image.astype(np.uint8), 60.0)
