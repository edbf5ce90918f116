"""How visible a change of 8-bit images is: the colour difference CIEDE2000."""

import numpy as np

from anw_jax import _check


def colour_differences(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return CIEDE2000 of each pixel of sRGB images; about 1 is just noticeable.

    Sharma, Wu, Dalal, "The CIEDE2000 Color-Difference Formula" (2005), as scikit-image
    computes it, with kL = kC = kH = 1 and illuminant D65.

    Args:
      first: uint8 `[n, H, W, 3]`.
      second: uint8, of the same shape.

    Returns:
      float32 `[n, H, W]`, at least 0.

    Raises:
      TypeError, ValueError: images that are not 8-bit colour, or of different shapes.

    Example:
      >>> grey = np.full((1, 1, 2, 3), 119, np.uint8)
      >>> brighter = grey + np.array([[0], [5]], np.uint8)
      >>> colour_differences(grey, brighter).round(1).tolist()
      [[[0.0, 2.0]]]
    """
    # scikit-image takes a while to import.
    from skimage import color

    first, second = _check.uint8_images(first=first), _check.uint8_images(second=second)
    if first.shape != second.shape:
        raise ValueError(f"second must have shape {first.shape}, got {second.shape}")
    pairs = zip(first, second, strict=True)
    differences = [color.deltaE_ciede2000(*map(color.rgb2lab, pair)) for pair in pairs]
    return np.array(differences, np.float32).reshape(first.shape[:3])
