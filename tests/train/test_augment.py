import chex
import jax
import numpy as np
import pytest

from anw_jax.train import TrainSettings, cross_entropy
from anw_jax.train.recipe import augment, crop, mirror

BATCH = (7, 6, 5, 3)


@pytest.fixture
def images(rng):
    return rng.random(BATCH, dtype=np.float32)


def _naive_crop(images, offsets, padding):
    out = np.zeros_like(images)
    for b, (top, left) in enumerate(offsets):
        for i in range(images.shape[1]):
            for j in range(images.shape[2]):
                y, x = top + i - padding, left + j - padding
                if 0 <= y < images.shape[1] and 0 <= x < images.shape[2]:
                    out[b, i, j] = images[b, y, x]
    return out


def test_crop_agrees_with_pixel_by_pixel(images, rng):
    offsets = rng.integers(0, 5, (len(images), 2)).astype(np.int32)
    offsets[:3] = [[0, 0], [4, 4], [2, 2]]
    cropped = crop(images, offsets, 2)
    np.testing.assert_array_equal(cropped, _naive_crop(images, offsets, 2))
    np.testing.assert_array_equal(cropped[2], images[2])


def test_crop_fills_by_reflection_too(images):
    moved = crop(images[:1], np.array([[0, 3]], np.int32), 2, mode="reflect")
    rows, columns = [2, 1, 0, 1, 2, 3], [1, 2, 3, 4, 3]
    np.testing.assert_array_equal(moved[0], images[0][rows][:, columns])


def test_mirror_turns_columns_of_the_chosen(images):
    is_mirrored = np.arange(len(images)) % 2 == 0
    expected = np.stack(
        [i[:, ::-1] if m else i for i, m in zip(images, is_mirrored, strict=True)]
    )
    np.testing.assert_array_equal(mirror(images, is_mirrored), expected)


@pytest.mark.slow
def test_augment_gives_only_crops_and_mirror_images(images):
    """Each result is one of the 2 x 9 images that padding 1 allows, and all occur."""
    one = np.repeat(images[:1], 400, axis=0)
    result = np.asarray(augment(jax.random.key(0), one, TrainSettings(crop_padding=1)))
    offsets = np.array([(i, j) for i in range(3) for j in range(3)])
    crops = _naive_crop(np.repeat(images[:1], 9, axis=0), offsets, 1)
    possible = np.concatenate([crops, crops[:, :, ::-1]])
    is_equal = (result[:, None] == possible[None]).all((2, 3, 4))
    assert (is_equal.sum(1) == 1).all()
    counts = is_equal.sum(0)
    # 400 draws of 18 equal chances: mean 22.2, standard deviation 4.6.
    assert counts.min() >= 5
    assert counts.max() <= 45


def test_augment_can_be_switched_off(images):
    settings = TrainSettings(crop_padding=0, flip=False)
    np.testing.assert_array_equal(augment(jax.random.key(0), images, settings), images)


class Variants(chex.TestCase):
    """Pure functions give equal results, compiled or not, on one device or several."""

    @chex.variants(with_jit=True, without_jit=True, with_device=True, without_device=True)
    def test_crop_and_mirror(self):
        rng = np.random.default_rng(4)
        images = rng.random(BATCH, dtype=np.float32)
        offsets = rng.integers(0, 5, (7, 2)).astype(np.int32)
        cropped = self.variant(lambda x, at: crop(x, at, 2))(images, offsets)
        np.testing.assert_array_equal(cropped, _naive_crop(images, offsets, 2))
        mirrored = self.variant(mirror)(images, np.ones(7, bool))
        np.testing.assert_array_equal(mirrored, images[:, :, ::-1])

    @chex.variants(with_jit=True, without_jit=True)
    def test_cross_entropy_of_labels_is_that_of_their_distributions(self):
        rng = np.random.default_rng(4)
        logits = rng.standard_normal((6, 4), dtype=np.float32)
        labels = rng.integers(0, 4, 6).astype(np.int32)
        given = self.variant(cross_entropy)(logits, labels)
        wanted = self.variant(cross_entropy)(logits, np.eye(4, dtype=np.float32)[labels])
        np.testing.assert_allclose(given, wanted, rtol=1e-5)
