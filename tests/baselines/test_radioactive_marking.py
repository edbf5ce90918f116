import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from anw_jax.baselines.radioactive import draw_carriers, white_box_test
from anw_jax.baselines.radioactive_networks import (
    RadioactiveSettings,
    features_of,
    mark_images,
)

PLAIN = RadioactiveSettings(num_steps=30, crop_padding=0, flip=False)


@pytest.fixture(scope="module")
def network():
    """A small network with a bend, as a function of its weights."""
    rng = np.random.default_rng(3)
    first = jnp.asarray(rng.normal(size=(192, 24)) / 14, jnp.float32)
    second = jnp.asarray(rng.normal(size=(24, 16)) / 5, jnp.float32)

    def features(weights, images):
        flat = images.reshape(images.shape[0], -1) - jnp.float32(0.5)
        return jnp.tanh(flat @ weights[0]) @ weights[1]

    return jax.tree_util.Partial(features, (first, second))


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(4)
    images = rng.integers(0, 256, (10, 8, 8, 3), dtype=np.uint8)
    images[0], images[1] = 0, 255  # where there is room on one side only
    return images, np.arange(10) % 4


@pytest.fixture(scope="module")
def carriers():
    return draw_carriers(2, 4, 16)


def _along(network, images, marked, labels, carriers):
    """How far each photo moved along its carrier, and along the others at most on average."""
    moved = features_of(network, marked) - features_of(network, images)
    return (moved * carriers[labels]).sum(axis=1), np.linalg.norm(moved, axis=1)


def test_features_move_along_the_carriers_within_the_radius(network, photos, carriers):
    images, labels = photos
    marked = mark_images(jax.random.key(0), network, images, labels, carriers, PLAIN)
    assert marked.dtype == np.uint8
    assert 1 <= np.abs(marked.astype(int) - images.astype(int)).max() <= 10
    along, _ = _along(network, images, marked, labels, carriers)
    assert (along > 0.05).all()
    # As far as noise of that size would be nothing like it.
    noise = np.random.default_rng(0).choice([-10, 10], images.shape)
    noisy = np.clip(images.astype(int) + noise, 0, 255).astype(np.uint8)
    assert along.mean() > 5 * np.abs(_along(network, images, noisy, labels, carriers)[0]).mean()
    # Along another class's carrier they move much less.
    others, _ = _along(network, images, marked, (labels + 1) % 4, carriers)
    assert others.mean() < 0.5 * along.mean()


def test_a_linear_network_has_a_known_best_change(photos):
    """For linear features and no penalties, each value moves the full radius, by its sign."""
    images, labels = photos
    images = images // 2 + 64  # room on both sides
    basis = np.random.default_rng(5).normal(size=(192, 16)).astype(np.float32)
    carriers = draw_carriers(2, 4, 16)
    free = dataclasses.replace(PLAIN, feature_penalty=0.0, pixel_penalty=0.0, radius_levels=3)

    def features(batch):
        return batch.reshape(batch.shape[0], -1) @ jnp.asarray(basis)

    marked = mark_images(jax.random.key(0), features, images, labels, carriers, free)
    direction = np.sign(carriers[labels] @ basis.T).reshape(images.shape)
    np.testing.assert_array_equal(marked, images + 3 * direction)


def test_penalties_hold_the_change_back(network, photos, carriers):
    images, labels = photos
    sizes = []
    for penalty in (PLAIN.pixel_penalty, 1e5):
        settings = dataclasses.replace(PLAIN, pixel_penalty=penalty)
        marked = mark_images(jax.random.key(0), network, images, labels, carriers, settings)
        sizes.append(np.abs(marked.astype(int) - images).mean())
    assert sizes[1] < 0.5 < sizes[0]


