"""The paper's mark against a naive twin, eq. 3-5 of the paper, and its invariants."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax.keys import SignatureSpace
from anw_jax.marks import HueRotation

YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.275, -0.321], [0.212, -0.523, 0.311]])
COLOURS = [[0.6, 0.4, 0.3], [0.2, 0.5, 0.45], [0.5, 0.5, 0.5], [0.35, 0.3, 0.6]]
# M^-1 R(θ) M of the published matrix, by hand: (angle, the map's first row).
GOLDEN_ROWS = {
    60.0: (0.794, 0.5787, -0.3727),
    120.0: (0.093, 1.1657, -0.2587),
    180.0: (-0.402, 1.174, 0.228),
}
DEGREES = st.floats(-720.0, 720.0)
SEEDS = st.integers(0, 2**31 - 1)


def _rotation(degrees):
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])


def _twin(image, degrees):
    """Eq. 3-5 pixel by pixel, in the order of the authors' code; not clipped."""
    pixel_map = np.linalg.inv(YIQ) @ _rotation(degrees) @ YIQ
    flat = [pixel_map @ pixel for pixel in np.reshape(image, (-1, 3)).astype(np.float64)]
    return np.reshape(flat, np.shape(image))


def _unclipped(image, degrees):
    return image @ HueRotation().matrix(degrees).T


def _colours(seed, low=0.0, high=1.0, shape=(3, 5, 3)):
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(seed=SEEDS, degrees=DEGREES)
def test_mark_equals_the_naive_twin_and_jax_equals_numpy(seed, degrees):
    image = _colours(seed)
    expected = np.clip(_twin(image, degrees), 0, 1)
    in_numpy = HueRotation().mark(image, degrees)
    in_jax = HueRotation().mark(jnp.asarray(image), degrees)
    assert isinstance(in_numpy, np.ndarray)
    assert isinstance(in_jax, jax.Array)
    assert in_numpy.dtype == in_jax.dtype == np.float32
    np.testing.assert_allclose(in_numpy, expected, atol=5e-6)
    np.testing.assert_allclose(in_jax, in_numpy, atol=1e-6)


@pytest.mark.parametrize(("degrees", "row"), GOLDEN_ROWS.items())
def test_matrix_equals_the_published_one(degrees, row):
    np.testing.assert_allclose(HueRotation().matrix(degrees)[0], row, atol=5e-5)


def test_printed_order_is_not_ours():
    printed = YIQ @ _rotation(60.0) @ np.linalg.inv(YIQ)
    np.testing.assert_allclose(printed @ np.ones(3), (0.08, 1.63, 1.52), atol=5e-3)
    np.testing.assert_allclose(HueRotation().matrix(60.0) @ np.ones(3), 1.0, atol=1e-12)


@pytest.mark.parametrize("degrees", [0.0, 360.0, -360.0])
def test_whole_turns_change_nothing(degrees):
    image = _colours(1)
    np.testing.assert_allclose(HueRotation().mark(image, degrees), image, atol=1e-6)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(seed=SEEDS, degrees=DEGREES)
def test_luma_and_greys_are_fixed_before_clipping(seed, degrees):
    image = _colours(seed).astype(np.float64)
    luma = _unclipped(image, degrees) @ YIQ[0]
    np.testing.assert_allclose(luma, image @ YIQ[0], atol=1e-6)
    greys = np.repeat(image[..., :1], 3, axis=-1)
    np.testing.assert_allclose(_unclipped(greys, degrees), greys, atol=1e-6)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(seed=SEEDS, first=DEGREES, second=DEGREES)
def test_rotations_compose_by_adding_angles(seed, first, second):
    image = _colours(seed).astype(np.float64)
    twice = _unclipped(_unclipped(image, first), second)
    np.testing.assert_allclose(twice, _unclipped(image, first + second), atol=1e-9)
    # The clipped map composes too where nothing clips: near grey.
    muted = _colours(seed, 0.45, 0.55)
    mark = HueRotation().mark
    np.testing.assert_allclose(
        mark(mark(muted, first), second), mark(muted, first + second), atol=1e-5
    )


def test_matrix_takes_many_angles():
    angles = SignatureSpace(36).degrees.reshape(6, 6)
    maps = HueRotation().matrix(angles)
    assert maps.shape == (6, 6, 3, 3)
    np.testing.assert_array_equal(maps[2, 3], HueRotation().matrix(angles[2, 3]))


def test_jit_and_vmap_change_nothing():
    images, angles = _colours(4, shape=(5, 3, 4, 3)), np.linspace(0, 340, 5, dtype="f4")
    one_by_one = [HueRotation().mark(*pair) for pair in zip(images, angles, strict=True)]
    marked = jax.jit(jax.vmap(HueRotation().mark))(images, angles)
    np.testing.assert_allclose(marked, one_by_one, atol=2e-6)
    shared = jax.vmap(HueRotation().mark, in_axes=(0, None))(images, 60.0)
    np.testing.assert_allclose(shared[0], HueRotation().mark(images[0], 60.0), atol=2e-6)


@pytest.mark.parametrize("degrees", [0.0, 10.0, 77.0, 300.0])
def test_gradient_equals_finite_differences(degrees):
    image = _colours(5, 0.4, 0.6)  # nothing clips, so the map is smooth
    weights = _colours(6)

    def fun(degrees, image):
        return (HueRotation().mark(image, degrees) * weights).sum()

    by_angle, by_pixel = jax.jit(jax.grad(fun, argnums=(0, 1)))(degrees, image)
    step = 1e-3
    twin = [(_twin(image, degrees + d) * weights).sum() for d in (step, -step)]
    assert float(by_angle) == pytest.approx((twin[0] - twin[1]) / (2 * step), rel=1e-3)
    expected = weights @ HueRotation().matrix(degrees)
    np.testing.assert_allclose(by_pixel, expected, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_dtype_is_kept_and_half_precision_keeps_the_angle(dtype):
    image = jnp.asarray(_colours(7, 0.3, 0.7), dtype)
    marked = HueRotation().mark(image, 331.0)
    assert marked.dtype == image.dtype
    exact = np.clip(_twin(np.asarray(image, np.float64), 331.0), 0, 1)
    tolerance = 3 * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(np.asarray(marked, np.float64), exact, atol=tolerance)


def test_values_are_clipped():
    image = np.zeros((1, 2, 2, 3), np.uint8)
    image[0, 0, 0] = (255, 0, 0)  # leaves the gamut; the three blacks do not
    marked = HueRotation().mark(image[0] / np.float32(255), 60.0)
    assert marked.min() == 0.0
    assert _twin(image[0] / 255, 60.0).min() < 0


def test_description_is_public_and_marks_compare_by_value():
    assert HueRotation().description == "hue_rotation"
    assert HueRotation() == HueRotation()
    assert hash(HueRotation()) == hash(HueRotation())
