"""Keyed inputs: pictures of random black and white squares, like QR codes, or random text.

Any keyed bit matrix serves the purpose of a QR code: nobody trains on such pictures by chance,
and no two keys share one. All bits come from SHAKE-256 of a seed, so that owner and arbitrator
draw the same pictures on every machine.
"""

import hashlib

import numpy as np

from anw_jax import _check
from anw_jax.keys.digests import length_prefixed

_TAG = b"anw_jax/v1/multitask\0"


def random_bits(seed: str, use: str, count: int) -> np.ndarray:
    """Draw uint8 `[count]` of 0 and 1 from SHAKE-256(tag ‖ seed ‖ use).

    Args:
      seed: hexadecimal digits.
      use: what the bits are for; different uses share no bits.
      count: number of bits.

    Example:
      >>> random_bits("0f" * 32, "inputs", 6).tolist()
      [1, 0, 1, 1, 1, 0]
    """
    message = _TAG + length_prefixed([bytes.fromhex(seed), use.encode()])
    digits = hashlib.shake_256(message).digest(-(-count // 8))
    return np.unpackbits(np.frombuffer(digits, np.uint8), count=count)


def grids(
    seed: str, use: str, count: int, image_shape: tuple[int, int, int], modules: int
) -> np.ndarray:
    """Draw pictures of `modules` x `modules` black or white squares.

    Args:
      seed: hexadecimal digits.
      use: "inputs" or "probes".
      count: number of pictures.
      image_shape: `(H, W, 3)`; where H is no multiple of `modules`, squares differ by a pixel.
      modules: squares along each side, at least 2, at most H and W.

    Returns:
      float32 `[count, H, W, 3]`, each value 0 or 1.

    Raises:
      ValueError: more squares than pixels.

    Example:
      >>> grids("0f" * 32, "inputs", 2, (8, 8, 3), 4).shape
      (2, 8, 8, 3)
    """
    height, width, _ = image_shape
    check_modules(image_shape, modules)
    bits = random_bits(seed, use, count * modules * modules)
    cells = bits.reshape(count, modules, modules).astype(np.float32)
    rows, columns = (np.arange(size) * modules // size for size in (height, width))
    return np.repeat(cells[:, rows][:, :, columns, None], 3, axis=3)


def check_modules(image_shape: tuple[int, int, int], modules: int) -> None:
    """Raise TypeError or ValueError for fewer squares than two, or more than pixels."""
    most = min(image_shape[:2])
    if _check.integer_at_least(2, modules=modules) > most:
        raise ValueError(f"modules must be at most the {most} pixels of a side, got {modules}")


def sequences(seed: str, use: str, count: int, length: int, vocabulary: int) -> np.ndarray:
    """Draw sequences of random tokens, the keyed inputs of a text model.

    Args:
      seed: hexadecimal digits.
      use: "inputs" or "probes".
      count: number of sequences.
      length: tokens of each.
      vocabulary: number of different tokens, 2 to 2^20.

    Returns:
      int32 `[count, length]`, each from 0 to vocabulary - 1, uniform to within 2^-12.

    Example:
      >>> sequences("0f" * 32, "inputs", 2, 4, 100).shape
      (2, 4)
    """
    bits = random_bits(seed, use, count * length * 32)
    drawn = np.packbits(bits).view(">u4").astype(np.uint64) % np.uint64(vocabulary)
    return drawn.astype(np.int32).reshape(count, length)
