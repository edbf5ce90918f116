"""Small networks from images to images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anw_jax.models import IMAGE_TO_IMAGE, ImageToImage


@pytest.mark.parametrize("name", IMAGE_TO_IMAGE)
def test_shape_and_equivariance_to_translations(name, quick_jit):
    """Far from the borders a shifted input gives the shifted output."""
    model = ImageToImage(name, width=4, depth=1)
    variables = model.init(jax.random.key(0), (16, 24, 3))
    images = jax.random.uniform(jax.random.key(1), (1, 16, 24, 3))
    apply = quick_jit(model.apply)
    outputs = apply(variables, images)
    assert outputs.shape == images.shape
    assert outputs.dtype == jnp.float32
    shifted = apply(variables, np.roll(images, 2, axis=2))
    inner = np.s_[:, 7:-7, 9:-7]
    np.testing.assert_allclose(shifted[inner], np.roll(outputs, 2, axis=2)[inner], atol=1e-5)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("name", IMAGE_TO_IMAGE)
def test_the_head_is_the_layer_that_the_output_depends_on_linearly(name, depth, quick_jit):
    model = ImageToImage(name, width=4, depth=depth)
    variables = model.init(jax.random.key(0), (8, 8, 3))
    images = jax.random.uniform(jax.random.key(1), (2, 8, 8, 3))
    taps = quick_jit(model.taps, static_argnums=2)
    (last,) = taps(variables, images, (model.head,))
    shortcut = 0.0 if name == "plain" else images
    outputs = quick_jit(model.apply)(variables, images)
    np.testing.assert_allclose(last + shortcut, outputs, atol=1e-6)


def test_an_unknown_tap_is_one_clear_error():
    model = ImageToImage(width=4)
    variables = model.init(jax.random.key(0), (8, 8, 3))
    with pytest.raises(ValueError, match="taps must be one of Conv_0"):
        model.taps(variables, jnp.zeros((1, 8, 8, 3)), ("Conv_9",))


def test_networks_with_a_shortcut_start_near_the_identity(quick_jit):
    images = jax.random.uniform(jax.random.key(1), (2, 8, 8, 3))
    for name in ("residual", "unet"):
        model = ImageToImage(name, width=8)
        outputs = quick_jit(model.apply)(model.init(jax.random.key(0), (8, 8, 3)), images)
        assert np.abs(np.asarray(outputs) - images).mean() < 0.1


def test_depth_and_width_change_the_number_of_parameters():
    def count(model):
        tree = jax.eval_shape(lambda: model.init(jax.random.key(0), (8, 8, 3)))
        return sum(leaf.size for leaf in jax.tree.leaves(tree))

    for name in IMAGE_TO_IMAGE:
        small = count(ImageToImage(name, width=4, depth=1))
        assert count(ImageToImage(name, width=4, depth=2)) > small
        assert count(ImageToImage(name, width=5, depth=1)) > small


def test_equal_settings_share_a_traced_model():
    variables = ImageToImage(width=4).init(jax.random.key(0), (8, 8, 3))
    traced = jax.jit(lambda predict_fn, images: predict_fn(images))
    for _ in range(2):
        traced(ImageToImage(width=4).predict_fn(variables), jnp.zeros((1, 8, 8, 3)))
    assert traced._cache_size() == 1


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"name": "gan"}, "name must be one of plain, residual, unet"),
        ({"width": 0}, "width must be at least 1"),
        ({"depth": 0}, "depth must be at least 1"),
    ],
)
def test_bad_fields_are_one_clear_error(fields, text):
    with pytest.raises(ValueError, match=text):
        ImageToImage(**fields)


def test_sides_that_cannot_be_halved_are_refused():
    with pytest.raises(ValueError, match="multiples of 4, got"):
        ImageToImage("unet", depth=2).init(jax.random.key(0), (8, 6, 3))
