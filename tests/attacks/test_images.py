"""JPEG, grey-world and histogram matching: what happens to files before training."""

import importlib
import io

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax.attacks.images import (
    HistogramMatching,
    Jpeg,
    WhiteBalance,
    gains,
    reference_image,
)
from anw_jax.marks import HueRotation, publish

SEEDS = st.integers(0, 2**32 - 1)
FEW = settings(derandomize=True, deadline=None, max_examples=15)


def _smooth_photos(num, side, seed):
    """Photos in muted colours that no gain pushes out of range."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(-20, 20, side)
    base = rng.integers(90, 150, (num, 1, 1, 3))
    return np.rint(base + ramp[:, None, None] + ramp[None, :, None] / 2).astype(np.uint8)


# --- JPEG ---


def test_jpeg_gives_what_pillow_gives(small_images):
    prepared = Jpeg(quality=40).prepare(small_images, seed=0)
    for image, mine in zip(small_images, prepared, strict=True):
        file = io.BytesIO()
        PIL.Image.fromarray(image).save(file, "JPEG", quality=40, subsampling="4:2:0")
        np.testing.assert_array_equal(mine, np.asarray(PIL.Image.open(file)))


def test_jpeg_is_a_function_of_the_photo_alone(small_images):
    first = Jpeg(quality=60).prepare(small_images, seed=0)
    np.testing.assert_array_equal(Jpeg(quality=60).prepare(small_images, seed=9), first)
    alone = Jpeg(quality=60).prepare(small_images[2:3], seed=0)
    np.testing.assert_array_equal(alone[0], first[2])


def test_better_jpeg_changes_less():
    images = _smooth_photos(4, 16, 1)
    changes = [
        np.abs(Jpeg(quality).prepare(images, seed=0).astype(int) - images).mean()
        for quality in (5, 50, 98)
    ]
    assert changes[0] > changes[1] > changes[2]
    assert changes[2] < 2


def test_jpeg_leaves_a_flat_hue_where_it_was():
    """The colour of a whole photo outlives coarse chroma: it is the lowest frequency."""
    flat = np.full((1, 16, 16, 3), [180, 90, 70], np.uint8)
    marked = publish(HueRotation(), flat, 120.0)
    assert np.abs(Jpeg(30).prepare(marked, seed=0).astype(int) - marked).max() <= 12


# --- Grey-world ---


def test_channel_means_become_equal_on_a_known_photo():
    photo = np.array([[[[100, 50, 25], [200, 100, 50]]]], np.uint8)
    # Means 150, 75, 37.5; their mean is 87.5.
    np.testing.assert_allclose(gains(photo[0]), [87.5 / 150, 87.5 / 75, 87.5 / 37.5])
    balanced = WhiteBalance().prepare(photo, seed=0)
    np.testing.assert_array_equal(balanced[0, 0], [[58, 58, 58], [117, 117, 117]])


@FEW
@given(SEEDS)
def test_grey_world_makes_means_equal_to_half_a_level(seed):
    images = _smooth_photos(3, 8, seed)
    balanced = WhiteBalance().prepare(images, seed=0).astype(np.float64)
    assert balanced.max() < 255  # nothing was clipped, so this says all there is to say
    means = balanced.mean(axis=(1, 2))
    assert np.ptp(means, axis=1).max() <= 1.0
    np.testing.assert_allclose(means.mean(axis=1), images.mean(axis=(1, 2, 3)), atol=0.5)


def test_grey_world_twin(small_images):
    balanced = WhiteBalance().prepare(small_images, seed=0)
    for image, mine in zip(small_images, balanced, strict=True):
        means = [float(image[:, :, c].sum()) / 64 for c in range(3)]
        grey = sum(means) / 3
        for row in range(8):
            for column in range(8):
                for c in range(3):
                    wanted = min(255.0, float(image[row, column, c]) * (grey / means[c]))
                    assert abs(mine[row, column, c] - wanted) <= 0.5 + 1e-9


@pytest.mark.parametrize(
    ("pixel", "expected"),
    [
        ([0, 0, 0], [0, 0, 0]),  # black has no colour to balance
        ([90, 90, 90], [90, 90, 90]),
        ([0, 60, 60], [0, 40, 40]),  # an empty channel keeps its gain of 1
        ([255, 0, 0], [85, 0, 0]),
    ],
)
def test_edges_of_grey_world(pixel, expected):
    photo = np.full((1, 2, 2, 3), pixel, np.uint8)
    assert WhiteBalance().prepare(photo, seed=0)[0, 0, 0].tolist() == expected


def test_a_mark_on_a_flat_photo_is_taken_off_by_grey_world():
    flat = np.full((1, 4, 4, 3), [140, 100, 110], np.uint8)
    images = np.concatenate([publish(HueRotation(), flat, d) for d in (0.0, 60.0, 210.0)])
    balanced = WhiteBalance().prepare(images, seed=0)
    assert np.ptp(images.astype(int), axis=-1).min() > 20
    np.testing.assert_array_equal(np.ptp(balanced.astype(int), axis=-1), 0)


# --- Histogram matching ---


def _rank_twin(channel, reference):
    """The level of the reference at each pixel's quantile, by counting one pixel at a time."""
    pixels, target = channel.ravel().tolist(), sorted(reference.ravel().tolist())
    levels = sorted(set(target))
    heights = [sum(t <= level for t in target) / len(target) for level in levels]
    matched = []
    for pixel in pixels:
        quantile = sum(other <= pixel for other in pixels) / len(pixels)
        matched.append(float(np.interp(quantile, heights, levels)))
    return np.array(matched).reshape(channel.shape)


