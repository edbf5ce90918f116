"""Variables without compiling an `init`, programs that compile fast, weights as Keras has."""

import functools

import jax
import numpy as np
import pytest

from tests import quick
from tests.models import keras_twin


@pytest.fixture(scope="session")
def quick_jit():
    """`jax.jit` that does not optimise."""
    return functools.partial(jax.jit, compiler_options=quick.compiler_options())


@pytest.fixture(scope="session")
def draw():
    """`(model, side)` to variables in which no scale is 1 and no bias or average 0."""

    @functools.cache
    def draw(model, side):
        shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), (side, side, 3)))
        return jax.tree.map(functools.partial(_draw_leaf, np.random.default_rng(1)), shapes)

    return draw


def _draw_leaf(rng, leaf):
    if len(leaf.shape) == 1:
        return rng.uniform(0.1, 1.2, leaf.shape).astype("f4")
    fan_in = np.prod(leaf.shape[:-1])
    return (rng.standard_normal(leaf.shape) * np.sqrt(2 / fan_in)).astype("f4")


@pytest.fixture(scope="module")
def layers():
    return list(keras_twin.layers())


@pytest.fixture
def arrays(layers):
    return keras_twin.draw_weights(layers, np.random.default_rng(3))


@pytest.fixture
def package(tmp_path, layers, arrays):
    folder = tmp_path / "package" / "ResNet"
    keras_twin.write_package(folder, layers, arrays)
    return folder
