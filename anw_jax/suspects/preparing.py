"""The one way from asked pictures to what a model takes; shared by all adapters."""

import functools

import numpy as np

from anw_jax.suspects.declaration import RANGES, Declaration


def prepare(images: np.ndarray, declaration: Declaration) -> np.ndarray:
    """Resizes, scales, normalises, orders the channels and lays the axes out.

    In this order: size, range, mean and std, channel order, layout. Resizing averages over
    the pixels that fall together when shrinking and interpolates linearly when growing (a
    triangle filter, as in Pillow's and JAX's antialiased "bilinear"), in float64, so
    that it has one answer on every machine to the last bit of float32 or nearly so.

    Args:
      images: float32 `[b, H, W, 3]`, RGB in [0, 1].
      declaration: what the model wants.

    Returns:
      float32, contiguous, `[b, H', W', 3]` or `[b, 3, H', W']`.

    Example:
      >>> white = np.ones((1, 2, 2, 3), np.float32)
      >>> wanted = Declaration(10, layout="NCHW", value_range="bytes")
      >>> prepare(white, wanted).shape, float(prepare(white, wanted).max())
      ((1, 3, 2, 2), 255.0)
    """
    pixels = _resized(images, declaration.input_size)
    low, high = RANGES[declaration.value_range]
    # One multiplication and one addition for each channel: range and normalisation together.
    std = np.asarray(declaration.std, np.float64)
    factor = (high - low) / std
    offset = (low - np.asarray(declaration.mean, np.float64)) / std
    if (factor != 1.0).any() or (offset != 0.0).any():
        pixels = pixels * factor.astype(np.float32) + offset.astype(np.float32)
    if declaration.channels == "BGR":
        pixels = pixels[..., ::-1]
    if declaration.layout == "NCHW":
        pixels = pixels.transpose(0, 3, 1, 2)
    prepared = np.ascontiguousarray(pixels, np.float32)
    # What a model does to its input must not reach the caller's pictures.
    return prepared.copy() if np.may_share_memory(prepared, images) else prepared


def _resized(images: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    if size is None or size == images.shape[1:3]:
        return images
    rows = _filter(images.shape[1], size[0])
    columns = _filter(images.shape[2], size[1])
    tall = np.einsum("hH,bHWc->bhWc", rows, images.astype(np.float64), optimize=True)
    return np.einsum("wW,bhWc->bhwc", columns, tall, optimize=True).astype(np.float32)


@functools.lru_cache(maxsize=64)
def _filter(num_in: int, num_out: int) -> np.ndarray:
    """Weights `[num_out, num_in]` of a triangle filter; rows sum to 1."""
    scale = num_in / num_out
    width = max(1.0, scale)
    centres = (np.arange(num_out) + 0.5) * scale - 0.5
    distance = np.abs(np.arange(num_in)[None] - centres[:, None]) / width
    weights = np.maximum(0.0, 1.0 - distance)
    return weights / weights.sum(axis=1, keepdims=True)
