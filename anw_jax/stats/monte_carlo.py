"""The Monte-Carlo twin of the exact test."""

import numpy as np

from anw_jax import _check
from anw_jax.keys import Assignment
from anw_jax.stats.exact import quantise
from anw_jax.stats.scores import DEFAULT_STATISTIC, score_units
from anw_jax.stats.testing import observed_sum


def monte_carlo_test(
    loss_table: np.ndarray,
    assignment: Assignment,
    *,
    num_draws: int = 9_999,
    seed: int,
    statistic: str = DEFAULT_STATISTIC,
) -> float:
    """Estimates the exact p by drawing slots afresh: p = (1 + b) / (1 + B).

    Valid for every B (Phipson and Smyth 2010, https://doi.org/10.2202/1544-6115.1585), and
    never below 1 / (1 + B). A diagnostic: it checks the convolution.

    Args:
      loss_table: float `[num_images, num_slots]` nats.
      assignment: the units and their secret slots.
      num_draws: B, at least 1.
      seed: public seed, at least 0.
      statistic: a name of `STATISTICS`.

    Returns:
      The p-value.
    """
    _check.integer_at_least(1, num_draws=num_draws)
    _check.integer_at_least(0, seed=seed)
    integers = quantise(score_units(loss_table, assignment, statistic))
    observed = observed_sum(integers, assignment)
    rng = np.random.default_rng(seed)
    at_least = 0
    batch = max(1, 2**22 // len(integers))
    for start in range(0, num_draws, batch):
        count = min(batch, num_draws - start)
        draws = rng.integers(0, integers.shape[1], (count, len(integers)))
        sums = integers[np.arange(len(integers)), draws].sum(axis=1)
        at_least += int((sums >= observed).sum())
    return (1 + at_least) / (1 + num_draws)
