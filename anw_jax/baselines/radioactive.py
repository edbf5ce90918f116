"""Radioactive data: images whose features lean towards a secret direction, and the test.

Sablayrolles, Douze, Schmid, Jégou 2020, https://arxiv.org/abs/2002.00937, in its white-box
form: the test needs the suspect's weights. Each class has a secret random unit vector, its
carrier. Marking changes images of a class by a few grey levels so that their features in a
marking network move along the carrier; the classifier weights of a network trained on them
lean the same way.

Sign convention: **a positive cosine is evidence**; p = P(cosine of a random carrier ≥ seen).

The p-values assume carriers that were drawn at random and fixed before training, and that
no one else knew them. Carriers here come from a NumPy seed: for experiments, not evidence.
"""

import dataclasses
from typing import Any

import numpy as np
import scipy.special
import scipy.stats

from anw_jax import _check


def draw_carriers(seed: int, num_classes: int, num_features: int) -> np.ndarray:
    """Draw one random direction per class, uniform on the sphere.

    Args:
      seed: the secret seed of the draw.
      num_classes: c.
      num_features: d, at least 2.

    Returns:
      float64 `[c, d]`, rows of length 1.

    Raises:
      ValueError: if a number is too small.

    Example:
      >>> carriers = draw_carriers(0, num_classes=3, num_features=5)
      >>> carriers.shape, np.linalg.norm(carriers, axis=1).round(6).tolist()
      ((3, 5), [1.0, 1.0, 1.0])
    """
    _check.integer_at_least(0, seed=seed)
    _check.integer_at_least(1, num_classes=num_classes)
    _check.integer_at_least(2, num_features=num_features)
    normal = np.random.default_rng(seed).normal(size=(num_classes, num_features))
    return normal / np.linalg.norm(normal, axis=1, keepdims=True)


def cosine_tail(cosine: float, num_features: int) -> float:
    """Return P(a random direction has at least this cosine with a fixed one), exact.

    In d dimensions the squared cosine is Beta(1/2, (d - 1)/2), so the tail is half the
    regularised incomplete beta function of 1 - cosine² with parameters (d - 1)/2 and 1/2, as
    in the paper.

    ===========  =======================
    cosine       tail
    ===========  =======================
    -1           1
    0            0.5
    1            0
    d = 2        arccos(cosine) / pi
    d = 3        (1 - cosine) / 2
    NaN          1 (no direction)
    ===========  =======================

    Args:
      cosine: in [-1, 1]; values beyond, from rounding, are clipped.
      num_features: d, at least 2.

    Returns:
      In [0, 1].

    Raises:
      ValueError: if d is below 2.

    Example:
      >>> round(cosine_tail(0.5, 2), 6), round(cosine_tail(0.5, 3), 6)
      (0.333333, 0.25)
    """
    _check.integer_at_least(2, num_features=num_features)
    if np.isnan(cosine):
        return 1.0
    cosine = float(np.clip(cosine, -1.0, 1.0))
    # (1 - c)(1 + c) is more accurate than 1 - c² near 1.
    outside = (1.0 - abs(cosine)) * (1.0 + abs(cosine))
    half = 0.5 * float(scipy.special.betainc((num_features - 1) / 2, 0.5, outside))
    return half if cosine >= 0.0 else 1.0 - half


@dataclasses.dataclass(frozen=True, eq=False)
class RadioactiveTest:
    """The result of the white-box test.

    Attributes:
      cosines: float64 `[c]`, of each class's aligned weights with its carrier; NaN where a
        class's weights are 0.
      p_values: float64 `[c]`, tail probabilities for a random carrier.
      log10_p: log10 of the combined p of all classes, by Fisher's method.
      num_features: d of the marking network.
      residual: share of the suspect's features that the alignment leaves unexplained, in
        [0, 1]; near 1 the test has no power.
    """

    cosines: np.ndarray
    p_values: np.ndarray
    log10_p: float
    num_features: int
    residual: float

    @property
    def p_value(self) -> float:
        """The combined p of all classes; 0 where it underflows."""
        return 10.0**self.log10_p

    def plain(self) -> dict[str, Any]:
        """Return plain values; mean and standard deviation are those of Table 1.

        A cosine that is NaN is None, and so are mean and standard deviation of none.
        """
        there = self.cosines[~np.isnan(self.cosines)]
        return {
            "cosine_mean": float(there.mean()) if there.size else None,
            "cosine_std": float(there.std()) if there.size else None,
            "cosines": [None if np.isnan(each) else float(each) for each in self.cosines],
            "log10_p": self.log10_p,
            "p_value": self.p_value,
            "num_features": self.num_features,
            "residual": self.residual,
        }


