import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax import models
from anw_jax.attacks import TrainedModel
from anw_jax.attacks.model import Prune, prune_kernels

FRACTIONS = (0.1, 0.5, 0.9)


@pytest.fixture(scope="module")
def suspect():
    model = models.create("testing", 4)
    variables = model.init(jax.random.key(3), (8, 8, 3))
    return TrainedModel.of(model, variables)


def _leaves(params):
    return [
        (path[-1].key, np.asarray(leaf))
        for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]
    ]


def _twin(kernels, num_pruned):
    """Sorts all (magnitude, position) pairs one by one and zeroes the first."""
    pairs = [
        (abs(float(weight)), number, position)
        for number, kernel in enumerate(kernels)
        for position, weight in enumerate(kernel.ravel())
    ]
    pruned = [kernel.copy() for kernel in kernels]
    for _, number, position in sorted(pairs)[:num_pruned]:
        pruned[number].ravel()[position] = 0.0
    return pruned


@pytest.mark.parametrize("fraction", FRACTIONS)
def test_exact_share_and_threshold(suspect, fraction):
    pruned = Prune(fraction).change(suspect, material=None)
    before = [k for name, k in _leaves(suspect.variables["params"]) if name == "kernel"]
    after = [k for name, k in _leaves(pruned.variables["params"]) if name == "kernel"]
    num_weights = sum(kernel.size for kernel in before)
    num_zero = sum(int((kernel == 0).sum()) for kernel in after)
    assert num_zero == pruned.details["num_pruned"] == round(fraction * num_weights)
    assert pruned.details["num_weights"] == num_weights
    for mine, twin in zip(after, _twin(before, num_zero), strict=True):
        np.testing.assert_array_equal(mine, twin)
    zeroed = np.concatenate([b[a == 0] for a, b in zip(after, before, strict=True)])
    kept = np.concatenate([b[a != 0] for a, b in zip(after, before, strict=True)])
    assert np.abs(zeroed).max() == pruned.details["threshold"] < np.abs(kept).min()


def test_layers_compete(suspect):
    """One share for each layer would be another attack."""
    pruned = Prune(0.5).change(suspect, material=None)
    shares = [(k == 0).mean() for n, k in _leaves(pruned.variables["params"]) if n == "kernel"]
    assert np.ptp(shares) > 0.1


def test_all_else_stays(suspect):
    pruned = Prune(0.9).change(suspect, material=None)
    before, after = _leaves(suspect.variables), _leaves(pruned.variables)
    others = [name for name, _ in before if name != "kernel"]
    assert {"bias", "scale", "mean", "var"} <= set(others)
    for (name, old), (same_name, new) in zip(before, after, strict=True):
        assert name == same_name
        assert old.dtype == new.dtype
        if name != "kernel":
            np.testing.assert_array_equal(old, new)


@pytest.mark.slow
def test_answers_are_those_of_the_pruned_weights(suspect):
    pruned = Prune(0.5).change(suspect, material=None)
    images = jnp.linspace(0.0, 1.0, 2 * 8 * 8 * 3).reshape(2, 8, 8, 3)
    np.testing.assert_array_equal(
        pruned.predict(images), suspect.model.apply(pruned.variables, images)
    )
    assert np.abs(pruned.predict(images) - suspect.predict(images)).max() > 1e-3
    assert jax.tree.structure(pruned.predict) == jax.tree.structure(suspect.predict)


@pytest.mark.parametrize(
    ("weights", "fraction", "expected"),
    [
        ([1.0, -1.0, 1.0, -1.0], 0.5, [0.0, 0.0, 1.0, -1.0]),  # ties by order
        ([3.0, 1.0, -1.0, 2.0], 0.25, [3.0, 0.0, -1.0, 2.0]),
        ([3.0, 1.0, -1.0, 2.0], 0.12, [3.0, 1.0, -1.0, 2.0]),  # rounds to none
        ([3.0, 1.0, -1.0, 2.0], 0.125, [3.0, 0.0, -1.0, 2.0]),  # a half is rounded up
        ([0.0, 5.0, 0.0, 2.0], 0.5, [0.0, 5.0, 0.0, 2.0]),  # zeros count
        ([1.0, 2.0, 3.0, 4.0], 0.9, [0.0, 0.0, 0.0, 0.0]),
    ],
)
def test_edges(weights, fraction, expected):
    params = {"Dense_0": {"kernel": np.array(weights, np.float32).reshape(2, 2)}}
    pruned, _ = prune_kernels(params, fraction)
    assert np.asarray(pruned["Dense_0"]["kernel"]).ravel().tolist() == expected


def test_nothing_to_prune():
    params = {"BatchNorm_0": {"scale": np.ones(3, np.float32)}}
    pruned, details = prune_kernels(params, 0.5)
    assert details == {"num_weights": 0, "num_pruned": 0, "threshold": 0.0}
    np.testing.assert_array_equal(pruned["BatchNorm_0"]["scale"], 1.0)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    st.lists(st.integers(-3, 3), min_size=1, max_size=12),
    st.lists(st.integers(-3, 3), min_size=1, max_size=12),
    st.floats(0.01, 0.99),
)
def test_twin_with_many_ties(first, second, fraction):
    kernels = [np.array(first, np.float32), np.array(second, np.float32)]
    params = {"a": {"kernel": kernels[0]}, "b": {"bias": kernels[0], "kernel": kernels[1]}}
    pruned, details = prune_kernels(params, fraction)
    twins = _twin(kernels, int(fraction * (len(first) + len(second)) + 0.5))
    np.testing.assert_array_equal(pruned["a"]["kernel"], twins[0])
    np.testing.assert_array_equal(pruned["b"]["kernel"], twins[1])
    np.testing.assert_array_equal(pruned["b"]["bias"], kernels[0])
    assert details["num_weights"] == len(first) + len(second)
