import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anw_jax.partition import Defence, distance_correlation, epsilon_of_message, released


def naive_distance_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """With loops, after the definition."""
    centred = []
    for sample in (x, y):
        n = len(sample)
        d = np.array([[np.linalg.norm(a - b) for b in sample] for a in sample])
        centred.append(
            np.array(
                [
                    [d[i, j] - d[i].mean() - d[:, j].mean() + d.mean() for j in range(n)]
                    for i in range(n)
                ]
            )
        )
    a, b = centred
    return math.sqrt((a * b).mean() / math.sqrt((a * a).mean() * (b * b).mean()))


def test_distance_correlation_has_a_naive_twin(rng):
    x = rng.normal(size=(9, 2, 3)).astype(np.float32)
    y = (x[:, :, :2] ** 2 + 0.1 * rng.normal(size=(9, 2, 2))).astype(np.float32)
    expected = naive_distance_correlation(x.reshape(9, -1), y.reshape(9, -1))
    found = float(jax.jit(distance_correlation)(x, y))
    assert found == pytest.approx(expected, abs=1e-4)


def test_a_constant_sample_has_no_distance_correlation_and_a_finite_gradient(rng):
    x = jnp.asarray(rng.normal(size=(6, 3)), jnp.float32)
    constant = jnp.ones((6, 2), jnp.float32)
    found, gradient = jax.jit(jax.value_and_grad(lambda y: distance_correlation(x, y)))(
        constant
    )
    assert float(found) < 0.01
    assert np.isfinite(gradient).all()


def test_activations_are_clipped_and_noised(rng):
    release = jax.jit(released, static_argnums=1)
    activations = rng.normal(size=(500, 4, 4, 2)).astype(np.float32)
    clipped = release(activations, Defence(clip_norm=2.0), jax.random.key(0))
    norms = np.linalg.norm(np.asarray(clipped).reshape(500, -1), axis=1)
    assert norms.max() <= 2.0 + 1e-5
    short = release(activations * np.float32(0.01), Defence(clip_norm=2.0), jax.random.key(0))
    np.testing.assert_allclose(short, activations * np.float32(0.01), rtol=1e-6)
    noised = release(activations, Defence(clip_norm=2.0, noise=0.5), jax.random.key(0))
    assert (np.asarray(noised) - np.asarray(clipped)).std() == pytest.approx(1.0, abs=0.02)
    np.testing.assert_array_equal(
        release(activations, Defence(), jax.random.key(0)), activations
    )


def test_epsilon_has_a_known_value_and_grows_with_messages():
    """Dwork and Roth's bound, noise 2 sqrt(2 ln(1.25 / delta)) / epsilon, is never below."""
    defence = Defence(clip_norm=1.0, noise=2.0 * math.sqrt(2.0 * math.log(1.25e5)))
    one = epsilon_of_message(defence)
    assert 0.5 < one <= 1.0
    assert one < epsilon_of_message(defence, 4) < 3.0 * one
    assert epsilon_of_message(Defence(clip_norm=1.0)) == math.inf


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise": 1.0}, "clip_norm must be above 0 where noise is added"),
        ({"clip_norm": -1.0}, "clip_norm must lie in"),
        ({"adversary": float("nan")}, "adversary must be finite"),
    ],
)
def test_bad_defences(changes, message):
    with pytest.raises(ValueError, match=message):
        Defence(**changes)
