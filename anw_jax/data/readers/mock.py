"""`mock:<n>`: synthetic images for tests, small and learnable."""

import hashlib
import math

import numpy as np

from anw_jax import errors
from anw_jax.data.dataset import Dataset, Splits

CLASS_NAMES = ("fine", "medium", "coarse", "plain")
_PERIODS = np.array([2, 4, 8, 10**6])
_MAX_IMAGES = 10_000


def _noise(stream: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return int32 levels in [0, 255]: bytes of a hash, the same on every platform."""
    digest = hashlib.shake_256(f"anw_jax.data.mock/1/{stream}".encode())
    levels = np.frombuffer(digest.digest(math.prod(shape)), np.uint8)
    return levels.astype(np.int32).reshape(shape)


def _dataset(side: str, num: int, name: str, size: int) -> Dataset:
    """Draw noisy stripes of two random colours, whose width is given by the class."""
    labels = np.arange(num) % len(CLASS_NAMES)
    half_periods = (_PERIODS[labels] // 2)[:, None]
    stripe = (np.arange(size) // half_periods % 2)[:, None, :, None]
    colours = _noise(f"{side} colours", (num, 2, 1, 1, 3))
    pattern = np.where(stripe == 1, colours[:, 1], colours[:, 0])
    pixels = (7 * pattern + _noise(f"{side} noise", (num, size, size, 3))) // 8
    return Dataset(pixels.astype(np.uint8), labels, CLASS_NAMES, f"{name}/{side}")


def load(argument: str, image_size: int | None, data_dir: str | None) -> Splits:
    """Make `n` training and max(4, n // 4) test images, the same in every run.

    Four classes differ in the width of vertical stripes between two random colours;
    images are 32×32 unless `image_size` is given; `data_dir` is not used.
    """
    if not argument.isdecimal() or not 4 <= int(argument) <= _MAX_IMAGES:
        raise errors.SourceError(
            f"source 'mock:<n>' needs a number of images from 4 to {_MAX_IMAGES}, "
            f"for example mock:64; got {argument!r}"
        )
    num, size = int(argument), image_size or 32
    return Splits(
        train=_dataset("train", num, f"mock:{num}", size),
        test=_dataset("test", max(4, num // 4), f"mock:{num}", size),
    )
