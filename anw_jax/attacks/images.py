"""Attacks on the image files, before training: JPEG, white balance, histogram matching."""

import dataclasses
import io
import types
from collections.abc import Callable

import numpy as np

from anw_jax import _check
from anw_jax.attacks.kinds import derive_seed, libraries

REFERENCES = ("mean", "photo")

# 4:2:0, what cameras and websites use: chroma at half the resolution both ways.
_CHROMA_AT_HALF_RESOLUTION = 2
_BEST_QUALITY = 100

_NUM_LEVELS = 256
# Pixels that represent the mean histogram: each is 1/4096 of it.
_NUM_QUANTILES = 4096


@dataclasses.dataclass(frozen=True)
class Jpeg:
    """Re-compresses each image with Pillow, chroma at half the resolution (4:2:0).

    JPEG (ITU-T T.81, https://www.w3.org/Graphics/JPEG/itu-t81.pdf) stores luma and chroma
    separately and chroma coarsely, and a hue mark lies in the chroma. Chroma blocks are 16x16
    pixels; images whose sides are not a multiple are padded by the encoder and cropped again.
    The bytes depend on the libjpeg that Pillow was built with, not on the seed.

    Attributes:
      quality: Pillow's scale, 1 (worst) to 100.

    Raises:
      ValueError: if `quality` is out of range.
      TypeError: if it is not an integer.

    Example:
      >>> red = np.full((1, 8, 8, 3), [200, 40, 40], np.uint8)
      >>> Jpeg(quality=90).prepare(red, seed=0)[0, 0, 0].tolist()
      [200, 40, 40]
    """

    quality: int = 75

    def __post_init__(self) -> None:
        """Check the quality."""
        _check.integer_at_least(1, quality=self.quality)
        if self.quality > _BEST_QUALITY:
            raise ValueError(f"quality must be at most {_BEST_QUALITY}, got {self.quality}")

    def prepare(self, images: np.ndarray, *, seed: int) -> np.ndarray:
        """See `PhotoAttack.prepare`; `seed` is not used."""
        images = _check.uint8_images(images=images)
        _check.integer_at_least(0, seed=seed)
        (pillow,) = libraries("Jpeg", "run", "PIL.Image")
        return _each(images, lambda image: _saved_and_read(pillow, image, self.quality))


def _saved_and_read(pillow: types.ModuleType, image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    opened = pillow.fromarray(np.ascontiguousarray(image))
    opened.save(file, "JPEG", quality=quality, subsampling=_CHROMA_AT_HALF_RESOLUTION)
    file.seek(0)
    with pillow.open(file) as saved:
        return np.asarray(saved.convert("RGB"))


@dataclasses.dataclass(frozen=True)
class WhiteBalance:
    """Scales the channels of each image so that their means agree (grey-world).

    The gain of channel c is μ / μ_c, with μ_c its mean and μ the mean of the three: the
    average of a scene is taken to be grey (Buchsbaum 1980,
    https://doi.org/10.1016/0016-0032(80)90058-7). Means agree before clipping to [0, 255] and
    rounding; where a gain pushes pixels out of range they differ a little. A channel that
    is 0 everywhere keeps its values. A rotated hue moves the mean colour, so this undoes part
    of a hue mark, the same part in every pixel.

    Example:
      >>> image = np.array([[[[120, 60, 60], [60, 30, 30]]]], np.uint8)
      >>> WhiteBalance().prepare(image, seed=0)[0, 0].tolist()
      [[80, 80, 80], [40, 40, 40]]
    """

    def prepare(self, images: np.ndarray, *, seed: int) -> np.ndarray:
        """See `PhotoAttack.prepare`; `seed` is not used."""
        images = _check.uint8_images(images=images)
        _check.integer_at_least(0, seed=seed)
        return _each(images, lambda image: np.rint(np.clip(image * gains(image), 0, 255)))


def gains(image: np.ndarray) -> np.ndarray:
    """Return the grey-world gains of an image, float64 `[3]`; 1 for a channel of 0."""
    means = image.mean(axis=(0, 1), dtype=np.float64)
    return np.divide(means.mean(), means, out=np.ones(3), where=means > 0)


@dataclasses.dataclass(frozen=True)
class HistogramMatching:
    """Gives each channel of each image the histogram of a reference.

    Uses `skimage.exposure.match_histograms` (Gonzalez and Woods, "Digital Image Processing",
    histogram specification): a monotone map of levels per image and channel, so pixels keep
    their order, and the average colour of an image, hue mark included, is lost. The reference
    is made from the learner's own images, marked ones among them:

    * "mean": the mean of all images' histograms, as 4096 pixels at its quantiles
      (k + 1/2) / 4096 of each channel;
    * "photo": one of the images, drawn with the seed.

    Attributes:
      reference: "mean" or "photo".

    Raises:
      ValueError: if `reference` is neither.

    Example:
      >>> images = np.stack([np.full((2, 2, 3), 10), np.full((2, 2, 3), 90)]).astype(np.uint8)
      >>> HistogramMatching("photo").prepare(images, seed=0)[:, 0, 0, 0].tolist()
      [10, 10]
    """

    reference: str = "mean"

    def __post_init__(self) -> None:
        """Check the name of the reference."""
        _check.one_of(REFERENCES, reference=self.reference)

    def prepare(self, images: np.ndarray, *, seed: int) -> np.ndarray:
        """See `PhotoAttack.prepare`; `seed` chooses the image where the reference is one."""
        images = _check.uint8_images(images=images)
        _check.integer_at_least(0, seed=seed)
        (exposure,) = libraries("HistogramMatching", "run", "skimage.exposure")
        if not len(images):
            return images.copy()
        target = reference_image(images, self.reference, seed).astype(np.float64)

        def match(image: np.ndarray) -> np.ndarray:
            # In float64: from uint8 skimage would truncate, and darken the image.
            levels = image.astype(np.float64)
            return np.rint(exposure.match_histograms(levels, target, channel_axis=-1))

        return _each(images, match)


def reference_image(images: np.ndarray, reference: str, seed: int) -> np.ndarray:
    """Return the image whose histograms the others get, uint8 `[h, w, 3]`."""
    if reference == "photo":
        rng = np.random.default_rng(derive_seed(seed, "histogram_matching"))
        return images[rng.integers(len(images))]
    channels = [_quantiles(images[..., channel]) for channel in range(3)]
    return np.stack(channels, axis=-1)[None]


def _quantiles(channel: np.ndarray) -> np.ndarray:
    """Return uint8 `[_NUM_QUANTILES]`, increasing; images of one size weigh the same."""
    counts = np.bincount(channel.ravel(), minlength=_NUM_LEVELS)
    places = (np.arange(_NUM_QUANTILES) + 0.5) / _NUM_QUANTILES * channel.size
    return np.searchsorted(np.cumsum(counts), places, side="left").astype(np.uint8)


def _each(images: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Change uint8 images one by one: all in float64 would take eight times their memory."""
    prepared = np.empty_like(images)
    for row, image in enumerate(images):
        prepared[row] = change(image)
    return prepared
