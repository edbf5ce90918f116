"""What holds for every mark, whatever it does to the colours."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anw_jax.keys import MarkKey, SignatureSpace
from anw_jax.marks import HueRotation, UserLCT, publish

MARKS = {
    "hue_rotation": HueRotation(),
    "user_lct": UserLCT.from_sub_key(MarkKey.for_experiment(1).sub_key("basis")),
    "rows": UserLCT([[0.9, 0.1, 0.0], [-0.2, 0.8, 0.3], [0.1, -0.4, 0.7]]),
}


@pytest.fixture(params=MARKS, ids=MARKS)
def mark(request):
    return MARKS[request.param]


@pytest.fixture
def image(rng):
    return rng.random((5, 4, 3), dtype=np.float32)


def test_zero_degrees_changes_nothing(mark, image, small_images):
    np.testing.assert_allclose(mark.mark(image, 0.0), image, atol=1e-5)
    np.testing.assert_array_equal(publish(mark, small_images, 0.0), small_images)


def test_a_full_turn_is_no_turn(mark, image):
    np.testing.assert_allclose(mark.mark(image, 420.0), mark.mark(image, 60.0), atol=1e-5)


def test_angles_add_up(mark):
    maps = mark.matrix(np.array([20.0, 50.0, 70.0]))
    np.testing.assert_allclose(maps[1] @ maps[0], maps[2], atol=1e-12)


def test_first_axis_of_the_basis_is_fixed(mark):
    axis = mark.basis[0]
    np.testing.assert_allclose(axis @ mark.matrix(77.0), axis, atol=1e-12)


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

    def twin_fun(degrees):
        return (np.clip(muted @ mark.matrix(degrees).T, 0, 1) * image).sum()

    slope = jax.grad(fun)(40.0)
    twin = twin_fun(40.0 + 1e-3), twin_fun(40.0 - 1e-3)
    assert float(slope) == pytest.approx((twin[0] - twin[1]) / 2e-3, rel=2e-3, abs=1e-5)


def test_published_bytes_are_the_same_everywhere(mark, small_images):
    space = SignatureSpace()
    tables = mark.parameters(space.degrees)
    every = jax.jit(jax.vmap(mark.publish_pixels, in_axes=(None, 0)))
    for image in small_images:
        on_host = [publish(mark, image[None], degrees)[0] for degrees in space.degrees]
        np.testing.assert_array_equal(every(image, tables), on_host)


def test_slots_differ_on_colours(mark, small_images):
    slots = np.stack([publish(mark, small_images, d) for d in SignatureSpace().degrees])
    changes = np.abs(slots[:, None].astype(int) - slots[None]).mean(axis=(2, 3, 4, 5))
    assert (changes[~np.eye(12, dtype=bool)] > 2).all()


def test_marks_are_static_arguments_with_a_public_name(mark):
    assert hash(mark) == hash(mark)
    assert mark == MARKS[next(name for name, kept in MARKS.items() if kept is mark)]
    assert "\n" not in mark.description