def align(
    marking_features: np.ndarray, suspect_features: np.ndarray
) -> tuple[np.ndarray, float]:
    """Fit the linear map from the marking network's features to the suspect's.

    Least squares: suspect ≈ marking @ X. With fewer images than features it is the smallest
    solution.

    Args:
      marking_features: float `[n, d]`, of images that neither network was trained on.
      suspect_features: float `[n, e]`, of the same images.

    Returns:
      `(X, residual)`: float64 `[d, e]`, and the share of the suspect's squared features left
      unexplained, in [0, 1].

    Raises:
      ValueError: if the numbers of images differ, or features are not finite.
    """
    marking = _finite_matrix(marking_features=marking_features)
    suspect = _finite_matrix(suspect_features=suspect_features)
    if len(marking) != len(suspect):
        raise ValueError(
            f"suspect_features must be of the same {len(marking)} images as marking_features, "
            f"got {len(suspect)}"
        )
    solution = np.linalg.lstsq(marking, suspect, rcond=None)[0]
    unexplained = np.linalg.norm(marking @ solution - suspect) ** 2
    total = np.linalg.norm(suspect) ** 2
    return solution, float(unexplained / total) if total > 0 else 0.0


def white_box_test(
    carriers: np.ndarray,
    class_weights: np.ndarray,
    marking_features: np.ndarray,
    suspect_features: np.ndarray,
) -> RadioactiveTest:
    """Test whether a suspect's classifier weights lean towards the carriers.

    Where suspect ≈ marking @ X, a logit `suspect @ w` is about `marking @ (X w)`: X w are the
    class's weights in the marking network's feature space. Given the weights of an innocent
    suspect, the carriers are uniform and independent, so the tail probabilities are exact
    however good the alignment is, and Fisher's method combines them.

    Args:
      carriers: float `[c, d]`, unit rows.
      class_weights: float `[e, c]`, the suspect's last kernel (logits = features @ kernel + b).
      marking_features: float `[n, d]`, see `align`.
      suspect_features: float `[n, e]`, see `align`.

    Returns:
      The result.

    Raises:
      ValueError: if shapes do not fit or a carrier does not have length 1.

    Example:
      >>> carriers = draw_carriers(0, 4, 16)
      >>> features = np.random.default_rng(1).normal(size=(99, 16))
      >>> leaning = white_box_test(carriers, carriers.T, features, features)
      >>> leaning.cosines.round(3).tolist(), leaning.log10_p < -50
      ([1.0, 1.0, 1.0, 1.0], True)
    """
    carriers = _finite_matrix(carriers=carriers)
    kernel = _finite_matrix(class_weights=class_weights)
    if not np.allclose(np.linalg.norm(carriers, axis=1), 1.0, atol=1e-4):
        raise ValueError("carriers must have rows of length 1")
    solution, residual = align(marking_features, suspect_features)
    wanted = (solution.shape[1], len(carriers))
    if kernel.shape != wanted or carriers.shape[1] != solution.shape[0]:
        raise ValueError(
            "class_weights must have shape (suspect features, classes) and carriers (classes, "
            f"marking features) for features {solution.shape[::-1]}, got {kernel.shape} and "
            f"{carriers.shape}"
        )
    weights = (solution @ kernel).T
    lengths = np.linalg.norm(weights, axis=1)
    products = (weights * carriers).sum(axis=1)
    nothing = np.full(len(lengths), np.nan)
    cosines = np.divide(products, lengths, out=nothing, where=lengths > 0)
    p_values = np.array([cosine_tail(cosine, carriers.shape[1]) for cosine in cosines])
    return RadioactiveTest(
        cosines=cosines,
        p_values=p_values,
        log10_p=fisher_log10(p_values),
        num_features=carriers.shape[1],
        residual=residual,
    )


def fisher_log10(p_values: np.ndarray) -> float:
    """Return log10 of the combined p of independent p-values (Fisher 1925).

    Args:
      p_values: float `[c]` in [0, 1]; 0 is taken as the smallest positive float.

    Returns:
      At most 0.

    Raises:
      ValueError: if there are none, or one is not in [0, 1].

    Example:
      >>> round(fisher_log10(np.array([0.1])), 6), round(fisher_log10(np.array([1.0, 1.0])), 6)
      (-1.0, 0.0)
    """
    p_values = _check.unit_range(p_values=np.asarray(p_values, np.float64))
    _check.integer_at_least(1, num_p_values=p_values.size)
    statistic = -2.0 * np.log(np.maximum(p_values, np.finfo(np.float64).tiny)).sum()
    return min(0.0, _log10_chi2_tail(float(statistic), p_values.size))


def _log10_chi2_tail(statistic: float, half_degrees: int) -> float:
    # With 2k degrees of freedom this is a Poisson probability of fewer than k events.
    half = statistic / 2.0
    if half == 0.0:
        return 0.0
    counts = np.arange(half_degrees)
    terms = counts * np.log(half) - scipy.special.gammaln(counts + 1) - half
    return float(scipy.special.logsumexp(terms) / np.log(10.0))


def _finite_matrix(**named: Any) -> np.ndarray:
    ((name, value),) = named.items()
    matrix = np.asarray(value, np.float64)
    if matrix.ndim != 2 or not matrix.size:
        raise ValueError(f"{name} must be a matrix, got shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name} must be finite")
    return matrix
