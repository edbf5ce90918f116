"""How visible a mark is: each figure has a naive twin on the whole photo."""

import io

import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest
from skimage import color, metrics

from anw_jax import data
from anw_jax.data.quality import reduced, sampled_pixels


@pytest.fixture
def pair(rng):
    """A smooth photo with grain, and a changed one."""
    small = PIL.Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    photo = np.asarray(small.resize((480, 360), PIL.Image.Resampling.BICUBIC))
    change = np.asarray(small.rotate(180).resize((480, 360))).astype(np.int16) // 16 - 8
    return photo, np.clip(photo.astype(np.int16) + change, 0, 255).astype(np.uint8)


def wide_profile() -> bytes:
    """An RGB profile of wider primaries than sRGB's, of the same form as Pillow's sRGB."""
    body = bytearray(PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes())
    red = body.index(b"rXYZ")
    place = int.from_bytes(body[red + 4 : red + 8], "big")
    body[place + 8 : place + 12] = int(0.56 * 65536).to_bytes(4, "big")
    return bytes(body)


def test_the_sample_agrees_with_all_pixels(pair):
    photo, marked = pair
    found = data.image_quality(photo, marked)
    everywhere = color.deltaE_ciede2000(color.rgb2lab(photo), color.rgb2lab(marked))
    median, high = np.percentile(everywhere, (50, 95))
    assert photo[..., 0].size > len(sampled_pixels(photo[..., 0].size))
    assert found.ciede2000_median == pytest.approx(median, rel=0.02)
    assert found.ciede2000_p95 == pytest.approx(high, rel=0.02)


def test_small_photos_are_compared_whole(pair):
    photo, marked = (image[:40, :50] for image in pair)
    found = data.image_quality(photo, marked)
    differences = color.deltaE_ciede2000(color.rgb2lab(photo), color.rgb2lab(marked))
    assert found.ciede2000_median == pytest.approx(np.median(differences), rel=1e-6)
    grey = color.rgb2gray(photo), color.rgb2gray(marked)
    whole = metrics.structural_similarity(*grey, data_range=1.0)
    assert found.ssim == pytest.approx(whole, abs=1e-4)
    assert found.num_pixels == 2000


def test_clipped_pixels_are_those_that_were_not_at_an_end_before():
    photo = np.array([[[5, 5, 5], [0, 5, 5], [254, 1, 9], [255, 0, 9]]], np.uint8)
    marked = np.array([[[0, 5, 255], [0, 5, 5], [255, 1, 9], [0, 255, 9]]], np.uint8)
    assert data.image_quality(photo, marked).num_clipped == 2
    tall = np.repeat(photo, 200, axis=0), np.repeat(marked, 200, axis=0)
    assert data.image_quality(*tall).num_clipped == 400


def test_no_change_is_no_change(pair):
    found = data.image_quality(pair[0], pair[0])
    assert (found.ciede2000_p95, found.ssim, found.num_clipped) == (0.0, 1.0, 0)
    line = np.zeros((1, 9, 3), np.uint8)
    assert data.image_quality(line, line).ssim == 1.0
    assert data.image_quality(line, line + np.uint8(1)).ssim == 0.0


def test_colours_are_those_that_a_viewer_shows(pair):
    photo, marked = pair
    plain = data.image_quality(photo, marked)
    wide = data.image_quality(photo, marked, data.PhotoColour(wide_profile()))
    assert wide.ciede2000_p95 > 1.04 * plain.ciede2000_p95
    damaged = wide_profile()[:150] + bytes(40)
    assert data.image_quality(photo, marked, data.PhotoColour(damaged)) == plain


@pytest.mark.parametrize("num_pixels", [1, 99_999, 100_000, 100_001, 150_000, 12_000_000])
def test_the_sample_is_fixed_and_spread(num_pixels):
    places = sampled_pixels(num_pixels)
    assert len(places) == min(num_pixels, 100_000)
    assert places[0] >= 0
    assert places[-1] < num_pixels
    assert (np.diff(places) >= 0).all()
    assert np.diff(places).max(initial=0) <= 2 * max(1, num_pixels / 100_000) + 1
    assert np.array_equal(places, sampled_pixels(num_pixels))


def test_reduction_averages_blocks(rng):
    image = rng.integers(0, 256, (60, 90, 3), dtype=np.uint8)
    small = reduced(image, most=600)
    assert small.shape == (20, 30, 3)
    blocks = image.reshape(20, 3, 30, 3, 3).astype(float).mean(axis=(1, 3))
    assert np.abs(small - blocks).max() <= 1
    assert reduced(image) is image
    assert reduced(rng.integers(0, 9, (3, 10_001, 3), dtype=np.uint8), most=900).size <= 2700


@pytest.mark.parametrize(
    ("marked", "text"),
    [
        (np.zeros((4, 5, 3), np.uint8), r"marked must have shape \(4, 4, 3\), got \(4, 5, 3\)"),
        (np.zeros((4, 4), np.uint8), r"marked must have shape \[H, W, 3\]"),
    ],
)
def test_other_shapes_are_refused(marked, text):
    with pytest.raises(ValueError, match=text):
        data.image_quality(np.zeros((4, 4, 3), np.uint8), marked)


def test_a_sheet_has_every_pair_and_any_name():
    pairs = [
        data.Pair(name, *[data.jpeg_of(np.full((30, 40, 3), level, np.uint8))] * 2)
        for name, level in (("a" * 300, 0), ("日本\n.jpg", 80), ("c", 160), ("d", 240))
    ]
    with PIL.Image.open(io.BytesIO(data.contact_sheet("t" * 900, pairs))) as sheet:
        pixels = np.asarray(sheet.convert("L"))
    # Each level is found in its cell, and nowhere else in the same amount.
    for level in (0, 80, 160, 240):
        assert (np.abs(pixels.astype(int) - level) <= 2).sum() >= 2 * 30 * 40
    with PIL.Image.open(io.BytesIO(data.contact_sheet("none", []))) as sheet:
        assert sheet.width > 400


def test_a_thumbnail_is_in_srgb_and_not_larger(pair):
    photo, _ = pair
    assert data.thumbnail(photo, 48).shape == (36, 48, 3)
    assert np.array_equal(data.thumbnail(photo, 1000), photo)
    wide = data.thumbnail(photo, 48, data.PhotoColour(wide_profile()))
    assert not np.array_equal(wide, data.thumbnail(photo, 48))
    with pytest.raises(ValueError, match="largest_side must be at least 1, got 0"):
        data.thumbnail(photo, 0)
