"""Bits in an image without any training: quantisation of its luminance, block by block.

A bit moves one cosine coefficient of the luminance of a block of 8 x 8 pixels to the nearest
multiple of a step, an even one for +1 and an odd one for -1 (quantisation index modulation,
Chen & Wornell 2001, https://doi.org/10.1109/18.923725). The image itself is no noise for the
reader, so that the strong low frequencies of photos carry bits, which JPEG spares. The steps
are about those of JPEG at quality 50: what JPEG rounds is about half a step, or less.

Blur and resizing shrink coefficients, and would break a lattice. The reader therefore undoes
each of a few fixed filters, and keeps the one after which the coefficients lie nearest to
multiples. It knows no bits: fix it before the bits of a key are drawn, and `stats.bit_test` is
exact.
"""

import functools

import numpy as np

from anw_jax import _check
from anw_jax.keys import Bits
from anw_jax.models.image_fingerprint import BITS_PER_BLOCK, BLOCK
from anw_jax.schemes.image_fingerprint import noise

# Steps, in units of JPEG's at quality 50.
_STEP = 0.95
# Moving, clipping to 0 … 255 and rounding settle after as many rounds.
_ROUNDS = 3
# Filters that the reader undoes: Gaussian blurs, by their standard deviation in pixels, and
# resizing to 0.75 of each side and back (`noise.resize`).
_BLURS = (0.4, 0.5, 0.6, 0.7, 0.8)
# How much nearer to multiples the coefficients must lie for a filter to be undone.
_NEARER = 0.2
# Of neighbouring pixels in photos, about; and variance of rounding, in units of the pixels'.
_CORRELATION, _ROUNDING = 0.95, 1e-4
# ITU-T T.871: luminance of R, G, B.
_TO_LUMINANCE = noise.TO_YCC[0]


def hide_bits(images: np.ndarray, bits: Bits | np.ndarray) -> np.ndarray:
    """Return images with bits hidden in them, 19 in each block of 8 x 8 pixels.

    Args:
      images: uint8 `[n, H, W, 3]`, sides multiples of 8.
      bits: of all images (`keys.Bits`), or signs `[n, num_bits]`, each -1 or +1; in rows of
        blocks, from the top left.

    Returns:
      uint8 `[n, H, W, 3]`. Pixels that would leave 0 … 255 cost some bits in saturated blocks.

    Raises:
      ValueError: bits of another number than the images hold, or other sides.

    Example:
      >>> images = np.full((1, 32, 32, 3), 120, np.uint8)
      >>> signs = np.where(np.arange(304) % 2, 1, -1)[None]
      >>> marked = hide_bits(images, signs)
      >>> int((np.sign(read_bits(marked)) == signs).sum())
      304
    """
    images = _check.uint8_images(images=images)
    signs = checked_signs(bits, len(images), num_bits(images.shape[1:]))
    patterns, steps = _patterns(), _steps()
    wanted = np.where(signs > 0, 0.0, 1.0).reshape(len(images), -1, BITS_PER_BLOCK) * steps
    marked = images.astype(np.float64)
    for _ in range(_ROUNDS):
        found = _blocks(marked @ _TO_LUMINANCE) @ patterns.T
        nearest = 2.0 * steps * np.round((found - wanted) / (2.0 * steps)) + wanted
        change = _unblocked((nearest - found) @ patterns, images.shape)
        marked = np.rint(np.clip(marked + change[..., None], 0.0, 255.0))
    return marked.astype(np.uint8)


def read_bits(images: np.ndarray) -> np.ndarray:
    """Read one score for each bit.

    Args:
      images: uint8 `[n, H, W, 3]`, sides multiples of 8.

    Returns:
      float64 `[n, num_bits]` in [-1, 1], positive where the image says +1.

    Raises:
      ValueError: other sides.
    """
    images = _check.uint8_images(images=images)
    num_bits(images.shape[1:])
    luminance, steps = images.astype(np.float64) @ _TO_LUMINANCE, _steps()
    scores, best = np.zeros((len(images), 0)), np.zeros(len(images))
    for number, (rows, columns) in enumerate(_inverses(*images.shape[1:3])):
        undone = np.einsum("bhw,ih,jw->bij", luminance, rows, columns, optimize=True)
        phases = np.pi * (_blocks(undone) @ _patterns().T) / steps
        fit = np.cos(2.0 * phases).mean((1, 2))
        found = np.cos(phases).reshape(len(images), -1)
        if number == 0:
            scores, best = found, fit + _NEARER
            continue
        is_nearer = fit > best
        scores = np.where(is_nearer[:, None], found, scores)
        best = np.where(is_nearer, fit, best)
    return scores


