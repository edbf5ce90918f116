"""Radioactive data: photos whose features lean towards a secret direction, and the test for it.

Sablayrolles, Douze, Schmid, Jégou 2020, https://arxiv.org/abs/2002.00937, in its white-box
form: the test needs the suspect's weights. Each class has a secret random unit vector, its
carrier. Marking moves photos of a class, within a few grey levels, so that their features in
a marking network move along that carrier; a network trained on them comes to have classifier
weights that lean the same way.

Sign convention: **a positive cosine is evidence**; p = P(cosine of a random carrier ≥ seen).

What the p-values need: carriers drawn at random and fixed before training. What they do not
cover: who else knew the carriers. Carriers here come from a NumPy seed: an experiment's,
not evidence.
"""

import dataclasses
from typing import Any

import numpy as np
import scipy.special
import scipy.stats

from anw_jax import _check


def draw_carriers(seed: int, num_classes: int, num_features: int) -> np.ndarray:
    """One random direction per class, uniform on the sphere.

    Args:
      seed: of the draw; the secret.
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
    """P(a random direction has at least this cosine with a fixed one), exact.

    In d dimensions the squared cosine is Beta(1/2, (d - 1)/2), so the tail is half the
    regularised incomplete beta function of 1 - cosine² with parameters (d - 1)/2 and 1/2, as
    the paper has it.

    ===========  =======================
    cosine       tail
    ===========  =======================
    -1           1
    0            0.5
    1            0
    d = 2        arccos(cosine) / pi
    d = 3        (1 - cosine) / 2
    NaN          1 (no direction at all)
    ===========  =======================

    Args:
      cosine: in [-1, 1]; beyond by rounding is taken as the end.
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
    # (1 - c)(1 + c) keeps the digits that 1 - c² loses near 1.
    outside = (1.0 - abs(cosine)) * (1.0 + abs(cosine))
    half = 0.5 * float(scipy.special.betainc((num_features - 1) / 2, 0.5, outside))
    return half if cosine >= 0.0 else 1.0 - half


@dataclasses.dataclass(frozen=True, eq=False)
class RadioactiveTest:
    """What the white-box test found.

    Attributes:
      cosines: float64 `[c]`, of each class's aligned weights with its carrier; NaN where a
        class has no weights.
      p_values: float64 `[c]`, tails under a random carrier.
      log10_p: of all classes together, by Fisher's method.
      num_features: d of the marking network.
      residual: share of the suspect's features that the alignment leaves unexplained, in
        [0, 1]; near 1 the test says nothing.
    """

    cosines: np.ndarray
    p_values: np.ndarray
    log10_p: float
    num_features: int
    residual: float

    @property
    def p_value(self) -> float:
        """Of all classes together; 0 where it underflows."""
        return 10.0**self.log10_p

    def plain(self) -> dict[str, Any]:
        """Its numbers as plain values; the mean and std are those of Table 1.

        A cosine that is not there is None, as are mean and std where none is.
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
    """The linear map from the marking network's features to the suspect's.

    Least squares: suspect ≈ marking @ X. With fewer photos than features it is the smallest
    such map.

    Args:
      marking_features: float `[n, d]`, photos neither network was trained on.
      suspect_features: float `[n, e]`, the same photos.

    Returns:
      `(X, residual)`: float64 `[d, e]`, and the share of the suspect's squared features left
      unexplained, in [0, 1].

    Raises:
      ValueError: if there are not as many photos in both, or features are not finite.
    """
    marking = _finite_matrix(marking_features=marking_features)
    suspect = _finite_matrix(suspect_features=suspect_features)
    if len(marking) != len(suspect):
        raise ValueError(
            f"suspect_features must be of the same {len(marking)} photos as marking_features, "
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
    """Whether a suspect's classifier weights lean towards the carriers.

    Where suspect ≈ marking @ X, a logit `suspect @ w` is about `marking @ (X w)`: X w are the
    class's weights in the marking network's space, where its carrier lives. Given the weights,
    the carriers of an innocent suspect are uniform and independent, so the tails are exact
    whatever the alignment is worth, and Fisher's method combines them.

    Args:
      carriers: float `[c, d]`, unit rows.
      class_weights: float `[e, c]`, the suspect's last kernel (logits = features @ kernel + b).
      marking_features: float `[n, d]`, see `align`.
      suspect_features: float `[n, e]`, see `align`.

    Returns:
      The result.

    Raises:
      ValueError: if shapes do not fit or a carrier has not length 1.

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
    """log10 of the combined p of independent p-values (Fisher 1925), without underflow of it.

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
    # With 2k degrees of freedom the tail is that of k events of a Poisson: a sum of k terms.
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
