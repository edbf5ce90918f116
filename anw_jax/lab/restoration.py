"""Two restoration tasks on photos, and a classical filter for each.

* "deblur": undo a blur of 3x3 pixels and noise with standard deviation 0.05.
* "derain": remove bright slanted streaks.
"""

import numpy as np

from anw_jax import _check
from anw_jax.schemes.barrier.changes import levels

TASKS = ("deblur", "derain")

_NOISE = 0.05
_SHARPNESS = 1.0

# Of an image's pixels, where a streak begins; its length in pixels, and its brightness.
_STREAK_SHARE = 0.012
_STREAK_PIXELS = 7
_STREAK_LIGHT = 0.35


def spoiled(task: str, images: np.ndarray, seed: int) -> np.ndarray:
    """Make a task's inputs from clean images.

    Args:
      task: one of `TASKS`.
      images: uint8 `[n, H, W, 3]`.
      seed: of the noise or the streaks.

    Returns:
      uint8 of the same shape.
    """
    makers = {"deblur": _blurred_and_noisy, "derain": _rained_on}
    values = _check.uint8_images(images=images).astype(np.float32) / 255.0
    rng = np.random.default_rng([17, seed])
    return levels(makers[_check.one_of(TASKS, task=task)](values, rng))


def classical(task: str, images: np.ndarray) -> np.ndarray:
    """Solve a task without a network.

    "deblur" smooths (binomial 3x3) and sharpens by the difference to a wider blur; "derain"
    takes the median of five pixels in a row, per colour.

    Args:
      task: one of `TASKS`.
      images: uint8 `[n, H, W, 3]`.

    Returns:
      uint8 of the same shape.
    """
    makers = {"deblur": _sharpened, "derain": _row_medians}
    values = _check.uint8_images(images=images).astype(np.float32) / 255.0
    return levels(makers[_check.one_of(TASKS, task=task)](values))


def psnr(images: np.ndarray, wanted: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of uint8 images, all together, in dB."""
    error = (images.astype(np.float64) - wanted) / 255.0
    return float(-10.0 * np.log10(np.square(error).mean()))


def _blurred_and_noisy(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    noise = rng.normal(scale=_NOISE, size=values.shape)
    return _convolved(values, (1, 1, 1)) + noise.astype(np.float32)


def _rained_on(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    starts = rng.random(values.shape[:3]) < _STREAK_SHARE
    slants = rng.integers(-1, 2, size=len(values))
    streaks = np.zeros(values.shape[:3], np.float32)
    for step in range(_STREAK_PIXELS):
        for slant in (-1, 0, 1):
            rows = slants == slant
            shift = (step, slant * (step // 2))
            streaks[rows] = np.maximum(streaks[rows], np.roll(starts[rows], shift, (1, 2)))
    return values + _STREAK_LIGHT * streaks[..., None]


def _sharpened(values: np.ndarray) -> np.ndarray:
    smooth = _convolved(values, (1, 2, 1))
    return smooth + _SHARPNESS * (smooth - _convolved(smooth, (1, 2, 1)))


def _row_medians(values: np.ndarray) -> np.ndarray:
    padded = np.pad(values, ((0, 0), (0, 0), (2, 2), (0, 0)), mode="reflect")
    width = values.shape[2]
    return np.median([padded[:, :, i : i + width] for i in range(5)], axis=0)


def _convolved(values: np.ndarray, weights: tuple[int, ...]) -> np.ndarray:
    """Convolve rows and columns with the same three weights, mirrored at the borders."""
    for axis in (1, 2):
        pads = [(0, 0)] * 4
        pads[axis] = (1, 1)
        padded = np.pad(values, pads, mode="reflect")
        size = values.shape[axis]
        parts = [
            weight * padded.take(range(i, i + size), axis) for i, weight in enumerate(weights)
        ]
        values = np.sum(parts, axis=0, dtype=np.float32) / np.float32(sum(weights))
    return values