def num_bits(image_shape: tuple[int, int, int]) -> int:
    """Return how many bits an image holds.

    Raises:
      ValueError: sides that are no multiples of 8.

    Example:
      >>> num_bits((32, 32, 3))
      304
    """
    height, width, channels = image_shape
    if height % BLOCK or width % BLOCK or channels != 3:
        raise ValueError(f"images must have shape (8 m, 8 n, 3), got {tuple(image_shape)}")
    return height // BLOCK * (width // BLOCK) * BITS_PER_BLOCK


def checked_signs(bits: Bits | np.ndarray, num_images: int, count: int) -> np.ndarray:
    """Return bits as signs `[num_images, count]`.

    Raises:
      ValueError: another number of bits, or values other than -1 and +1.
    """
    signs = bits.signs[None] if isinstance(bits, Bits) else np.asarray(bits)
    expected = (num_images, count)
    if signs.shape[1:] != expected[1:] or len(signs) not in (1, num_images):
        raise ValueError(f"bits must have shape {expected}, got {signs.shape}")
    if not np.isin(signs, (-1, 1)).all():
        raise ValueError("bits must be -1 or +1")
    return np.broadcast_to(signs, expected)


@functools.cache
def _chosen() -> list[tuple[int, int]]:
    """Return the frequencies that carry bits: those of JPEG's smallest steps, but not 0."""
    every = [(u, v) for u in range(BLOCK) for v in range(BLOCK) if (u, v) != (0, 0)]
    return sorted(every, key=lambda one: (noise.LUMINANCE[one], one))[:BITS_PER_BLOCK]


def _steps() -> np.ndarray:
    return _STEP * np.array([float(noise.LUMINANCE[one]) for one in _chosen()])


@functools.cache
def _patterns() -> np.ndarray:
    """Return orthonormal waves of one block, float64 `[19, 64]`."""
    waves = noise.waves()
    return np.stack([np.outer(waves[u], waves[v]).ravel() for u, v in _chosen()])


def _blocks(planes: np.ndarray) -> np.ndarray:
    """Return the blocks of `[n, H, W]` in rows, `[n, blocks, 64]`."""
    count, height, width = planes.shape
    split = planes.reshape(count, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    return split.transpose(0, 1, 3, 2, 4).reshape(count, -1, BLOCK * BLOCK)


def _unblocked(blocks: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the planes `[n, H, W]` of blocks `[n, blocks, 64]`."""
    count, height, width = shape[:3]
    split = blocks.reshape(count, height // BLOCK, width // BLOCK, BLOCK, BLOCK)
    return split.transpose(0, 1, 3, 2, 4).reshape(count, height, width)


@functools.lru_cache(maxsize=8)
def _inverses(height: int, width: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return what undoes each filter along rows and columns; the first undoes nothing."""
    found = [(np.eye(height), np.eye(width))]
    for pixels in _BLURS:
        blurs = (noise.gaussian(side, pixels) for side in (height, width))
        found.append(tuple(map(_inverse, blurs)))
    resized = (noise.there_and_back(side) for side in (height, width))
    return [*found, tuple(map(_inverse, resized))]


def _inverse(matrix: np.ndarray) -> np.ndarray:
    """Return the linear estimate of what a filter was applied to (Wiener), `[size, size]`."""
    places = np.arange(len(matrix))
    prior = _CORRELATION ** np.abs(places[:, None] - places[None, :])
    seen = matrix @ prior @ matrix.T + _ROUNDING * np.eye(len(matrix))
    return np.linalg.solve(seen, matrix @ prior).T
