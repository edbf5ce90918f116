"""What happens to images on their way: blur, noise, JPEG, crop and resize, with gradients.

Each function takes float32 images `[b, H, W, 3]` in [0, 1] and a key, and returns such images.
Blur and resize are products with a matrix along each side, which costs little on a CPU.
"""

from collections.abc import Callable, Mapping

import chex
import jax
import jax.numpy as jnp
import numpy as np

NoiseFn = Callable[[jax.Array, chex.PRNGKey], jax.Array]

_BLOCK = 8
_MOST_NOISE = 0.02
_BLUR_PIXELS = 0.6
_KEPT = 0.9
_RESIZED = 0.75
_QUALITIES = (60, 95)

# ITU-T T.81, annex K, tables K.1 and K.2: steps of the quantisation at quality 50.
LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
_CHROMINANCE = np.full((8, 8), 99)
_CHROMINANCE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
# ITU-T T.871: Y, Cb, Cr of R, G, B.
TO_YCC = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
)


def unchanged(images: jax.Array, key: chex.PRNGKey) -> jax.Array:
    """Return the images as they are."""
    return images


def blur(images: jax.Array, key: chex.PRNGKey) -> jax.Array:
    """Blur by a Gaussian of 0.6 pixels; the border is repeated."""
    height, width = images.shape[1:3]
    return _along_sides(images, gaussian(height), gaussian(width))


def gaussian_noise(images: jax.Array, key: chex.PRNGKey) -> jax.Array:
    """Add Gaussian noise of a standard deviation drawn below 0.02."""
    size_key, noise_key = jax.random.split(key)
    size = jax.random.uniform(size_key, maxval=_MOST_NOISE)
    return jnp.clip(images + size * jax.random.normal(noise_key, images.shape), 0.0, 1.0)


def jpeg(images: jax.Array, key: chex.PRNGKey) -> jax.Array:
    """Compress as JPEG 4:2:0 does, at a quality drawn from 60 to 95.

    Rounding passes gradients as they are (Bengio, Léonard, Courville 2013,
    https://arxiv.org/abs/1308.3432). Sides are multiples of 16.
    """
    low, high = _QUALITIES
    quality = jax.random.uniform(key, minval=low, maxval=high)
    return jpeg_at(images, quality)


