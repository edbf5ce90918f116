"""Outputs of inner layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anw_jax import models

MODEL = models.create("testing", 4)


@pytest.fixture(scope="module")
def variables():
    return MODEL.init(jax.random.key(0), (8, 8, 3))


def test_the_last_block_gives_the_features(variables, quick_jit):
    images = jax.random.uniform(jax.random.key(1), (3, 8, 8, 3))
    taps = quick_jit(MODEL.taps, static_argnums=2)
    first, last = taps(variables, images, ("BasicBlock_0", "BasicBlock_1"))
    assert (first.shape, last.shape) == ((3, 4, 4, 8), (3, 2, 2, 16))
    features = quick_jit(MODEL.features)(variables, images)
    np.testing.assert_allclose(np.asarray(last).mean(axis=(1, 2)), features, rtol=1e-6)


def test_taps_that_do_not_exist_are_named(variables):
    with pytest.raises(ValueError, match=r"taps must be one of BasicBlock_0.*'BasicBlock_2'"):
        MODEL.taps(variables, jnp.zeros((1, 8, 8, 3)), ("BasicBlock_2",))
