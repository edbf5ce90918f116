"""The one way from asked pictures to what a model takes; shared by all adapters."""

import functools
from collections.abc import Sequence

import numpy as np

from anw_jax.suspects.declaration import RANGES, Declaration

# A large picture is turned into float64 in parts of so many values, 8 MiB.
_BLOCK_VALUES = 2**20


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


def fitted(pictures: Sequence[np.ndarray], size: tuple[int, int] | None) -> np.ndarray:
    """8-bit pictures as suspects are asked: divided by 255, and of the size declared.

    Each picture is resized before the next one is looked at, so that photos of 12 megapixels
    take no more memory than what the model takes of them.

    Args:
      pictures: uint8 `[H, W, 3]` each; sizes may differ where `size` is given.
      size: (H', W') of the declaration; None leaves pictures as they are.

    Returns:
      float32 `[b, H', W', 3]` in [0, 1].

    Example:
      >>> grey = np.full((4, 6, 3), 51, np.uint8)
      >>> fitted([grey, grey[:, :2]], (2, 3)).shape, float(fitted([grey], None).max())
      ((2, 2, 3, 3), 0.20000000298023224)
    """
    height, width = pictures[0].shape[:2] if size is None else size
    out = np.empty((len(pictures), height, width, 3), np.float32)
    for picture, place in zip(pictures, out, strict=True):
        if picture.shape[:2] == (height, width):
            # The same division as in `verify`: the arbitrator asks exactly uint8 / 255.
            np.divide(picture, np.float32(255), out=place, dtype=np.float32)
        else:
            _resize(picture, place)
    return out


def cropped(picture: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """The largest centred part of a picture `[H, W, 3]` that has the shape of `size`.

    To the nearest pixel; what is odd goes to the right and below. None leaves the picture.

    Example:
      >>> cropped(np.zeros((10, 30, 3), np.uint8), (4, 8)).shape
      (10, 20, 3)
    """
    if size is None:
        return picture
    (height, width), (high, wide) = picture.shape[:2], size
    if width * high > height * wide:
        rows, columns = height, max(1, (2 * height * wide + high) // (2 * high))
    else:
        rows, columns = max(1, (2 * width * high + wide) // (2 * wide)), width
    top, left = (height - rows) // 2, (width - columns) // 2
    return np.ascontiguousarray(picture[top : top + rows, left : left + columns])


def asked_bytes(shape: tuple[int, ...], size: tuple[int, int] | None) -> int:
    """Memory of one asked picture `[H, W, 3]`: as it is marked, and as the model takes it."""
    pixels = int(np.prod(shape))
    return 4 * pixels if size is None else pixels + 12 * size[0] * size[1]


def _resized(images: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    if size is None or size == images.shape[1:3]:
        return images
    out = np.empty((len(images), *size, images.shape[3]), np.float32)
    for image, place in zip(images, out, strict=True):
        _resize(image, place)
    return out


def _resize(picture: np.ndarray, out: np.ndarray) -> None:
    """Fills `out` `[H', W', 3]` with a picture of another size, uint8 or float32 in [0, 1]."""
    rows = _filter(picture.shape[0], out.shape[0])
    columns = _filter(picture.shape[1], out.shape[1])
    wide = max(1, _BLOCK_VALUES // (picture.shape[0] * picture.shape[2]))
    parts = []
    for left in range(0, picture.shape[1], wide):
        part = picture[:, left : left + wide]
        if part.dtype == np.uint8:
            part = part.astype(np.float32) / np.float32(255)
        parts.append(np.einsum("hH,HWc->hWc", rows, part.astype(np.float64), optimize=True))
    tall = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    out[:] = np.einsum("wW,hWc->hwc", columns, tall, optimize=True)


@functools.lru_cache(maxsize=64)
def _filter(num_in: int, num_out: int) -> np.ndarray:
    """Weights `[num_out, num_in]` of a triangle filter; rows sum to 1."""
    scale = num_in / num_out
    width = max(1.0, scale)
    centres = (np.arange(num_out) + 0.5) * scale - 0.5
    distance = np.abs(np.arange(num_in)[None] - centres[:, None]) / width
    weights = np.maximum(0.0, 1.0 - distance)
    return weights / weights.sum(axis=1, keepdims=True)
