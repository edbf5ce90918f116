"""What thieves do to outputs, and filters that survive it."""

import io

import numpy as np
import PIL.Image
import pytest

from anw_jax.schemes import barrier
from anw_jax.schemes.barrier import changes
from anw_jax.schemes.barrier.filters import apply_filter, gram, statistics, strongest


def by_pillow(image: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, "JPEG", quality=75, subsampling="4:2:0")
    return np.asarray(PIL.Image.open(buffer).convert("RGB"))


@pytest.mark.parametrize("side", [16, 32, 41])
def test_jpeg_is_that_of_libjpeg_but_for_rounding(make, side):
    images = make.pictures(4, 5)
    images = np.pad(images, ((0, 0), (0, 32), (0, 32), (0, 0)), mode="wrap")[:, :side, :side]
    wanted = np.stack([by_pillow(image) for image in images]).astype(np.float64)
    left = np.abs(changes.jpeg(images) - wanted).mean()
    assert left < 0.3 * np.abs(images - wanted).mean()


def test_half_and_back_is_blocks_of_means():
    image = np.array([[0, 4, 8, 8], [0, 0, 8, 9]], np.uint8)[None, :, :, None].repeat(3, -1)
    assert barrier.half_and_back(image)[0, :, :, 0].tolist() == [[1, 1, 8, 8]] * 2
    assert barrier.half_and_back(image[:, :1, :3])[0, :, :, 0].tolist() == [[2, 2, 8]]


@pytest.fixture(scope="module")
def public(make):
    return make.sharpened(make.spoiled(make.pictures(2000, 60), 1))


def kept(kernels: np.ndarray, images: np.ndarray, change) -> np.ndarray:
    """Mark images with each filter alone, change them, and read it: the naive twin."""
    found = []
    for kernel in kernels:
        size = 10 ** (-30 / 20)
        filtered = np.asarray(apply_filter(kernel.astype(np.float32), images / np.float32(255)))
        marked = np.rint(np.clip(images + 255 * size * filtered, 0, 255)).astype(np.uint8)
        difference = (change(marked).astype(np.float64) - change(images)) / 255.0
        found.append((difference * filtered).mean() / size)
    return np.array(found)


@pytest.mark.parametrize("change", changes.CHANGES)
@pytest.mark.parametrize(("name", "count"), [("mixing", 17), ("cross", 26), ("odd", 107)])
def test_directions_that_are_chosen_first_survive_a_change_best(public, name, count, change):
    everything = strongest(name, statistics(public, [change], 2), count)
    first, last = (
        kept(part, public, change).mean() for part in (everything[:3], everything[-3:])
    )
    assert first > last + 0.2
    assert first > 0.7


@pytest.mark.parametrize("name", barrier.FAMILIES)
def test_a_change_of_unmarked_images_does_not_excite_them(public, name):
    of = statistics(public, changes.CHANGES, 2)
    kernels = strongest(name, of, 8)
    np.testing.assert_allclose(gram(kernels, of.near), np.eye(8), atol=1e-7)
    for change in changes.CHANGES:
        difference = (change(public) - public.astype(np.float64)) / 255.0
        for kernel in kernels:
            filtered = np.asarray(
                apply_filter(kernel.astype(np.float32), public / np.float32(255))
            )
            assert abs((difference * filtered).mean()) < 1e-6


def test_bits_are_read_from_outputs_after_jpeg(make):
    owner = make.owner(bits=barrier.DEFAULT_BITS)
    scores = owner.scores(lambda inputs: changes.jpeg(owner.served(inputs)))
    families = np.repeat(list(barrier.DEFAULT_BITS), list(barrier.DEFAULT_BITS.values()))
    is_right = np.sign(scores) == owner.bits().signs
    assert is_right.mean() > 0.85
    assert is_right[families == "odd"].mean() > 0.95
