"""The room's random draws: the same on every platform and JAX version it supports."""

import jax
import numpy as np

from anw_jax import _check


def check_seed(seed: int) -> int:
    """An integer in [0, 2**32), so that no two seeds fall together."""
    seed = _check.integer_at_least(0, seed=seed)
    if seed >= 2**32:
        raise ValueError(f"seed must be below 2**32, got {seed}")
    return seed


def permutation(seed: int, stream: int, num: int) -> np.ndarray:
    """Int32 permutation `[num]` number `stream` of `seed`."""
    # The implementation is named because JAX's default is a setting of the caller's.
    key = jax.random.fold_in(jax.random.key(int(seed), impl="threefry2x32"), stream)
    return np.asarray(jax.random.permutation(key, num)).astype(np.int32)
