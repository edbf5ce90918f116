"""`mock:<n>`: made-up photos for tests, learnable and tiny."""

import jax
import numpy as np

from anw_jax import errors
from anw_jax.data.dataset import Dataset, Splits

CLASS_NAMES = ("fine", "medium", "coarse", "plain")
_PERIODS = np.array([2, 4, 8, 10**6])
_SEED = 1
_MAX_IMAGES = 100_000


def _noise(stream: int, shape: tuple[int, ...]) -> np.ndarray:
    key = jax.random.fold_in(jax.random.key(_SEED, impl="threefry2x32"), stream)
    return np.asarray(jax.random.bits(key, shape, np.uint8)).astype(np.int32)


def _dataset(name: str, stream: int, num: int, size: int) -> Dataset:
    """Stripes between two random colours, as wide as the class says, under noise."""
    labels = np.arange(num) % len(CLASS_NAMES)
    half_periods = (_PERIODS[labels] // 2)[:, None]
    stripe = (np.arange(size) // half_periods % 2)[:, None, :, None]
    colours = _noise(stream, (num, 2, 1, 1, 3))
    pattern = np.where(stripe == 1, colours[:, 1], colours[:, 0])
    pixels = (7 * pattern + _noise(stream + 1, (num, size, size, 3))) // 8
    return Dataset(pixels.astype(np.uint8), labels, CLASS_NAMES, name)


def load(argument: str, image_size: int | None, data_dir: str | None) -> Splits:
    """Makes `n` training and max(4, n // 4) test images, the same in every run.

    Four classes differ in the width of vertical stripes between two random colours;
    images are 32×32 unless `image_size` says otherwise; `data_dir` is not looked at.
    """
    if not argument.isdecimal() or not 4 <= int(argument) <= _MAX_IMAGES:
        raise errors.SourceError(
            f"source 'mock:<n>' needs a number of images from 4 to {_MAX_IMAGES}, "
            f"for example mock:64; got {argument!r}"
        )
    num, size = int(argument), image_size or 32
    return Splits(
        train=_dataset(f"mock:{num}/train", 0, num, size),
        test=_dataset(f"mock:{num}/test", 2, max(4, num // 4), size),
    )
