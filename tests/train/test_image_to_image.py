"""Training on pairs of images."""

import jax
import numpy as np
import pytest

from anw_jax import train
from anw_jax.models import ImageToImage

MODEL = ImageToImage("plain", width=6, depth=1)


@pytest.fixture(scope="module")
def pairs():
    """Images, and the same with two colours exchanged and darker."""
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 256, (32, 8, 8, 3)).astype(np.uint8)
    return train.Pairs(inputs, np.ascontiguousarray(inputs[..., ::-1] // 2))


@pytest.fixture(scope="module")
def params():
    return MODEL.init(jax.random.key(0), (8, 8, 3))["params"]


@pytest.mark.parametrize("distance", train.DISTANCES)
def test_a_distance_is_zero_for_equal_images_alone(distance):
    distance_fn = train.image_distance(distance)
    images = jax.random.uniform(jax.random.key(0), (2, 8, 8, 3))
    assert float(distance_fn(images, images)) == 0.0
    assert float(distance_fn(images, images + 0.1)) > 1e-3


def test_distances_against_a_naive_twin():
    one, other = np.zeros((1, 2, 2, 3), np.float32), np.full((1, 2, 2, 3), 0.5, np.float32)
    assert float(train.image_distance("l1")(one, other)) == 0.5
    assert float(train.image_distance("l2")(one, other)) == 0.25


@pytest.mark.slow
@pytest.mark.parametrize("distance", train.DISTANCES)
def test_a_network_learns_its_pairs(pairs, params, distance):
    settings = train.PairSettings(150, learning_rate=1e-2, batch_size=16, distance=distance)
    result = train.train_pairs(MODEL, params, pairs, settings, seed=0)
    outputs = train.restore(MODEL, result.state.variables, pairs.inputs, batch_size=20)
    before = train.restore(MODEL, {"params": params}, pairs.inputs)
    error, first = (np.abs(x / 255 - pairs.outputs / 255).mean() for x in (outputs, before))
    assert error < 0.1 < first


def test_flips_mirror_both_images_of_a_pair(params):
    """A pair that is its own mirror image gives the same training with flips and without."""
    half = np.random.default_rng(1).integers(0, 256, (8, 8, 4, 3)).astype(np.uint8)
    whole = np.concatenate([half, half[:, :, ::-1]], axis=2)
    lopsided = whole.copy()
    lopsided[:, :, :4] //= 2

    def trained(pairs, flips):
        settings = train.PairSettings(1, batch_size=4, flips=flips)
        result = train.train_pairs(MODEL, params, pairs, settings, seed=3)
        return jax.device_get(result.state.params)

    same = train.Pairs(whole, whole)
    jax.tree.map(np.testing.assert_array_equal, trained(same, True), trained(same, False))
    other = train.Pairs(whole, lopsided)
    differs = jax.tree.map(
        lambda a, b: not np.array_equal(a, b), trained(other, True), trained(other, False)
    )
    assert any(jax.tree.leaves(differs))


@pytest.mark.slow
def test_a_network_learns_its_pairs_against_a_discriminator(pairs, params):
    settings = train.PairSettings(150, learning_rate=1e-2, batch_size=16, adversarial=1e-3)
    result = train.train_pairs(MODEL, params, pairs, settings, seed=0)
    assert jax.tree.structure(result.state.params) == jax.tree.structure(params)
    outputs = train.restore(MODEL, result.state.variables, pairs.inputs)
    assert np.abs(outputs / 255 - pairs.outputs / 255).mean() < 0.1
    assert {"discriminator/loss", "network/loss"} <= set(result.reports[-1].metrics)


def test_outputs_are_clipped_and_rounded():
    class Loud:
        def predict_fn(self, variables):
            return jax.tree_util.Partial(lambda images: 3.0 * images - 1.0)

    images = np.array([0, 85, 128, 255], np.uint8).repeat(3).reshape(1, 2, 2, 3)
    out = train.restore(Loud(), {}, images)
    assert out[0, :, :, 0].ravel().tolist() == [0, 0, 129, 255]
    assert train.restore(Loud(), {}, images[:0]).shape == (0, 2, 2, 3)


def test_bad_arguments_are_one_clear_error(pairs, params):
    with pytest.raises(ValueError, match="distance must be one of l1, l2, perceptual"):
        train.PairSettings(1, distance="l3")
    with pytest.raises(ValueError, match="num_epochs must be at least 1"):
        train.PairSettings(0)
    with pytest.raises(ValueError, match="adversarial must lie in"):
        train.PairSettings(1, adversarial=-1.0)
    wrong = train.Pairs(pairs.inputs, pairs.outputs[:, :4])
    with pytest.raises(ValueError, match="inputs and outputs must have one shape"):
        train.train_pairs(MODEL, params, wrong, train.PairSettings(1), seed=0)
