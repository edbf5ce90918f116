"""What holds for every mark, whatever it does to the pixels."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anw_jax.keys import MarkKey, SignatureSpace
from anw_jax.marks import (
    Composed,
    HueRotation,
    LightField,
    LimitedHue,
    PixelMark,
    Tint,
    Tone,
    UserLCT,
    mark_named,
    program_of,
    publish,
    sub_key_name,
)
from anw_jax.marks.publish import stack_parameters

KEY = MarkKey.for_experiment(1)
LINEAR = {
    "hue_rotation": HueRotation(),
    "user_lct": UserLCT.from_sub_key(KEY.sub_key("basis")),
    "rows": UserLCT([[0.9, 0.1, 0.0], [-0.2, 0.8, 0.3], [0.1, -0.4, 0.7]]),
}
MARKS = LINEAR | {
    "pixels": PixelMark(KEY.sub_key("pixels"), 8, 8, num_pixels=40),
    "light": LightField(KEY.sub_key("light"), 0.5, cells=4),
    "tone": Tone(0.3),
    "tint": Tint(0.5),
    "hue_limited": LimitedHue(60.0),
    "light_and_tint": Composed(
        LightField(KEY.sub_key("light"), 0.5, cells=4, num_slots=4), Tint(0.5, num_slots=3)
    ),
    "hue_and_tone": Composed(LimitedHue(80.0, num_slots=4), Tone(0.3, num_slots=3)),
}
# Marks of one type by other owners, for one program.
OTHERS = {
    "hue_rotation": HueRotation(),
    "user_lct": UserLCT.from_sub_key(bytes(32)),
    "rows": UserLCT.from_sub_key(bytes(32)),
    "pixels": PixelMark(bytes(32), 8, 8, num_pixels=11, full_scale=0.9),
    "light": LightField(bytes(32), 0.3, cells=4),
    "tone": Tone(0.1),
    "tint": Tint(0.7),
    "hue_limited": LimitedHue(25.0),
    "light_and_tint": Composed(
        LightField(bytes(32), 0.3, cells=4, num_slots=4), Tint(0.1, num_slots=3)
    ),
    "hue_and_tone": Composed(LimitedHue(25.0, num_slots=4), Tone(0.1, num_slots=3)),
}
# Mean change in levels between any two slots on noise.
LEAST_CHANGE = dict.fromkeys(MARKS, 2.0) | {"pixels": 0.5, "tint": 0.5, "light_and_tint": 0.5}
# Marks that keep greys grey, luma, and black and white, and that are the same at any size.
KEEP_GREY = ("hue_rotation", "light", "tone", "hue_limited", "hue_and_tone")
KEEP_LUMA = ("hue_rotation", "tint", "hue_limited")
KEEP_ENDS = [name for name in MARKS if name not in ("user_lct", "rows", "pixels")]
ANY_SIZE = [name for name in MARKS if name != "pixels"]


@pytest.fixture(params=MARKS)
def name(request):
    return request.param


@pytest.fixture
def mark(name):
    return MARKS[name]


@pytest.fixture
def image(rng):
    return rng.random((8, 8, 3), dtype=np.float32)


def test_zero_degrees_changes_nothing(mark, image, small_images):
    np.testing.assert_allclose(mark.mark(image, 0.0), image, atol=1e-5)
    np.testing.assert_array_equal(publish(mark, small_images, 0.0), small_images)


def test_a_full_turn_is_no_turn(mark, image):
    np.testing.assert_allclose(mark.mark(image, 420.0), mark.mark(image, 60.0), atol=1e-5)


@pytest.mark.parametrize("linear", LINEAR.values(), ids=LINEAR)
def test_angles_add_up(linear):
    maps = linear.matrix(np.array([20.0, 50.0, 70.0]))
    np.testing.assert_allclose(maps[1] @ maps[0], maps[2], atol=1e-12)


@pytest.mark.parametrize("linear", LINEAR.values(), ids=LINEAR)
def test_first_axis_of_the_basis_is_fixed(linear):
    axis = linear.basis[0]
    np.testing.assert_allclose(axis @ linear.matrix(77.0), axis, atol=1e-12)


def test_shape_dtype_and_range_are_kept(mark, image):
    for array in (image, jnp.asarray(image)):
        marked = mark.mark(array, 200.0)
        assert marked.shape == array.shape
        assert marked.dtype == array.dtype
        assert 0 <= float(marked.min()) <= float(marked.max()) <= 1


def test_numpy_jax_jit_and_vmap_agree(mark, image):
    expected = mark.mark(image, 130.0)
    np.testing.assert_allclose(mark.mark(jnp.asarray(image), 130.0), expected, atol=1e-5)
    np.testing.assert_allclose(jax.jit(mark.mark)(image, 130.0), expected, atol=1e-5)
    angles = jnp.asarray([130.0, 10.0])
    both = jax.jit(jax.vmap(mark.mark, in_axes=(None, 0)))(image, angles)
    np.testing.assert_allclose(both[0], expected, atol=1e-5)


def test_gradient_of_the_angle_is_finite_and_right(mark, image):
    muted = 0.5 + 0.02 * (image - 0.5)

    def fun(degrees):
        return (mark.mark(muted, degrees) * image).sum()

    def in_float64(degrees):
        return (mark.mark(muted.astype(np.float64), degrees) * image).sum()

    slope = jax.jit(jax.grad(fun))(40.0)
    twin = in_float64(40.0 + 1e-3), in_float64(40.0 - 1e-3)
    assert float(slope) == pytest.approx((twin[0] - twin[1]) / 2e-3, rel=2e-3, abs=1e-5)


def test_published_bytes_are_the_same_everywhere(mark, small_images):
    space = SignatureSpace()
    tables = mark.parameters(space.degrees)
    every = jax.jit(jax.vmap(mark.publish_pixels, in_axes=(None, 0)))
    for image in small_images:
        on_host = [publish(mark, image[None], degrees)[0] for degrees in space.degrees]
        np.testing.assert_array_equal(every(image, tables), on_host)


def test_one_program_serves_the_marks_of_a_type(name, small_images, image):
    marks, traces = [MARKS[name], OTHERS[name]], []

    @jax.jit
    def publish_with(image, parameters):
        traces.append(image.shape)
        return type(marks[0]).publish_pixels(image, parameters)

    @jax.jit
    def mark_with(image, degrees, constants):
        traces.append(image.shape)
        return type(marks[0]).mark_pixels(image, degrees, constants)

    tables = stack_parameters([mark.parameters(np.array([0.0, 100.0])) for mark in marks])
    constants = stack_parameters([mark.constants for mark in marks])
    for i, mark in enumerate(marks):
        one = jax.tree.map(lambda table, i=i: table[i, 1], tables)
        expected = publish(mark, small_images[:1], 100.0)[0]
        np.testing.assert_array_equal(publish_with(small_images[0], one), expected)
        one = jax.tree.map(lambda table, i=i: table[i], constants)
        np.testing.assert_allclose(
            mark_with(image, 100.0, one), mark.mark(image, 100.0), atol=1e-5
        )
    assert len(traces) == 2


def test_slots_differ_on_colours(name, mark, small_images):
    slots = np.stack([publish(mark, small_images, d) for d in SignatureSpace().degrees])
    changes = np.abs(slots[:, None].astype(int) - slots[None]).mean(axis=(2, 3, 4, 5))
    assert (changes[~np.eye(12, dtype=bool)] > LEAST_CHANGE[name]).all()


def test_marks_compare_by_value_and_have_a_public_name(name, mark):
    again = dataclasses.replace(mark)
    assert again is not mark
    assert again == mark
    assert hash(again) == hash(mark)
    assert again.description == mark.description
    assert "\n" not in mark.description
    for secret in map(KEY.sub_key, ("basis", "pixels", "light")):
        assert secret.hex() not in mark.description + repr(mark)
        assert repr(secret) not in repr(mark)


def test_integers_are_within_a_level_of_the_rounded_floats(mark, small_images):
    angles = [*SignatureSpace().degrees, 17.3, 200.1]
    for image in small_images:
        for degrees in angles:
            floats = 255 * mark.mark(image / np.float64(255), degrees)
            exact = publish(mark, image[None], degrees)[0]
            assert np.abs(exact - np.rint(floats)).max() <= 1


def test_the_float_mark_of_a_near_slot_is_another(mark, small_images):
    """The test above would accept any mark if its tolerance hid the slots."""
    apart = [
        np.abs(publish(mark, small_images, degrees) - 255.0 * mark.mark(image, degrees + 30))
        for degrees in SignatureSpace().degrees
        for image in small_images[:1] / np.float64(255)
    ]
    assert min(each.max() for each in apart) > 1.5


GREYS = np.repeat(np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1), 3, axis=-1)


@pytest.mark.parametrize("name", ANY_SIZE)
def test_grey_photos_are_marked_where_the_mark_says_so(name):
    mark = MARKS[name]
    marked = [publish(mark, GREYS, degrees) for degrees in SignatureSpace().degrees[1:]]
    assert any((each != GREYS).any() for each in marked) == mark.marks_grey
    is_grey = all((np.ptp(each.astype(int), axis=-1) == 0).all() for each in marked)
    assert is_grey == (name in KEEP_GREY)


@pytest.mark.parametrize("name", KEEP_ENDS)
def test_black_and_white_are_kept(name):
    ends = np.repeat(np.array([0, 255], np.uint8), 16).reshape(2, 4, 4, 1).repeat(3, axis=-1)
    for degrees in SignatureSpace().degrees:
        np.testing.assert_array_equal(publish(MARKS[name], ends, degrees), ends)


@pytest.mark.parametrize("name", KEEP_LUMA)
def test_luma_is_kept(name, image):
    muted, luma = 0.4 + 0.2 * image.astype(np.float64), np.array([0.299, 0.587, 0.114])
    for degrees in SignatureSpace().degrees:
        marked = MARKS[name].mark(muted, degrees)
        np.testing.assert_allclose(marked @ luma, muted @ luma, atol=2e-3 * 0.02)


@pytest.mark.parametrize("name", ANY_SIZE)
def test_a_larger_photo_carries_the_same_mark(name, small_images):
    """On a photo of flat blocks, each block changes as the one pixel it stands for."""
    flat = np.broadcast_to(small_images[:1, :1, :1], (1, 8, 8, 3))
    large = np.broadcast_to(small_images[:1, :1, :1], (1, 64, 64, 3))
    for degrees in SignatureSpace().degrees:
        small = publish(MARKS[name], flat, degrees)[0].astype(float)
        blocks = publish(MARKS[name], large, degrees)[0].reshape(8, 8, 8, 8, 3)
        assert np.abs(blocks.mean(axis=(1, 3)) - small).max() <= 1.2


def test_a_photo_of_the_least_side_is_marked(name, mark):
    side = mark.least_side
    photo = np.random.default_rng(5).integers(60, 190, (1, side, side, 3), dtype=np.uint8)
    assert (publish(mark, photo, 120.0) != photo).any()
    if 1 < side and name != "pixels":
        with pytest.raises(ValueError, match=f"got {side - 1}"):
            publish(mark, photo[:, 1:], 120.0)


@pytest.mark.parametrize("name", [name for name in MARKS if name not in ("rows", "pixels")])
def test_a_mark_is_made_again_from_its_description(name):
    mark = MARKS[name]
    secret = sub_key_name(mark.description)
    again = mark_named(mark.description, None if secret is None else KEY.sub_key(secret))
    assert again == mark
    if secret is not None:
        with pytest.raises(ValueError, match="sub_key is not the one committed to"):
            mark_named(mark.description, bytes(32))


def test_marks_that_share_a_program_are_known(name, mark):
    assert program_of(mark) == program_of(OTHERS[name])
    others = [MARKS[other] for other in MARKS if type(MARKS[other]) is not type(mark)]
    assert all(program_of(mark) != program_of(other) for other in others)
    hash(program_of(mark))
