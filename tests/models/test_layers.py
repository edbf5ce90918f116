"""Layers against loops in NumPy."""

import math

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax.models import design, layers


def _naive_grid_mean(x, side):
    batch, height, width, channels = x.shape
    out = np.zeros((batch, side, side, channels))
    for i in range(side):
        for j in range(side):
            rows = range(math.floor(i * height / side), math.ceil((i + 1) * height / side))
            columns = range(math.floor(j * width / side), math.ceil((j + 1) * width / side))
            pixels = [x[:, row, column] for row in rows for column in columns]
            out[:, i, j] = np.mean(pixels, axis=0)
    return out


@pytest.mark.parametrize(
    ("height", "width", "side"),
    [(1, 1, 1), (2, 2, 1), (6, 6, 6), (7, 7, 6), (1, 1, 6), (2, 3, 2), (13, 4, 6), (8, 8, 2)],
)
def test_grid_mean_agrees_with_loops(rng, height, width, side):
    x = rng.standard_normal((2, height, width, 3), dtype=np.float32)
    got = layers.grid_mean(jnp.asarray(x), side)
    np.testing.assert_allclose(got, _naive_grid_mean(x, side), rtol=1e-5, atol=1e-6)


class TestPoolsAsPureFunctions(chex.TestCase):
    """Pools give the same numbers inside and outside jit."""

    @chex.variants(with_jit=True, without_jit=True)
    def test_pools(self):
        x = np.random.default_rng(0).standard_normal((2, 5, 7, 3), dtype=np.float32)
        grid = self.variant(layers.grid_mean, static_argnums=1)(x, 2)
        np.testing.assert_allclose(grid, _naive_grid_mean(x, 2), rtol=1e-5, atol=1e-6)
        even = x[:, :4, :6].reshape(2, 2, 2, 3, 2, 3)
        half = self.variant(layers.half_mean)(x)
        np.testing.assert_allclose(half, even.mean((2, 4)), atol=1e-6)
        highest = self.variant(layers.half_max_pool)(x)
        np.testing.assert_array_equal(highest[:, :2, :3], even.max((2, 4)))


def test_no_pixel_has_no_mean():
    message = "images are too small for this network: its pools leave no pixel"
    with pytest.raises(ValueError, match=message):
        layers.grid_mean(jnp.zeros((1, 0, 3, 4)), 2)
    with pytest.raises(ValueError, match=message):
        layers.half_mean(jnp.zeros((1, 4, 1, 4)))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 2), (3, 4), (5, 7), (8, 2)])
def test_half_max_pool_agrees_with_loops(rng, height, width):
    x = rng.standard_normal((2, height, width, 3), dtype=np.float32) - 5.0
    got = layers.half_max_pool(jnp.asarray(x))
    assert got.shape == (2, math.ceil(height / 2), math.ceil(width / 2), 3)
    for i in range(got.shape[1]):
        for j in range(got.shape[2]):
            cell = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
            np.testing.assert_array_equal(got[:, i, j], cell.max(axis=(1, 2)))


@pytest.mark.parametrize(("height", "width"), [(2, 2), (3, 4), (5, 7), (8, 2)])
def test_half_mean_agrees_with_loops(rng, height, width):
    x = rng.standard_normal((2, height, width, 3), dtype=np.float32)
    got = layers.half_mean(jnp.asarray(x))
    assert got.shape == (2, height // 2, width // 2, 3)
    for i in range(got.shape[1]):
        for j in range(got.shape[2]):
            cell = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
            np.testing.assert_allclose(got[:, i, j], cell.mean(axis=(1, 2)), atol=1e-6)


def test_half_max_pool_sends_each_gradient_to_its_maximum(rng):
    x = jnp.asarray(rng.permutation(16).reshape(1, 4, 4, 1), jnp.float32)
    gradient = jax.grad(lambda x: (layers.half_max_pool(x) ** 2).sum())(x)
    is_max = np.isin(np.asarray(x), np.asarray(layers.half_max_pool(x)))
    np.testing.assert_allclose(gradient, np.where(is_max, 2 * np.asarray(x), 0.0))


@settings(derandomize=True, deadline=None, max_examples=60)
@given(num_channels=st.integers(1, 3000))
def test_groups_are_the_most_that_divide_and_leave_two_channels(num_channels):
    groups = layers.num_groups(num_channels)
    assert 1 <= groups <= 32
    assert num_channels % groups == 0
    assert groups == 1 or num_channels // groups >= 2
    for more in range(groups + 1, 33):
        assert num_channels % more != 0 or num_channels // more < 2


def test_group_norm_agrees_with_numpy(rng):
    x = rng.standard_normal((2, 3, 3, 8), dtype=np.float32) * 3.0 + 1.0

    class Norm(nn.Module):
        @nn.compact
        def __call__(self, x):
            return layers.norm(x, False, "group")

    scale, bias = (rng.standard_normal(8).astype(np.float32) for _ in range(2))
    params = {"GroupNorm_0": {"scale": scale, "bias": bias}}
    got = Norm().apply({"params": params}, jnp.asarray(x))
    expected = np.zeros_like(x)
    for image in range(2):
        for group in range(4):  # 8 channels: 4 groups of 2
            part = x[image, :, :, 2 * group : 2 * group + 2]
            normalised = (part - part.mean()) / np.sqrt(part.var() + 1e-5)
            expected[image, :, :, 2 * group : 2 * group + 2] = normalised
    np.testing.assert_allclose(got, expected * scale + bias, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("cifar_stride", [1, 2])
def test_tiny_stem_halves_once_more(cifar_stride):
    def factor(stem):
        _, stride, pool = design.residual_stem(stem, cifar_stride)
        return stride * (2 if pool else 1)

    assert factor("tiny") == 2 * factor("cifar") == 2 * cifar_stride
    assert factor("imagenet") == 4
