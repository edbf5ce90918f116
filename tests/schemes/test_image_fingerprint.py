import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from anw_jax import stats
from anw_jax.keys import Bits
from anw_jax.models import ImageFingerprint
from anw_jax.models.image_fingerprint import first_patterns
from anw_jax.schemes.image_fingerprint import (
    NOISES,
    FingerprintTraining,
    mark_images,
    psnr,
    read_images,
    train_fingerprint,
)
from anw_jax.schemes.image_fingerprint.noise import jpeg_at

NET = ImageFingerprint(width=4)
SHAPE = (32, 32, 3)


@pytest.fixture(scope="module")
def params():
    return NET.init(jax.random.key(0))


def smooth(count: int, seed: int = 3) -> np.ndarray:
    """Images of soft colour gradients with some noise, away from black and white."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(60, 195, (count, 2, 2, 3))
    ramp = np.linspace(1.0, 0.0, 32)
    weights = np.stack([ramp, 1.0 - ramp])
    images = np.einsum("nijc,iy,jx->nyxc", corners, weights, weights)
    return np.clip(images + rng.normal(0, 3, images.shape), 0, 255).astype(np.uint8)


def signs_of(count: int, seed: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).choice([-1, 1], (count, 304))


def test_the_first_patterns_are_orthonormal():
    flat = first_patterns().reshape(-1, 19)
    np.testing.assert_allclose(flat.T @ flat, np.eye(19), atol=1e-5)


def test_bits_are_read_where_they_were_hidden_and_nowhere_else(params):
    images, signs = smooth(12), signs_of(12)
    marked = mark_images(NET, params, images, signs)
    right = np.sign(read_images(NET, params, marked)) == signs
    assert right.mean() > 0.995
    clean = np.sign(read_images(NET, params, images)) == signs
    assert abs(clean.mean() - 0.5) < 0.04
    others = np.sign(read_images(NET, params, marked)) == signs_of(12, seed=5)
    assert abs(others.mean() - 0.5) < 0.04
    assert psnr(images, marked) > 30.0


def test_one_code_marks_all_images_and_its_p_is_exact(params):
    """The decoder is fixed before the bits, so they are uniform given what it reads."""
    bits = Bits(signs_of(1)[0])
    marked = mark_images(NET, params, smooth(2), bits)
    scores = read_images(NET, params, marked)[0]
    assert stats.bit_test(scores, bits, statistic="bit_signs", alpha=1e-6).log10_p < -40
    wrong = Bits(signs_of(1, seed=9)[0])
    assert stats.bit_test(scores, wrong, statistic="bit_signs", alpha=1e-6).log10_p > -4


def test_bits_go_in_rows_of_blocks(params):
    """Changing a bit of the last block changes no other pixel but by the small convolution."""
    images, signs = smooth(1), signs_of(1)
    other = signs.copy()
    other[0, -19:] *= -1
    one, two = (mark_images(NET, params, images, s) for s in (signs, other))
    changed = np.argwhere((one != two).any(-1)[0])
    assert (changed >= 24).all()
    assert len(changed) > 8


@pytest.mark.parametrize("name", NOISES)
def test_each_noise_keeps_shape_range_and_gradients(name):
    images = jnp.asarray(smooth(2) / 255.0, jnp.float32)

    def total(images):
        noisy = NOISES[name](images, jax.random.key(1))
        return noisy.sum(), noisy

    (_, noisy), gradient = jax.jit(jax.value_and_grad(total, has_aux=True))(images)
    assert noisy.shape == images.shape
    assert noisy.dtype == jnp.float32
    assert 0.0 <= float(noisy.min()) <= float(noisy.max()) <= 1.0
    assert float(jnp.abs(noisy - images).mean()) < 0.12
    assert (name == "none") == bool((noisy == images).all())
    assert float(jnp.abs(gradient).mean()) > 0.5


def test_constant_images_pass_blur_and_resize_unchanged():
    grey = jnp.full((1, 32, 32, 3), 0.3, jnp.float32)
    for name in ("blur", "resize"):
        unchanged = jax.jit(NOISES[name])(grey, jax.random.key(0))
        np.testing.assert_allclose(unchanged, grey, atol=1e-6)


@pytest.fixture(scope="module")
def proxy():
    """`jpeg_at`, compiled for all qualities."""
    return jax.jit(jpeg_at)


@pytest.mark.parametrize("quality", [60, 75, 90])
def test_the_jpeg_proxy_is_close_to_libjpeg(proxy, quality):
    images = smooth(8)
    ours = np.asarray(proxy((images / 255.0).astype(np.float32), float(quality))) * 255.0
    theirs = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=2)
        theirs.append(np.asarray(Image.open(io.BytesIO(file.getvalue())).convert("RGB")))
    # What is left is rounding, of pixels and of coefficients that lie between two steps.
    difference = np.abs(ours - np.stack(theirs)).mean()
    assert difference < 1.5
    assert difference < 0.7 * np.abs(images.astype(float) - np.stack(theirs)).mean()


@pytest.mark.slow
def test_training_lowers_the_loss_and_resumes(tmp_path):
    how = FingerprintTraining(num_steps=12, batch_size=8)
    options = {"segment_steps": 4, "checkpoint_seconds": 0.0, "checkpoint_dir": tmp_path}
    images = smooth(24)
    calls = []
    stopped = train_fingerprint(
        NET, images, how, should_stop=lambda: len(calls) > 0, on_segment=calls.append, **options
    )
    assert not stopped.completed
    result = train_fingerprint(NET, images, how, **options)
    assert result.completed
    assert result.reports[-1].metrics["accuracy"] > 0.8
    marked = mark_images(NET, result.state.params, images, signs_of(24))
    right = np.sign(read_images(NET, result.state.params, marked)) == signs_of(24)
    assert right.mean() > 0.99


@pytest.mark.parametrize(
    ("images", "bits", "message"),
    [
        (smooth(2), signs_of(3), r"bits must have shape \(2, 304\), got \(3, 304\)"),
        (smooth(2), signs_of(2)[:, 1:], r"got \(2, 303\)"),
        (smooth(2), 0 * signs_of(2), "bits must be -1 or"),
        (smooth(2)[:, 1:], signs_of(2), r"image_shape must be \(8 m, 8 n, 3\)"),
    ],
)
def test_bad_input(params, images, bits, message):
    with pytest.raises(ValueError, match=message):
        mark_images(NET, params, images, bits)


def test_training_refuses_sides_that_jpeg_cannot_halve():
    with pytest.raises(ValueError, match="images must have sides that 16 divides"):
        train_fingerprint(NET, np.zeros((4, 24, 32, 3), np.uint8), FingerprintTraining())
