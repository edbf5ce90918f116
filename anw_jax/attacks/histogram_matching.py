"""Photos get a common distribution of colours before training."""

import dataclasses

import numpy as np

from anw_jax import _check
from anw_jax.attacks._optional import libraries
from anw_jax.attacks._retrain import derive_seed

REFERENCES = ("mean", "photo")

_NUM_LEVELS = 256
# Pixels that stand for the mean histogram: each is a 1/4096 of it.
_NUM_QUANTILES = 4096


@dataclasses.dataclass(frozen=True)
class HistogramMatching:
    """Gives each channel of each photo the histogram of a reference.

    Uses `skimage.exposure.match_histograms` (Gonzalez and Woods, "Digital Image Processing",
    histogram specification): a monotone map of levels per photo and channel, so pixels keep
    their order, and the average colour of a photo, hue mark included, is lost. The reference is
    made from the learner's own photos, marked ones among them, so it needs nothing else:

    * "mean": the mean of all photos' histograms, as 4096 pixels at its quantiles
      (k + 1/2) / 4096 of each channel;
    * "photo": one of the photos, drawn with the seed.

    Attributes:
      reference: "mean" or "photo".

    Raises:
      ValueError: if `reference` is neither.

    Example:
      >>> photos = np.stack([np.full((2, 2, 3), 10), np.full((2, 2, 3), 90)]).astype(np.uint8)
      >>> HistogramMatching("photo").prepare(photos, seed=0)[:, 0, 0, 0].tolist()
      [10, 10]
    """

    reference: str = "mean"

    def __post_init__(self) -> None:
        """Refuses an unknown reference."""
        _check.one_of(REFERENCES, reference=self.reference)

    def prepare(self, images: np.ndarray, *, seed: int) -> np.ndarray:
        """Photos with the histograms of the reference, rounded to 8 bits.

        Args:
          images: uint8 `[n, H, W, 3]`.
          seed: at least 0; chooses the photo where the reference is one.

        Returns:
          uint8 `[n, H, W, 3]`, a new array.

        Raises:
          TypeError, ValueError: images that are not 8-bit colour.
          ImportError: if scikit-image is missing.
        """
        images = _check.uint8_images(images=images)
        _check.integer_at_least(0, seed=seed)
        (exposure,) = libraries("HistogramMatching", "run", "skimage.exposure")
        prepared = np.empty_like(images)
        if not len(images):
            return prepared
        target = reference_photo(images, self.reference, seed).astype(np.float64)
        for row, image in enumerate(images):
            # As floats: from uint8 skimage would cut off the fractions and darken the photo.
            matched = exposure.match_histograms(
                image.astype(np.float64), target, channel_axis=-1
            )
            prepared[row] = np.rint(matched)
        return prepared


def reference_photo(images: np.ndarray, reference: str, seed: int) -> np.ndarray:
    """The photo whose histograms the others get: uint8 `[h, w, 3]`."""
    if reference == "photo":
        rng = np.random.default_rng(derive_seed(seed, "histogram_matching"))
        return images[rng.integers(len(images))]
    channels = [_quantiles(images[..., channel]) for channel in range(3)]
    return np.stack(channels, axis=-1)[None]


def _quantiles(channel: np.ndarray) -> np.ndarray:
    """uint8 `[_NUM_QUANTILES]`, increasing; photos are of one size, so all weigh the same."""
    counts = np.bincount(channel.ravel(), minlength=_NUM_LEVELS)
    places = (np.arange(_NUM_QUANTILES) + 0.5) / _NUM_QUANTILES * channel.size
    return np.searchsorted(np.cumsum(counts), places, side="left").astype(np.uint8)
