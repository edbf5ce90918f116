"""Mean and spread of colours, for a network's normalisation."""

import numpy as np

from anw_jax import _check
from anw_jax.data.chunks import chunks
from anw_jax.data.dataset import Dataset


def channel_statistics(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel, over all pixels, in one pass.

    From exact counts of the 256 levels, so a streamed set and one in memory give the same
    bits: `mean = sum_k p_k k / 255`, `std = sqrt(sum_k p_k (k / 255)^2 - mean^2)`, where
    `p_k` is the share of level k.

    Args:
      dataset: at least one image.

    Returns:
      `(mean, std)`: float64 `[3]` each, of images in [0, 1].

    Raises:
      ValueError: if there are no images.

    Example:
      >>> grey = Dataset(np.full((2, 4, 4, 3), 51, np.uint8), [0, 0], ("a",), "grey")
      >>> mean, std = channel_statistics(grey)
      >>> mean.round(3).tolist(), std.round(3).tolist()
      ([0.2, 0.2, 0.2], [0.0, 0.0, 0.0])
    """
    _check.is_instance(Dataset, dataset=dataset)
    if not len(dataset):
        raise ValueError("dataset must hold at least one image, got none")
    counts = np.zeros((3, 256), np.int64)
    for images in chunks(dataset.images):
        for channel in range(3):
            counts[channel] += np.bincount(images[..., channel].ravel(), minlength=256)
    levels = np.arange(256) / 255.0
    weights = counts / counts.sum(axis=1, keepdims=True)
    mean = weights @ levels
    return mean, np.sqrt(np.maximum(weights @ levels**2 - mean**2, 0.0))
