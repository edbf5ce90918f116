"""Hidden layers in other coordinates: the same answers, other hidden values."""

import functools

import jax
import numpy as np
import pytest

from anw_jax import attacks, models, train
from anw_jax.attacks.hidden import KINDS

LAYERS = ("BasicBlock_0", "BasicBlock_1")


@functools.cache
def trained() -> attacks.TrainedModel:
    model = models.create("testing", 4)
    return attacks.TrainedModel.of(model, model.init(jax.random.key(0), (8, 8, 3)))


@functools.cache
def plain_taps() -> list[np.ndarray]:
    return [np.asarray(layer) for layer in attacks.taps_of(trained(), LAYERS)(images())]


@functools.cache
def images() -> np.ndarray:
    return np.random.default_rng(2).random((4, 8, 8, 3)).astype(np.float32)


def material(seed: int = 0) -> attacks.Material:
    nothing = np.zeros((0, 8, 8, 3), np.uint8), np.zeros(0, np.int32)
    return attacks.Material(train.TrainSettings(), *nothing, *nothing, seed=seed)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_stay_and_hidden_values_change(kind):
    changed = attacks.Rebase(kind, LAYERS).change(trained(), material())
    assert changed.predict is trained().predict
    seen = attacks.taps_of(changed, LAYERS)(images())
    for layer, plain, name in zip(seen, plain_taps(), LAYERS, strict=True):
        matrix = changed.layer_maps[name]
        assert layer.shape[-1] == matrix.shape[1]
        assert np.linalg.matrix_rank(matrix) == plain.shape[-1]
        np.testing.assert_allclose(layer, plain @ matrix, rtol=1e-4, atol=1e-5)
        assert layer.shape != plain.shape or not np.allclose(layer, plain, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_next_layer_undoes_it(kind):
    """Folded into the last dense layer: the logits are those of the network."""
    changed = attacks.Rebase(kind, LAYERS[1:]).change(trained(), material())
    matrix = changed.layer_maps[LAYERS[1]]
    dense = jax.device_get(trained().variables["params"]["Dense_0"])
    hidden = attacks.taps_of(changed, LAYERS[1:])(images())[0]
    logits = hidden.mean(axis=(1, 2)) @ attacks.folded(dense["kernel"], matrix) + dense["bias"]
    np.testing.assert_allclose(logits, trained().predict(images()), rtol=1e-3, atol=1e-4)


def test_maps_follow_one_another():
    first = attacks.Rebase("permute", LAYERS).change(trained(), material())
    both = attacks.Rebase("dummy", LAYERS, more=1.0).change(first, material())
    assert both.layer_maps["BasicBlock_1"].shape == (16, 32)
    assert both.details == {"rebased": list(LAYERS)}
    assert first.layer_maps["BasicBlock_1"].shape == (16, 16)


def test_all_convolutional_layers_by_default():
    changed = attacks.Rebase().change(trained(), material())
    assert sorted(changed.layer_maps) == ["BasicBlock_0", "BasicBlock_1", "Conv_0"]


def test_maps_are_a_function_of_the_seed():
    first, again, other = (
        attacks.Rebase("mix", LAYERS).change(trained(), material(seed)).layer_maps[LAYERS[0]]
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: attacks.Rebase("rotate"), "kind must be one of permute, scale, mix, dummy"),
        (lambda: attacks.Rebase("dummy", more=0.0), "more must be above 0"),
        (lambda: attacks.Overwrite(LAYERS, times=0), "times must be at least 1"),
        (lambda: attacks.Overwrite(LAYERS, num_steps=0), "num_steps must be at least 1"),
        (
            lambda: attacks.Rebase("mix", ("Block_9",)).change(trained(), material()),
            "layers must be one of",
        ),
    ],
)
def test_bad_input_is_one_clear_error(make, text):
    with pytest.raises(ValueError, match=text):
        make()
