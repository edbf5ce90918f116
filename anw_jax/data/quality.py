"""How much a mark changes one photo, at a cost that does not grow with its size."""

import dataclasses

import numpy as np

from anw_jax import _check
from anw_jax.data import image_files
from anw_jax.data.colour_difference import colour_differences
from anw_jax.data.photo_colour import PhotoColour, to_srgb

MOST_SAMPLED = 100_000
MOST_COMPARED = 1_000_000

_PLAIN = PhotoColour()
_STRIP = 64  # rows


@dataclasses.dataclass(frozen=True)
class ImageQuality:
    """How much one photo was changed.

    Attributes:
      ciede2000_median: colour difference CIEDE2000, median over the sampled pixels; about 1 is
        just noticeable.
      ciede2000_p95: its 95th percentile.
      ssim: structural similarity of the luminance, at most 1, which is no change.
      num_clipped: pixels with a channel that became 0 or 255 and was neither before.
      num_pixels: of the photo.
    """

    ciede2000_median: float
    ciede2000_p95: float
    ssim: float
    num_clipped: int
    num_pixels: int


def image_quality(
    original: np.ndarray, marked: np.ndarray, colour: PhotoColour = _PLAIN
) -> ImageQuality:
    """Measure how much a photo was changed.

    CIEDE2000 is computed for at most 100,000 pixels, one drawn from each of as many stretches
    of equal length, from a fixed public seed; SSIM after averaging blocks, so that at most a
    million pixels are left. SSIM: Wang et al., "Image quality assessment: from error visibility
    to structural similarity" (2004), with windows of 7 x 7 pixels, as scikit-image computes it.

    Args:
      original: uint8 `[H, W, 3]`.
      marked: uint8, of the same shape.
      colour: of the file; pixels are converted to sRGB by its profile before they are compared.

    Raises:
      TypeError, ValueError: images that are not 8-bit colour, or of different shapes.

    Example:
      >>> grey = np.full((8, 8, 3), 119, np.uint8)
      >>> found = image_quality(grey, grey + np.uint8(5))
      >>> round(found.ciede2000_median, 1), round(found.ssim, 3), found.num_clipped
      (2.0, 0.999, 0)
    """
    original = _check.uint8_image(original=original)
    marked = _check.uint8_image(marked=marked)
    if original.shape != marked.shape:
        raise ValueError(f"marked must have shape {original.shape}, got {marked.shape}")
    height, width = original.shape[:2]
    places = sampled_pixels(height * width)
    pair = (image.reshape(-1, 3)[places][None] for image in (original, marked))
    before, after = (to_srgb(pixels, colour) for pixels in pair)
    differences = colour_differences(before[None], after[None])
    median, high = np.percentile(differences, (50, 95))
    similarity = _ssim(*(to_srgb(reduced(i), colour) for i in (original, marked)))
    clipped = _num_clipped(original, marked)
    return ImageQuality(float(median), float(high), similarity, clipped, height * width)


def sampled_pixels(num_pixels: int, most: int = MOST_SAMPLED) -> np.ndarray:
    """Return the indices of the sample, int64, in ascending order.

    Example:
      >>> sampled_pixels(3).tolist(), len(sampled_pixels(10**7))
      ([0, 1, 2], 100000)
    """
    if num_pixels <= most:
        return np.arange(num_pixels)
    within = np.random.default_rng(0).random(most)
    places = (np.arange(most) + within) * (num_pixels / most)
    return np.minimum(places.astype(np.int64), num_pixels - 1)


def reduced(image: np.ndarray, most: int = MOST_COMPARED) -> np.ndarray:
    """Average square blocks of a uint8 `[H, W, 3]` image, so that at most `most` pixels remain.

    Example:
      >>> reduced(np.zeros((30, 40, 3), np.uint8), most=300).shape
      (15, 20, 3)
    """
    height, width = image.shape[:2]
    block = 1
    while -(-height // block) * -(-width // block) > most:
        block += 1
    if block == 1:
        return image
    return np.asarray(image_files.pillow().Image.fromarray(image).reduce(block))


def _ssim(first: np.ndarray, second: np.ndarray) -> float:
    """Return SSIM of the luminance; 7 x 7 windows, or smaller ones in smaller images."""
    # scikit-image takes a while to import.
    from skimage import color, metrics

    side = min(first.shape[:2])
    if side < 3:  # no window fits
        return float(np.array_equal(first, second))
    window = min(7, side - 1 + side % 2)
    grey = (color.rgb2gray(image.astype(np.float32) / 255) for image in (first, second))
    value = metrics.structural_similarity(*grey, data_range=1.0, win_size=window)
    return float(value)


def _num_clipped(original: np.ndarray, marked: np.ndarray) -> int:
    """Count pixels with a channel at 0 or 255 that was at neither; in strips, for memory."""
    number = 0
    for top in range(0, len(original), _STRIP):
        before, after = (_at_ends(image[top : top + _STRIP]) for image in (original, marked))
        clipped = after & ~before
        number += int((clipped[..., 0] | clipped[..., 1] | clipped[..., 2]).sum())
    return number


def _at_ends(image: np.ndarray) -> np.ndarray:
    """Return whether uint8 values are 0 or 255: less 1, they wrap to 255 and 254."""
    return image - np.uint8(1) >= 254