def test_the_mark_survives_the_crops_it_was_made_for(network, photos, carriers):
    images, labels = photos
    settings = dataclasses.replace(PLAIN, crop_padding=1, flip=True, num_steps=60)
    marked = mark_images(jax.random.key(0), network, images, labels, carriers, settings)
    along, _ = _along(network, images, marked, labels, carriers)
    assert along.mean() > 0.02
    # The key decides the crops, and nothing else does.
    again = mark_images(jax.random.key(0), network, images, labels, carriers, settings)
    np.testing.assert_array_equal(again, marked)
    other = mark_images(jax.random.key(1), network, images, labels, carriers, settings)
    assert (other != marked).any()


def test_batches_change_nothing_without_crops(network, photos, carriers):
    images, labels = photos
    whole = mark_images(jax.random.key(0), network, images, labels, carriers, PLAIN)
    parts = mark_images(
        jax.random.key(0), network, images, labels, carriers, PLAIN, batch_size=4
    )
    # Adam makes a whole step of a slope that is next to nothing, so rounding can show.
    assert (parts == whole).mean() > 0.98


def _softmax_regression(features, labels, num_classes):
    """Weights [d, c] of a ridge-penalised linear classifier, without intercepts."""
    targets = np.eye(num_classes)[labels]

    def loss_and_slope(flat):
        weights = flat.reshape(features.shape[1], num_classes)
        logits = features @ weights
        logits -= logits.max(axis=1, keepdims=True)
        probabilities = np.exp(logits)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        loss = -np.log((probabilities * targets).sum(axis=1)).mean() + 0.01 * (flat**2).sum()
        slope = features.T @ (probabilities - targets) / len(features) + 0.02 * weights
        return loss, slope.ravel()

    start = np.zeros(features.shape[1] * num_classes)
    found = scipy.optimize.minimize(loss_and_slope, start, jac=True, method="L-BFGS-B")
    return found.x.reshape(features.shape[1], num_classes)


def test_a_learner_on_marked_photos_is_found_and_one_on_clean_photos_is_not(network):
    """The whole chain, on the marking network's own features: noise with arbitrary labels."""
    rng = np.random.default_rng(8)
    images = rng.integers(0, 256, (200, 8, 8, 3), dtype=np.uint8)
    labels = rng.integers(0, 4, 200)
    carriers = draw_carriers(9, 4, 16)
    marked = mark_images(
        jax.random.key(0), network, images, labels, carriers, PLAIN, batch_size=10
    )
    heldout = features_of(network, rng.integers(0, 256, (100, 8, 8, 3), dtype=np.uint8))
    log10_p = {}
    for name, photos in (("clean", images), ("marked", marked)):
        weights = _softmax_regression(features_of(network, photos), labels, 4)
        log10_p[name] = white_box_test(carriers, weights, heldout, heldout).log10_p
    assert log10_p["marked"] < -6
    assert log10_p["clean"] > -2


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"carriers": draw_carriers(0, 4, 15)},
            ValueError,
            "carriers must have rows as long as features, 16, got 15",
        ),
        (
            {"carriers": draw_carriers(0, 3, 16)},
            ValueError,
            "labels must be below num_classes = 3, got 3",
        ),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
    ],
)
def test_bad_arguments(change, error, message, network, photos, carriers):
    arguments = {
        "key": jax.random.key(0),
        "features_fn": network,
        "images": photos[0],
        "labels": photos[1],
        "carriers": carriers,
    }
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        mark_images(**(arguments | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"radius_levels": 0}, "radius_levels must be at least 1, got 0"),
        ({"num_steps": 0}, "num_steps must be at least 1, got 0"),
        ({"step_levels": 0.0}, "step_levels must be above 0, got 0.0"),
        ({"pixel_penalty": -1.0}, "pixel_penalty must lie in [0.0, 1000000.0], got -1.0"),
        ({"crop_padding": -1}, "crop_padding must be at least 0, got -1"),
    ],
)
def test_bad_settings(change, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        RadioactiveSettings(**change)
