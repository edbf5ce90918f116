"""Bits in the luminance of images, without any training."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from anw_jax import data, stats
from anw_jax.keys import Bits
from anw_jax.schemes import image_fingerprint
from anw_jax.schemes.image_fingerprint import NOISES, hide_bits, lattice, psnr, read_bits


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Colour noise with a spectrum of 1/f, as photos have it; some of it is saturated."""
    rng = np.random.default_rng(304)
    rows, columns = np.fft.fftfreq(32)[:, None], np.fft.rfftfreq(32)
    fall = 1.0 / np.maximum(np.hypot(rows, columns), 1.0 / 32)
    grey, colour = np.fft.irfft2(
        np.fft.rfft2(rng.normal(size=(2, 3, 60, 32, 32))) * fall, (32, 32)
    )
    mixed = np.moveaxis(2.0 * grey[:1] + 0.5 * colour, 0, -1)
    return np.clip(120 + 60 * mixed / mixed.std(), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def signs(images) -> np.ndarray:
    return np.random.default_rng(5).choice([-1, 1], (len(images), 304))


@pytest.fixture(scope="module")
def marked(images, signs) -> np.ndarray:
    return hide_bits(images, signs)


def right(images: np.ndarray, signs: np.ndarray) -> float:
    return float((np.sign(read_bits(images)) == signs).mean())


def noisy(name: str, images: np.ndarray) -> np.ndarray:
    found = NOISES[name](jnp.asarray(images / 255.0, jnp.float32), jax.random.key(7))
    return np.rint(255.0 * np.asarray(found)).astype(np.uint8)


def as_jpeg(images: np.ndarray, quality: int) -> np.ndarray:
    found = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        found.append(np.asarray(Image.open(io.BytesIO(file.getvalue())).convert("RGB")))
    return np.stack(found)


def test_bits_are_read_where_they_were_hidden_and_nowhere_else(images, signs, marked):
    assert right(marked, signs) > 0.995
    assert psnr(images, marked) > 32.5
    assert abs(right(images, signs) - 0.5) < 0.02
    others = np.random.default_rng(6).choice([-1, 1], signs.shape)
    assert abs(right(marked, others) - 0.5) < 0.02


@pytest.mark.parametrize(("quality", "least"), [(90, 0.97), (75, 0.95), (50, 0.93)])
def test_true_jpeg_files_spare_them(marked, signs, quality, least):
    assert right(as_jpeg(marked, quality), signs) > least


@pytest.mark.parametrize(
    ("name", "least"), [("blur", 0.97), ("resize", 0.97), ("noise", 0.93), ("crop", 0.7)]
)
def test_noises_spare_them(marked, signs, name, least):
    assert right(noisy(name, marked), signs) > least


def test_blur_is_undone_by_its_own_inverse(marked, signs, monkeypatch):
    blurred = noisy("blur", marked)
    assert right(blurred, signs) > 0.97
    monkeypatch.setattr(lattice, "_inverses", lambda *sides: [(np.eye(32), np.eye(32))])
    assert right(blurred, signs) < 0.85


def test_scores_are_a_function_of_the_distance_to_multiples(images, marked):
    """A naive twin, coefficient by coefficient."""
    grey = marked[0].astype(float) @ [0.299, 0.587, 0.114]
    wave = [np.cos(np.pi * k * (np.arange(8) + 0.5) / 8) for k in range(8)]
    wave = [one / np.sqrt((one**2).sum()) for one in wave]
    # Block 6 is the third of the second row; (0, 2) has the smallest step of JPEG, 10.
    found = wave[0] @ grey[8:16, 16:24] @ wave[2]
    assert read_bits(marked[:1])[0, 6 * 19] == pytest.approx(
        np.cos(np.pi * found / 9.5), abs=1e-6
    )


def test_the_p_of_one_code_is_exact_for_innocent_images(images):
    """The reader is fixed before the bits, so they are uniform given what it reads."""
    rng = np.random.default_rng(8)
    codes = [Bits(rng.choice([-1, 1], 304)) for _ in range(2000)]
    scores = read_bits(images[:1])[0]
    assert stats.super_uniformity(stats.fresh_bit_p_values(scores, codes))[0]
    scores = read_bits(hide_bits(images[:1], codes[0]))[0]
    assert stats.bit_test(scores, codes[0]).log10_p < -60
    near = [codes[0]] * 2000
    assert not stats.super_uniformity(stats.fresh_bit_p_values(scores, near))[0]


@pytest.mark.parametrize(
    ("shape", "count", "message"),
    [
        ((2, 32, 32, 3), 303, r"bits must have shape \(2, 304\), got \(2, 303\)"),
        ((2, 30, 32, 3), 304, r"images must have shape \(8 m, 8 n, 3\), got \(30, 32, 3\)"),
    ],
)
def test_bad_input(shape, count, message):
    with pytest.raises(ValueError, match=message):
        hide_bits(np.zeros(shape, np.uint8), np.ones((2, count)))
    with pytest.raises(ValueError, match="must be -1 or"):
        hide_bits(np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, 19)))


@pytest.mark.slow
def test_photos_at_32_pixels():
    images = data.load("photos", image_size=32).train.in_memory().images[:300]
    signs = np.random.default_rng(100).choice([-1, 1], (len(images), 304))
    marked = image_fingerprint.hide_bits(images, signs)
    found = {"psnr": psnr(images, marked), "clean": right(marked, signs)}
    found |= {q: right(as_jpeg(marked, q), signs) for q in (90, 75, 50)}
    found |= {name: right(noisy(name, marked), signs) for name in ("blur", "resize", "noise")}
    assert found.pop("psnr") > 32.5
    assert min(found.values()) > 0.95, found
