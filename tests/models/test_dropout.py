"""Dropout: its place in a network, and when it needs a key."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anw_jax import models

NAMES = ["alexnet_testing", "vgg_testing", "wide_resnet_testing", "densenet_testing"]


def _model(name):
    return models.create(name, 4, dropout=0.5)


@pytest.fixture
def images(rng):
    return rng.random((3, 16, 16, 3), dtype=np.float32)


@pytest.mark.parametrize("name", NAMES)
def test_a_key_decides_what_is_dropped(draw, quick_jit, name, images):
    model = _model(name)
    variables = draw(model, 16)

    @quick_jit
    def apply(key):
        return model.apply(variables, images, train=True, key=key)[0]

    first, again, other = (apply(jax.random.key(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


@pytest.mark.parametrize("name", NAMES)
def test_train_mode_without_a_key_is_refused(draw, name, images):
    model = _model(name)
    variables = draw(model, 16)
    message = f"key must be given in train mode: '{name}' drops units with probability 0.5"
    with pytest.raises(ValueError, match=message):
        model.apply(variables, images, train=True)


def test_evaluation_drops_nothing(draw, quick_jit, images):
    model, plain = _model("vgg_testing"), models.create("vgg_testing", 4)
    variables = draw(plain, 16)
    expected = quick_jit(plain.apply)(variables, images)
    np.testing.assert_array_equal(quick_jit(model.apply)(variables, images), expected)


def test_a_key_without_dropout_has_no_effect(draw, quick_jit, images):
    model = models.create("testing", 4)
    apply = quick_jit(functools.partial(model.apply, train=True))
    with_key, _ = apply(draw(model, 16), images, key=jax.random.key(1))
    without_key, _ = apply(draw(model, 16), images)
    np.testing.assert_array_equal(with_key, without_key)


def test_half_of_the_features_reach_the_logits_doubled(draw, quick_jit):
    # VGG on small images drops inputs of its only dense layer: with an identity for its
    # kernel, each logit is 0 or twice the feature.
    model = models.create("vgg_testing", 8, dropout=0.5, norm="group")
    variables = draw(model, 16)
    dense = {"kernel": jnp.eye(8), "bias": jnp.zeros(8)}
    variables = {**variables, "params": {**variables["params"], model.head: dense}}
    images = np.random.default_rng(0).random((64, 16, 16, 3), dtype=np.float32)
    features = np.asarray(quick_jit(model.features)(variables, images))
    apply = quick_jit(functools.partial(model.apply, train=True))
    logits, _ = apply(variables, images, key=jax.random.key(3))
    is_positive = features > 1e-3
    ratios = np.asarray(logits)[is_positive] / features[is_positive]
    assert len(ratios) > 100
    is_kept = ratios > 1.0
    np.testing.assert_allclose(ratios, np.where(is_kept, 2.0, 0.0), rtol=1e-4, atol=1e-4)
    assert abs(is_kept.mean() - 0.5) < 4 * 0.5 / np.sqrt(len(ratios))


@pytest.mark.parametrize(
    ("name", "stem", "published"),
    [
        ("alexnet", "imagenet", 0.5),
        ("vgg16", "imagenet", 0.5),
        ("vgg16", "cifar", 0.0),
        ("alexnet", "tiny", 0.0),
        ("wide_resnet28_10", "cifar", 0.0),
        ("densenet121", "imagenet", 0.0),
        ("resnet50", "imagenet", 0.0),
        ("wide_resnet50_2", "imagenet", 0.0),
    ],
)
def test_published_rates(name, stem, published):
    assert models.create(name, 10, stem=stem).dropout == published


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"name": "resnet18", "dropout": 0.1},
            "dropout must be left out for 'resnet18': it has no dropout layers",
        ),
        ({"dropout": 1.5}, r"dropout must lie in \[0.0, 1.0\], got 1.5"),
        ({"dropout": 1.0}, "dropout must be below 1: nothing would be left"),
        ({"norm": "layer"}, "norm must be one of batch, group; got 'layer'"),
        (
            {"name": "alexnet", "norm": "group"},
            "norm must be left out for 'alexnet': it has no normalisation layers",
        ),
        (
            {"name": "densenet121", "widths": (8, 8)},
            "widths must be left out for 'densenet121': its channels follow from its growth",
        ),
        (
            {"name": "alexnet", "widths": (8, 8)},
            r"widths of 'alexnet' must hold 5 numbers, got \(8, 8\)",
        ),
    ],
)
def test_options_without_meaning_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.create(**{"name": "vgg16", "num_classes": 4} | arguments)


def test_every_network_accepts_no_dropout():
    assert all(models.create(name, 4, dropout=0.0).dropout == 0.0 for name in models.NAMES)
