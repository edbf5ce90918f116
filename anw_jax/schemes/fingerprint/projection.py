"""Keyed random projections of the weights, without a matrix.

* "hadamard": signs, a Hadamard transform, a choice of rows. All entries are ±1 / √n and rows
  are orthonormal, so that the smallest change that moves the projection by v is the adjoint of
  v; n log n operations (the subsampled randomised Hadamard transform, Ailon & Chazelle 2009,
  https://doi.org/10.1137/060673096).
* "spread": independent ±1 / √n rows, made one at a time: the spread spectrum of TATTOOED
  (https://arxiv.org/abs/2202.06091), without its error-correcting code. The baseline.
"""

import functools
import hashlib
from collections.abc import Iterator

import numpy as np
import scipy.linalg

KINDS = ("hadamard", "spread")

# The transform is a product of transforms of at most this length.
_BLOCK = 256

_TAG = b"anw_jax/v1/fingerprint-projection\0"


def project(kind: str, seed: str, values: np.ndarray, num_rows: int) -> np.ndarray:
    """Project values on the rows of a key.

    Args:
      kind: of `KINDS`.
      seed: 64 hex digits.
      values: float64 `[n]`, n a power of two.
      num_rows: at most n.

    Returns:
      float64 `[num_rows]`.
    """
    if kind == "spread":
        return np.array([row @ values for row in _rows(seed, len(values), num_rows)])
    signs, chosen = _hadamard(seed, len(values), num_rows)
    return hadamard(signs * values)[chosen] / np.sqrt(len(values))


def spread(kind: str, seed: str, rows: np.ndarray, num_values: int) -> np.ndarray:
    """Return the weighted sum of the rows of a key, `[num_values]`: the adjoint of `project`.

    Example:
      >>> rows = np.arange(5.0)
      >>> values = spread("hadamard", "0f" * 32, rows, 64)
      >>> bool(np.allclose(project("hadamard", "0f" * 32, values, 5), rows))
      True
    """
    if kind == "spread":
        total = np.zeros(num_values)
        for weight, row in zip(rows, _rows(seed, num_values, len(rows)), strict=True):
            total += weight * row
        return total
    signs, chosen = _hadamard(seed, num_values, len(rows))
    full = np.zeros(num_values)
    full[chosen] = rows
    return signs * hadamard(full) / np.sqrt(num_values)


@functools.lru_cache(maxsize=4)
def places(seed: str, num_all: int, num_chosen: int) -> np.ndarray:
    """Choose and order `num_chosen` of `num_all` weights by a key, int64."""
    return _ordered(seed, f"places of {num_all}", num_all, num_chosen)


def hadamard(values: np.ndarray) -> np.ndarray:
    """Return the Walsh-Hadamard transform of a vector whose length is a power of two.

    Example:
      >>> hadamard(np.array([1.0, 2.0, 3.0, 5.0])).tolist()
      [11.0, -3.0, -5.0, 1.0]
    """
    found, done = np.array(values, np.float64), 1
    while done < len(found):
        size = min(_BLOCK, len(found) // done)
        found = scipy.linalg.hadamard(size) @ found.reshape(-1, size, done)
        found, done = found.reshape(-1), done * size
    return found


@functools.lru_cache(maxsize=4)
def _hadamard(seed: str, num_values: int, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    signs = _signs(seed, f"signs of {num_values}", num_values)
    signs.flags.writeable = False
    return signs, _ordered(seed, f"rows of {num_values}", num_values, num_rows)


def _rows(seed: str, num_values: int, num_rows: int) -> Iterator[np.ndarray]:
    for number in range(num_rows):
        signs = _signs(seed, f"row {number} of {num_values}", num_values)
        yield signs / np.sqrt(num_values)


def _signs(seed: str, use: str, count: int) -> np.ndarray:
    bits = np.unpackbits(np.frombuffer(_bytes(seed, use, -(-count // 8)), np.uint8))
    return bits[:count] * 2.0 - 1.0


def _ordered(seed: str, use: str, count: int, num_chosen: int) -> np.ndarray:
    """Return the places of the `num_chosen` smallest of `count` keyed numbers."""
    numbers = np.frombuffer(_bytes(seed, use, 8 * count), "<u8")
    found = np.argsort(numbers, kind="stable")[:num_chosen].copy()
    found.flags.writeable = False
    return found


def _bytes(seed: str, use: str, count: int) -> bytes:
    """Return keyed bytes that are the same with every version of NumPy."""
    return hashlib.shake_256(_TAG + bytes.fromhex(seed) + use.encode()).digest(count)
