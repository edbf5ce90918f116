import dataclasses

import jax
import numpy as np
import pytest

from anw_jax.models import SplitNet
from anw_jax.partition import AttackerSettings, Defence, invert
from anw_jax.partition.inversion import _mean_ssim, _warmth

NET = SplitNet(2, channels=6, width=6)
HOW = AttackerSettings(num_steps=150, batch_size=16, width=8, learning_rate=1e-2)


def pictures(count: int, seed: int) -> np.ndarray:
    """Smooth images: random colours in the four quarters."""
    rng = np.random.default_rng(seed)
    quarters = rng.integers(30, 226, (count, 2, 2, 3))
    return np.repeat(np.repeat(quarters, 4, 1), 4, 2).astype(np.uint8)


@pytest.fixture(scope="module")
def bottom():
    return NET.init(jax.random.key(0), (8, 8, 3))["bottom"]


def attack(bottom, defence):
    own, targets = pictures(128, 1), pictures(40, 2)
    return invert(NET, defence, bottom, own, targets, HOW, segment_steps=50), targets


@pytest.mark.slow
def test_an_attacker_rebuilds_what_is_not_defended_and_not_what_is_drowned_in_noise(bottom):
    open_, targets = attack(bottom, Defence())
    drowned, _ = attack(bottom, Defence(clip_norm=1.0, noise=10.0))
    assert open_.images.shape == targets.shape
    mean = pictures(128, 1).astype(float).mean(0) / 255
    variance = np.square(targets / 255 - mean).mean()
    assert open_.mse < 0.8 * variance
    assert drowned.mse > 0.9 * variance
    assert open_.ssim > drowned.ssim + 0.25
    assert abs(drowned.attribute_accuracy - 0.5) < 0.25


def test_red_images_are_warm():
    images = np.full((2, 8, 8, 3), [[[[200, 0, 10]]], [[[10, 0, 200]]]], np.uint8)
    assert _warmth(images).tolist() == [190.0, -190.0]


def test_ssim_is_one_for_equal_images_and_low_for_noise(rng):
    images = pictures(3, 1) / np.float32(255)
    assert _mean_ssim(images, images) == pytest.approx(1.0)
    assert _mean_ssim(images, rng.random(images.shape, np.float32)) < 0.3


def test_bad_settings():
    with pytest.raises(ValueError, match="num_steps must be at least 1"):
        dataclasses.replace(HOW, num_steps=0)
