"""The convolution with its own gradients, against JAX's."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized
from jax import lax

from anw_jax.models import layers

NHWC = ("NHWC", "HWIO", "NHWC")


def _arrays(rng, size, kernel, dtype=np.float32, groups=1):
    images = rng.standard_normal((4, size, size + 1, 6), dtype=np.float32)
    weights = rng.standard_normal((kernel, kernel, 6 // groups, 8), dtype=np.float32)
    return jnp.asarray(images, dtype), jnp.asarray(weights, dtype)


def _gradients(convolve, arrays, *options, **more):
    def loss(images, kernel):
        return jnp.sin(convolve(images, kernel, *options, **more)).astype(jnp.float32).sum()

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(*arrays)


def _of_jax(images, kernel, strides, padding, **options):
    return lax.conv_general_dilated(
        images, kernel, strides, padding, dimension_numbers=NHWC, **options
    )


# Those of the networks, then images that strides do not divide, and uneven padding.
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "dtype"),
    [
        (32, 3, 1, (1, 1), "float32"),
        (16, 3, 2, (1, 1), "float32"),
        (8, 1, 1, (0, 0), "float32"),
        (8, 1, 2, (0, 0), "float32"),
        (24, 5, 1, (2, 2), "float32"),
        (36, 7, 2, (3, 3), "float32"),
        (16, 3, 2, (1, 1), "bfloat16"),
        (17, 3, 2, (1, 1), "float32"),
        (11, 3, 3, (0, 2), "float32"),
        (9, 2, 1, (3, 0), "float32"),
    ],
)
def test_gradients_are_those_of_jax_bit_for_bit(rng, size, kernel, stride, padding, dtype):
    arrays = _arrays(rng, size, kernel, dtype)
    options = (stride, stride), (padding, padding)
    chex.assert_trees_all_equal(
        _gradients(layers.convolve, arrays, *options), _gradients(_of_jax, arrays, *options)
    )


@pytest.mark.parametrize(
    ("padding", "options"),
    [
        ("SAME", {}),
        (((1, 1), (1, 1)), {"feature_group_count": 2}),
        (((1, 1), (1, 1)), {"rhs_dilation": (2, 2)}),
        (((1, 1), (1, 1)), {"lhs_dilation": (2, 1)}),
    ],
)
def test_other_convolutions_are_left_to_jax(rng, padding, options):
    arrays = _arrays(rng, 9, 3, groups=options.get("feature_group_count", 1))
    convolve = layers.convolve
    chex.assert_trees_all_equal(
        _gradients(convolve, arrays, (1, 1), padding, **options),
        _gradients(_of_jax, arrays, (1, 1), padding, **options),
    )
    assert "custom_vjp" not in str(
        jax.make_jaxpr(lambda x, w: convolve(x, w, (1, 1), padding, **options))(*arrays)
    )


def test_the_gradient_of_a_gradient_is_that_of_jax(rng):
    images, kernel = _arrays(rng, 6, 3)
    options = (2, 2), ((1, 1), (1, 1))

    def slope_norm(convolve):
        def loss(x):
            return jnp.sin(convolve(x, kernel, *options)).sum()

        return jax.grad(lambda x: (jax.grad(loss)(x) ** 2).sum())(images)

    got, wanted = slope_norm(layers.convolve), slope_norm(_of_jax)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


class Transformed(chex.TestCase):
    """The same gradients under every transformation that training uses."""

    @chex.variants(with_jit=True, without_jit=True)
    @parameterized.parameters("scan", "map", "vmap")
    def test_one_example_at_a_time(self, kind):
        images, kernel = _arrays(np.random.default_rng(3), 8, 3)

        def slope(x):
            def loss(w):
                return jnp.sin(layers.convolve(x[None], w, (2, 2), ((1, 1), (1, 1)))).sum()

            return jax.grad(loss)(kernel)

        def each(x):
            if kind == "vmap":
                return jax.vmap(slope)(x)
            if kind == "map":
                return lax.map(slope, x)
            return lax.scan(lambda carry, one: (carry, slope(one)), None, x)[1]

        got = self.variant(each)(images)
        wanted = jnp.stack([slope(x) for x in images])
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
