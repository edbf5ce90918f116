"""Read scores from a suspect, with the committed carrier and w_base alone.

* "non-blind": the projection of the suspect's weights minus those of w_base.
* "blind": the projection of the suspect's weights; w_base is not used.
* "aligned": non-blind, after the suspect's channels were permuted and scaled to fit w_base.

No argument could carry a code, or anything made after the codes: never another customer's
copy. Whatever the suspect is, its scores are a function of it and of what was fixed before.
"""

from typing import Any

import jax
import numpy as np
import scipy.optimize

from anw_jax import _check
from anw_jax.models import by_path, from_paths
from anw_jax.schemes.fingerprint.carrier import READINGS, Carrier, kernels
from anw_jax.schemes.fingerprint.embed import check_same_shapes, relative_projection
from anw_jax.schemes.fingerprint.symmetries import Group, groups_of, permuted

# Rounds of matching and of fitting scales; both settle after two.
_ROUNDS = 3


def extract(
    carrier: Carrier, base: dict[str, Any], suspect: dict[str, Any], reading: str
) -> np.ndarray:
    """Read one score for each row of the projection.

    Args:
      carrier: of the issue.
      base: weights of the clean model w_base, which `carrier.check_base` has accepted.
      suspect: weights of the suspect.
      reading: of `READINGS`.

    Returns:
      float64 `[num_rows]`, positive where the suspect says 1: first the bits of the customer's
      code, then the owner's (`customer_scores`, `owner_scores`).

    Raises:
      ValueError: a suspect of another architecture, or with weights that are not finite.
    """
    _check.one_of(READINGS, reading=reading)
    if reading == "blind":
        own = kernels(suspect, carrier.layers)
        check_same_shapes(own, kernels(base, carrier.layers))
        units = carrier.units(suspect)
        return carrier.project(carrier.gather({n: own[n] / units[n] for n in own}))
    if reading == "aligned":
        suspect = align(suspect, base)
    return relative_projection(carrier, base, suspect)


def customer_scores(carrier: Carrier, scores: np.ndarray) -> np.ndarray:
    """Return the scores of a customer's bits, `[num_bits]`."""
    return scores[: carrier.num_bits]


def owner_scores(carrier: Carrier, scores: np.ndarray) -> np.ndarray:
    """Return the scores of the owner's common mark, `[num_owner_bits]`."""
    return scores[carrier.num_bits :]


def align(suspect: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Permute the channels of a residual network to fit another, then scale its kernels.

    Channels are matched by the angles between kernels, which scales do not change, and kernels
    are then scaled, for each channel that they write and each that they read, by least
    squares. The result is for reading weights only; normalisation is not scaled along.

    Args:
      suspect: weights of the suspect.
      wanted: of the network to fit: w_base, and no other.

    Raises:
      ValueError: a network that is not residual, or of another architecture.
    """
    target = {n: np.asarray(leaf) for n, leaf in by_path(jax.device_get(wanted)).items()}
    own = {n: np.asarray(leaf) for n, leaf in by_path(jax.device_get(suspect)).items()}
    names = [name for name in target if name.endswith("kernel")]
    check_same_shapes(
        kernels(from_paths(own), tuple(names)), kernels(from_paths(target), tuple(names))
    )
    groups = groups_of(from_paths(target))
    matched: set[str] = set()
    for _ in range(_ROUNDS):
        for group in groups:
            own = permuted(own, group, _best_order(own, target, group, matched))
            matched.update(group.readers)
    for name in names:
        if own[name].ndim == 4:
            own[name] = _scaled(own[name], target[name])
    return from_paths(own)


def _best_order(
    own: dict[str, np.ndarray], target: dict[str, np.ndarray], group: Group, matched: set[str]
) -> np.ndarray:
    """Return the order of the suspect's channels that fits best.

    In the first round only kernels whose inputs were matched before count.
    """
    known = [n for n in group.writers if n in matched or n == "params/Conv_0/kernel"]
    similarity = sum(
        _directions(target[name]) @ _directions(own[name]).T for name in known
    ) + np.zeros((1, 1))
    return scipy.optimize.linear_sum_assignment(similarity, maximize=True)[1]


def _directions(kernel: np.ndarray) -> np.ndarray:
    """Return one row of length 1 for each output channel."""
    rows = np.asarray(kernel, np.float64).reshape(-1, kernel.shape[-1]).T
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)


def _scaled(kernel: np.ndarray, target: np.ndarray) -> np.ndarray:
    kernel, target = (np.asarray(one, np.float64) for one in (kernel, target))
    for _ in range(_ROUNDS):
        for axes in ((0, 1, 2), (0, 1, 3)):
            products = (kernel * target).sum(axis=axes, keepdims=True)
            squares = np.square(kernel).sum(axis=axes, keepdims=True)
            kernel = kernel * np.where(squares > 0.0, products / np.maximum(squares, 1e-30), 1)
    return kernel