def test_matching_twin(small_images):
    prepared = HistogramMatching("photo").prepare(small_images, seed=4)
    reference = reference_image(small_images, "photo", 4)
    for image, mine in zip(small_images, prepared, strict=True):
        for c in range(3):
            twin = _rank_twin(image[..., c], reference[..., c])
            assert np.abs(mine[..., c] - twin).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("reference", ["mean", "photo"])
def test_order_of_pixels_is_kept(small_images, reference):
    prepared = HistogramMatching(reference).prepare(small_images, seed=0)
    for image, mine in zip(small_images, prepared, strict=True):
        for c in range(3):
            order = np.argsort(image[..., c].ravel(), kind="stable")
            assert (np.diff(mine[..., c].ravel()[order].astype(int)) >= 0).all()


def test_reference_image_is_one_of_them_and_keeps_its_pixels(small_images):
    chosen = {reference_image(small_images, "photo", seed).tobytes() for seed in range(40)}
    assert chosen == {image.tobytes() for image in small_images}
    kept = HistogramMatching("photo").prepare(small_images, seed=3)
    target = reference_image(small_images, "photo", 3)
    row = next(i for i, image in enumerate(small_images) if (image == target).all())
    np.testing.assert_array_equal(kept[row], target)


def test_mean_histogram_is_the_mean_of_histograms(small_images):
    quantiles = reference_image(small_images, "mean", 0)
    for c in range(3):
        each = [np.bincount(i[..., c].ravel(), minlength=256) / 64 for i in small_images]
        mine = np.bincount(quantiles[0, :, c], minlength=256) / quantiles.shape[1]
        # Quantiles are right to half a step at both ends of a level.
        assert np.abs(np.mean(each, axis=0) - mine).max() <= 1 / 4096


def test_matched_photos_share_their_colours():
    images = _smooth_photos(5, 16, 2)
    prepared = HistogramMatching("mean").prepare(images, seed=0)
    before, after = (np.ptp(i.mean(axis=(1, 2)), axis=0) for i in (images, prepared))
    assert (before > 15).all()
    assert (after < 3).all()


# --- All three ---

EVERY = [Jpeg(80), WhiteBalance(), HistogramMatching("mean"), HistogramMatching("photo")]


@pytest.mark.parametrize("attack", EVERY, ids=str)
def test_no_photo_in_none_out(attack):
    nothing = attack.prepare(np.zeros((0, 8, 8, 3), np.uint8), seed=0)
    assert nothing.shape == (0, 8, 8, 3)
    assert nothing.dtype == np.uint8


@pytest.mark.parametrize("attack", EVERY, ids=str)
def test_originals_are_left_alone(attack, small_images):
    before = small_images.copy()
    small_images.setflags(write=False)
    prepared = attack.prepare(small_images, seed=0)
    prepared[:] = 0
    np.testing.assert_array_equal(small_images, before)


@pytest.mark.parametrize(
    ("attack", "library"), [(Jpeg(80), "PIL"), (HistogramMatching(), "skimage")], ids=str
)
def test_a_missing_library_names_the_extra(attack, library, small_images, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {library!r}", name=library)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ImportError) as raised:
        attack.prepare(small_images, seed=0)
    assert str(raised.value) == (
        f"{type(attack).__name__} needs {library}, which is not installed: "
        "pip install '.[run]' in the checkout"
    )
