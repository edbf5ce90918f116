"""Codes of the literature, for comparison: AND-ACC block designs and Tardos codes.

**AND-ACC** (Trappe, Wu, Wang & Liu 2003, https://doi.org/10.1109/TSP.2003.809378): each code is
the complement of a block of a (v, k, 1) design. Two blocks share at most one point, so k - 1
blocks can never cover another one, and the AND of up to k - 1 codes tells whose they are. These
codes are not independent: the guarantee is that of the design, and there is no p.

**Tardos** (2003; symmetric score of Skoric et al. 2008, https://arxiv.org/abs/cs/0607131): the
bits of one place have a common bias, drawn once. Given the biases, an innocent customer's score
is a sum of independent terms, so its tail is exact.
"""

import itertools

import numpy as np

from anw_jax import _check
from anw_jax.stats import quantise
from anw_jax.stats.exact import convolve_all

# Name: bits of a group. 304 bits are 19 groups of the smaller design.
DESIGNS = {"31,6,1": 31, "16,4,1": 16}

# Differences of this set modulo 31 are all different (Singer 1938): lines of PG(2, 5).
_SINGER_31 = (1, 5, 11, 24, 25, 27)
# Multiplication in GF(4), elements 0, 1, x, x + 1.
_TIMES_4 = ((0, 0, 0, 0), (0, 1, 2, 3), (0, 2, 3, 1), (0, 3, 1, 2))

_EPS = float(np.finfo(np.float64).eps)


def and_acc_codes(design: str) -> np.ndarray:
    """Return the codes of a design.

    Args:
      design: of `DESIGNS`: "31,6,1" resists 5 colluders, "16,4,1" resists 3.

    Returns:
      int8 `[users, bits]` of 0 and 1: the complement of each block.

    Example:
      >>> and_acc_codes("31,6,1").shape, and_acc_codes("16,4,1").shape
      ((31, 31), (20, 16))
    """
    num_points = DESIGNS[_check.one_of(DESIGNS, design=design)]
    codes = np.ones((len(_blocks(design)), num_points), np.int8)
    for code, block in zip(codes, _blocks(design), strict=True):
        code[list(block)] = 0
    return codes


def grouped_codes(design: str, num_bits: int) -> np.ndarray:
    """Return codes of several groups: a group's places, -1 where a user is not in the group.

    Args:
      design: of `DESIGNS`.
      num_bits: of a code; places beyond the last whole group stay unused.

    Returns:
      int8 `[users, num_bits]` of 0, 1 and -1 (no signal).

    Example:
      >>> grouped_codes("16,4,1", 304).shape, grouped_codes("31,6,1", 304).shape
      ((380, 304), (279, 304))
    """
    own = and_acc_codes(design)
    num_groups = num_bits // own.shape[1]
    if num_groups < 1:
        raise ValueError(f"num_bits must be at least {own.shape[1]}, got {num_bits}")
    codes = np.full((num_groups, len(own), num_bits), -1, np.int8)
    for group in range(num_groups):
        codes[group, :, group * own.shape[1] : (group + 1) * own.shape[1]] = own
    return codes.reshape(-1, num_bits)


def named_by_and(codes: np.ndarray, combined: np.ndarray) -> list[int]:
    """Return the users whose codes hold every 1 of an AND of codes.

    For at most k - 1 colluders of a design these are exactly the colluders.

    Args:
      codes: `[users, bits]` of one group.
      combined: `[bits]` of 0 and 1, the AND of the colluders' codes.

    Example:
      >>> codes = and_acc_codes("16,4,1")
      >>> named_by_and(codes, codes[2] & codes[7] & codes[11])
      [2, 7, 11]
    """
    return [int(n) for n in np.flatnonzero((codes >= combined).all(axis=1))]


def tardos_biases(num_bits: int, colluders: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the bias of each place, in (t, 1 - t) with t = 1 / (300 colluders).

    Example:
      >>> biases = tardos_biases(304, 5, np.random.default_rng(0))
      >>> bool((biases > 0).all() and (biases < 1).all())
      True
    """
    colluders = _check.integer_at_least(1, colluders=colluders)
    cut = 1.0 / (300.0 * colluders)
    low = np.arcsin(np.sqrt(cut))
    return np.sin(rng.uniform(low, np.pi / 2 - low, num_bits)) ** 2


def tardos_scores(biases: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return the symmetric scores: what a bit of 0, and of 1, adds where `found` was read.

    Args:
      biases: `[num_bits]`.
      found: `[num_bits]` of 0 and 1, as read from a suspect.

    Returns:
      float64 `[num_bits, 2]`; mean 0 and variance 1 for innocents.
    """
    gain, loss = np.sqrt((1 - biases) / biases), np.sqrt(biases / (1 - biases))
    as_one = np.stack([-loss, gain], axis=1)
    return np.where(found[:, None] == 1, as_one, -as_one)


def tardos_log10_p(biases: np.ndarray, found: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Compute log10 p of each code: the exact tail of the symmetric score given the biases.

    Args:
      biases: `[num_bits]`.
      found: `[num_bits]` of 0 and 1, as read from a suspect.
      codes: `[n, num_bits]` of 0 and 1.

    Returns:
      float64 `[n]`; the error bound is added, so that values near -11 are the smallest.
    """
    integers = quantise(tardos_scores(biases, found))
    rows = [
        np.bincount(pair, weights=(1 - bias, bias))
        for pair, bias in zip(integers, biases, strict=True)
    ]
    pmf, error = convolve_all(rows)
    error += 4 * _EPS * integers.size
    survival = np.minimum(1.0, np.cumsum(pmf[::-1])[::-1] * (1 + len(pmf) * _EPS) + error)
    observed = integers[np.arange(len(biases)), codes].sum(axis=1)
    return np.minimum(0.0, np.log10(survival[observed]))


def _blocks(design: str) -> list[tuple[int, ...]]:
    if design == "31,6,1":
        return [tuple((p + shift) % 31 for p in _SINGER_31) for shift in range(31)]
    slopes = [
        tuple(4 * x + (_TIMES_4[slope][x] ^ start) for x in range(4))
        for slope, start in itertools.product(range(4), range(4))
    ]
    return [*slopes, *(tuple(4 * x + y for y in range(4)) for x in range(4))]