def jpeg_at(images: jax.Array, quality: jax.Array | float) -> jax.Array:
    """Compress at one quality from 50 to 100, as libjpeg scales its tables.

    Colours at half resolution are means of 2 x 2 pixels, and are interpolated back as libjpeg
    does ("fancy upsampling"). Pixels are not rounded to 8 bits.
    """
    scale = (200.0 - 2.0 * quality) / 100.0
    to_ycc = jnp.asarray(TO_YCC, jnp.float32)
    # The shift by 128 leaves Cb and Cr as they are: their weights add up to 0.
    ycc = (255.0 * images - 128.0) @ to_ycc.T
    luminance = _quantised(ycc[..., :1], LUMINANCE, scale)
    batch, height, width, _ = images.shape
    halves = ycc[..., 1:].reshape(batch, height // 2, 2, width // 2, 2, 2).mean((2, 4))
    colours = _quantised(halves, _CHROMINANCE, scale)
    colours = _along_sides(colours, _interpolated(height // 2), _interpolated(width // 2))
    back = jnp.asarray(np.linalg.inv(TO_YCC), jnp.float32)
    pixels = jnp.concatenate([luminance, colours], -1) @ back.T
    return jnp.clip((pixels + 128.0) / 255.0, 0.0, 1.0)


def crop(images: jax.Array, key: chex.PRNGKey) -> jax.Array:
    """Keep a window of 0.9 of each side at a random place; the rest becomes grey."""
    height, width = images.shape[1:3]
    row_key, column_key = jax.random.split(key)
    rows = _window(row_key, height)[None, :, None, None]
    columns = _window(column_key, width)[None, None, :, None]
    return jnp.where(rows & columns, images, 0.5)


def resize(images: jax.Array, key: chex.PRNGKey) -> jax.Array:
    """Resize to 0.75 of each side, and back."""
    height, width = images.shape[1:3]
    return jnp.clip(_along_sides(images, there_and_back(height), there_and_back(width)), 0, 1)


NOISES: Mapping[str, NoiseFn] = {
    "none": unchanged,
    "blur": blur,
    "noise": gaussian_noise,
    "jpeg": jpeg,
    "crop": crop,
    "resize": resize,
}


def any_noise(images: jax.Array, key: chex.PRNGKey) -> jax.Array:
    """Apply one of `NOISES`, drawn with equal chances for the whole batch."""
    choice_key, noise_key = jax.random.split(key)
    choice = jax.random.randint(choice_key, (), 0, len(NOISES))
    return jax.lax.switch(choice, list(NOISES.values()), images, noise_key)


def _along_sides(images: jax.Array, rows: np.ndarray, columns: np.ndarray) -> jax.Array:
    return jnp.einsum(
        "bhwc,ih,jw->bijc",
        images,
        jnp.asarray(rows, jnp.float32),
        jnp.asarray(columns, jnp.float32),
    )


def gaussian(size: int, pixels: float = _BLUR_PIXELS) -> np.ndarray:
    """Return the matrix of a blur of so many pixels along one side; the border is repeated."""
    places = np.arange(size)
    matrix = np.zeros((size, size))
    for shift in range(-3, 4):
        weight = np.exp(-0.5 * (shift / pixels) ** 2)
        matrix[places, np.clip(places + shift, 0, size - 1)] += weight
    return matrix / matrix.sum(1, keepdims=True)


def there_and_back(size: int) -> np.ndarray:
    """Return the matrix of a linear resize to 0.75 of a side and back."""
    small = round(_RESIZED * size)
    return _linear(small, size) @ _linear(size, small)


def _linear(before: int, after: int) -> np.ndarray:
    """Return the matrix `[after, before]` of linear interpolation; shrinking averages."""
    places = (np.arange(after)[:, None] + 0.5) * before / after - 0.5
    reach = max(1.0, before / after)
    weights = np.maximum(0.0, 1.0 - np.abs(places - np.arange(before)[None, :]) / reach)
    return weights / weights.sum(1, keepdims=True)


def _interpolated(size: int) -> np.ndarray:
    """Return the matrix `[2 size, size]` with which libjpeg doubles colours along one side."""
    places = np.arange(size)
    matrix = np.zeros((2 * size, size))
    for shift in (0, 1):
        matrix[2 * places + shift, places] += 0.75
        matrix[2 * places + shift, np.clip(places + 2 * shift - 1, 0, size - 1)] += 0.25
    return matrix


def _window(key: chex.PRNGKey, size: int) -> jax.Array:
    """Return which rows stay, bool `[size]`."""
    kept = round(_KEPT * size)
    start = jax.random.randint(key, (), 0, size - kept + 1)
    places = jnp.arange(size)
    return (places >= start) & (places < start + kept)


def waves() -> np.ndarray:
    """Return the orthonormal waves of the cosine transform of 8 pixels, `[8, 8]`."""
    found = np.cos(np.pi * np.outer(np.arange(_BLOCK), np.arange(_BLOCK) + 0.5) / _BLOCK)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def _quantised(channels: jax.Array, steps: np.ndarray, scale: jax.Array | float) -> jax.Array:
    """Round the cosine transform of each block of 8 x 8, and transform back."""
    wave = jnp.asarray(waves(), jnp.float32)
    batch, height, width, count = channels.shape
    blocks = channels.reshape(batch, height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK, count)
    found = jnp.einsum("bihjwc,uh,vw->biujvc", blocks, wave, wave)
    size = jnp.maximum(1.0, jnp.asarray(steps, jnp.float32) * scale)
    size = size.reshape(1, 1, _BLOCK, 1, _BLOCK, 1)
    exact = found / size
    rounded = exact + jax.lax.stop_gradient(jnp.round(exact) - exact)
    back = jnp.einsum("biujvc,uh,vw->bihjwc", rounded * size, wave, wave)
    return back.reshape(channels.shape)
