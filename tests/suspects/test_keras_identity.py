"""What a Keras model's identity tells apart, and what it does not."""

import os

import numpy as np
import pytest

from anw_jax.suspects import Declaration, KerasSuspect

# Keras's own NumPy backend lags behind NumPy 2.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)


@pytest.fixture
def keras():
    os.environ.setdefault("KERAS_BACKEND", "numpy")
    return pytest.importorskip("keras", reason="keras is an optional library")


def identity(model) -> str:
    """With weights that depend on their places alone."""
    model.set_weights(
        [np.full(w.shape, 0.1 * i, "float32") for i, w in enumerate(model.weights)]
    )
    return KerasSuspect(model, Declaration(2)).declaration.identity


def chain(keras, activation="relu", **names):
    layers = [
        keras.Input((4, 4, 3)),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(2),
        keras.layers.Activation(activation, **names),
    ]
    return keras.Sequential(layers)


def fork(keras, swapped=False):
    """Two dense layers in a row, and their difference; the other way round if swapped."""
    pictures = keras.Input((4, 4, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(pictures)
    first = keras.layers.Dense(2)(pooled)
    arms = [first, keras.layers.Dense(2)(first)]
    return keras.Model(pictures, keras.layers.Subtract()(arms[::-1] if swapped else arms))


@pytest.mark.parametrize("make", [chain, fork])
def test_the_same_network_built_twice_is_the_same_suspect(keras, make):
    assert identity(make(keras)) == identity(make(keras))


def test_a_layers_own_name_changes_nothing(keras):
    assert identity(chain(keras)) == identity(chain(keras, name="last"))


def test_what_a_layer_computes_is_told_apart_whatever_it_is_called(keras):
    relu = identity(chain(keras, "relu", name="relu"))
    tanh = identity(chain(keras, "tanh", name="tanh"))
    assert relu != tanh
    assert relu == identity(chain(keras, "relu", name="tanh"))


def test_other_wiring_is_another_suspect(keras):
    assert identity(fork(keras)) != identity(fork(keras, swapped=True))


def test_another_dtype_policy_is_another_suspect(keras):
    assert identity(chain(keras)) != identity(chain(keras, dtype="float64"))


def test_a_network_inside_a_network_is_followed(keras):
    def nested(activation):
        pictures = keras.Input((4, 4, 3))
        return keras.Model(pictures, chain(keras, activation)(pictures))

    assert identity(nested("relu")) == identity(nested("relu"))
    assert identity(nested("relu")) != identity(nested("tanh"))
