"""The additive pattern: a baseline that adds one fixed pattern of the bits to every output.

The image is cut into a grid, one cell for each bit, whose pixels are raised or lowered by the
bit's sign. The reader correlates differences of outputs with each cell. Cells depend on sizes
alone, so a suspect's scores are a function of it and of what was fixed before the bits, and the
p of `stats.bit_test` is exact.

Every bit is read from served outputs. A convolution does the same at every position, so a copy
cannot learn a pattern that is tied to positions, except where it sees the border of the image,
by the zeros with which networks pad. A few convolutions see it from few pixels; a U-Net sees
it from everywhere in a small image, and learns the whole pattern (`tests/schemes/barrier`).
"""

import numpy as np

from anw_jax import _check
from anw_jax.keys import Bits


def add_pattern(bits: Bits, outputs: np.ndarray, psnr: float) -> np.ndarray:
    """Mark outputs with the bits of a key.

    Args:
      bits: of the key. **Secret**.
      outputs: uint8 `[n, H, W, 3]`.
      psnr: of marked outputs against outputs, in dB, before clipping and rounding.

    Returns:
      uint8 of the same shape, clipped and rounded.

    Raises:
      ValueError: more bits than fit into a grid of pixels.
    """
    outputs = _check.uint8_images(outputs=outputs)
    height, width = outputs.shape[1:3]
    signs = bits.signs[cells(len(bits), height, width)]
    change = 255.0 * 10.0 ** (-_check.positive(psnr=psnr) / 20.0) * signs[..., None]
    return np.rint(np.clip(outputs + change, 0.0, 255.0)).astype(np.uint8)


def read_pattern(own: np.ndarray, outputs: np.ndarray, num_bits: int) -> np.ndarray:
    """Correlate a suspect's outputs, less the own unmarked ones, with the cell of each bit.

    Args:
      own: uint8 `[n, H, W, 3]`, committed to before the bits.
      outputs: of the suspect for the same queries, float in [0, 1], of the same shape.
      num_bits: of the key.

    Returns:
      float64 `[num_bits]`, positive where the suspect says y = 1; in units of a pattern whose
      mean square over the image is 1, as the scores of the filters are.

    Raises:
      ValueError: images of two shapes; more bits than fit into a grid of pixels.
    """
    own = _check.uint8_images(own=own)
    if own.shape != outputs.shape:
        raise ValueError(
            f"own and outputs must have one shape, got {own.shape} and {outputs.shape}"
        )
    cell_of = cells(num_bits, *own.shape[1:3]).ravel()
    difference = (np.asarray(outputs, np.float64) - own / 255.0).mean(axis=(0, 3))
    sums = np.bincount(cell_of, weights=difference.ravel())
    return sums / np.bincount(cell_of) / np.sqrt(num_bits)


def cells(num_bits: int, height: int, width: int) -> np.ndarray:
    """Return the number of the bit that each pixel belongs to, int `[height, width]`.

    The grid is as square as can be; cells that are left over take the first bits once more.

    Raises:
      ValueError: more bits than fit into a grid of pixels.

    Example:
      >>> cells(4, 4, 6).tolist()[1:3]
      [[0, 0, 0, 1, 1, 1], [2, 2, 2, 3, 3, 3]]
    """
    num_bits = _check.integer_at_least(1, num_bits=num_bits)
    columns = int(np.ceil(np.sqrt(num_bits)))
    rows = -(-num_bits // columns)
    if rows > height or columns > width:
        raise ValueError(
            f"num_bits must fit into a grid of {height} x {width} pixels, got {num_bits}"
        )
    row_of, column_of = np.arange(height) * rows // height, np.arange(width) * columns // width
    return (row_of[:, None] * columns + column_of) % num_bits
