"""What holds for every mark, whatever it does to the pixels."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anw_jax.keys import MarkKey, SignatureSpace
from anw_jax.marks import HueRotation, PixelMark, UserLCT, publish
from anw_jax.marks.publish import stack_parameters

KEY = MarkKey.for_experiment(1)
LINEAR = {
    "hue_rotation": HueRotation(),
    "user_lct": UserLCT.from_sub_key(KEY.sub_key("basis")),
    "rows": UserLCT([[0.9, 0.1, 0.0], [-0.2, 0.8, 0.3], [0.1, -0.4, 0.7]]),
}
MARKS = LINEAR | {"pixels": PixelMark(KEY.sub_key("pixels"), 8, 8, num_pixels=40)}
# Marks of one type by other owners, for one program.
OTHERS = {
    "hue_rotation": HueRotation(),
    "user_lct": UserLCT.from_sub_key(bytes(32)),
    "rows": UserLCT.from_sub_key(bytes(32)),
    "pixels": PixelMark(bytes(32), 8, 8, num_pixels=11, full_scale=0.9),
}
# Mean change in levels between any two slots on noise.
LEAST_CHANGE = {"hue_rotation": 2.0, "user_lct": 2.0, "rows": 2.0, "pixels": 0.5}


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
    both = jax.vmap(mark.mark, in_axes=(None, 0))(image, angles)
    np.testing.assert_allclose(both[0], expected, atol=1e-5)


def test_gradient_of_the_angle_is_finite_and_right(mark, image):
    muted = 0.5 + 0.02 * (image - 0.5)

    def fun(degrees):
        return (mark.mark(muted, degrees) * image).sum()

    def in_float64(degrees):
        return (mark.mark(muted.astype(np.float64), degrees) * image).sum()

    slope = jax.grad(fun)(40.0)
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
    for secret in (KEY.sub_key("basis"), KEY.sub_key("pixels")):
        assert secret.hex() not in mark.description + repr(mark)
        assert repr(secret) not in repr(mark)
