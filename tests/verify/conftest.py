import jax
import jax.numpy as jnp
import numpy as np
import pytest


def _hidden(images, weights, xp):
    return xp.tanh(images.reshape(images.shape[0], -1) @ weights["first"]) @ weights["second"]


@pytest.fixture
def weights(rng):
    """Weights of a tiny two-layer model of 8x8 pictures and 4 classes."""
    first = rng.normal(size=(8 * 8 * 3, 10)).astype(np.float32) / 8
    return {"first": first, "second": rng.normal(size=(10, 4)).astype(np.float32)}


@pytest.fixture
def traced(weights):
    """That model as JAX sees it, with a count of its traces."""
    traces = []

    def apply(weights, images):
        traces.append(images.shape)
        return _hidden(images, weights, jnp)

    predict = jax.tree_util.Partial(apply, weights)
    return predict, traces


@pytest.fixture
def called(weights):
    """The same model as a function of NumPy arrays, with the sizes it was called with."""
    sizes = []

    def predict(images):
        assert isinstance(images, np.ndarray)
        assert images.dtype == np.float32
        sizes.append(len(images))
        return _hidden(images, weights, np)

    return predict, sizes


@pytest.fixture
def labels():
    """A class for each of the six small images."""
    return np.array([0, 3, 1, 2, 2, 0])
