"""The null distribution of a test, binned for a figure."""

from collections.abc import Sequence

import numpy as np

from anw_jax.keys import Units
from anw_jax.stats.bits import bit_integers
from anw_jax.stats.exact import ExactNull, quantise
from anw_jax.stats.scores import score_units

_MOST_BINS = 400


def null_shape(
    loss_table: np.ndarray,
    units: Units,
    statistic: str,
    references: Sequence[np.ndarray] = (),
) -> dict[str, np.ndarray]:
    """Bin the null distribution of a statistic, in its standard deviations.

    Args:
      loss_table: float `[num_images, num_slots]` nats.
      units: the unit of each image.
      statistic: its name.
      references: tables of reference models; see `score_units`.

    Returns:
      "z" and "probability", float64 `[num_bins]`; a single bin at 0 where the null is constant.

    Example:
      >>> from anw_jax.keys import SignatureSpace
      >>> units = Units(np.arange(2), SignatureSpace(3), "per_image")
      >>> shape = null_shape(np.array([[0, 1, 2], [0, 2, 1.0]]), units, "ranks")
      >>> shape["probability"][shape["probability"] > 0].tolist()
      [0.25, 0.5, 0.25]
    """
    return _binned(ExactNull(quantise(score_units(loss_table, units, statistic, references))))


def bit_null_shape(scores: np.ndarray, statistic: str) -> dict[str, np.ndarray]:
    """Bin the null distribution of a test of secret bits; see `null_shape`.

    Args:
      scores: float `[num_bits]`, as `bit_test` takes them.
      statistic: a name of `BIT_STATISTICS`.

    Example:
      >>> shape = bit_null_shape(np.array([1.0, -1.0]), "bit_signs")
      >>> shape["probability"][shape["probability"] > 0].tolist()
      [0.25, 0.5, 0.25]
    """
    return _binned(ExactNull(bit_integers(scores, statistic)))


def _binned(null: ExactNull) -> dict[str, np.ndarray]:
    if not null.std > 0:
        return {"z": np.zeros(1), "probability": np.ones(1)}
    z = (np.arange(len(null.pmf)) - null.mean) / null.std
    edges = np.linspace(z[0], z[-1], min(len(z), _MOST_BINS) + 1)
    probability, _ = np.histogram(z, edges, weights=null.pmf)
    return {"z": (edges[:-1] + edges[1:]) / 2, "probability": probability}
