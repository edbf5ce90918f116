"""The secret branch c_WM, and the paper's rule: accuracy ≥ γ on the keyed inputs.

A branch that was trained on the bits carries them itself. Its accuracy on a model made without
the mark is an empirical matter, so it has **no p-value**: with as many features as inputs a
branch fits any labels on any network (`forge`). What remains is the paper's rule with its
threshold, and the commitment to the branch, which must be older than the release. The variant
with a p is the fixed projection (`decoder`, `reader`).

The inputs 2k and 2k + 1 have opposite labels; bit k says which of the two has the label 1.
Sizes and steps follow the authors' code (github.com/TemporaryUserNo7/MTL-Sign, Feb_mnist.py):
a perceptron of widths 256 and 32 on the pooled outputs of inner layers.
"""

import dataclasses
import hashlib
import itertools
import math
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.stats

from anw_jax import _check
from anw_jax.errors import CommitmentError
from anw_jax.keys import Bits
from anw_jax.schemes.multitask.decoder import Decoder
from anw_jax.schemes.multitask.penalties import NetworkTapsFn, pooled_flat
from anw_jax.schemes.multitask.reader import flattened, pooled
from anw_jax.schemes.scheme import TapsFn
from anw_jax.schemes.weights import BRANCH, weights_digest
from anw_jax.train.losses import PenaltyFn

Branch = dict[str, dict[str, jax.Array]]

_TAG_BRANCH = b"anw_jax/v1/multitask-branch\0"


@dataclasses.dataclass(frozen=True)
class RuleResult:
    """The paper's rule on one suspect; it has no p-value.

    Attributes:
      accuracy: share of the keyed inputs that the branch labels as the bits say.
      gamma: γ, the least accuracy that passes.
      num_inputs: N, two for each bit.
    """

    accuracy: float
    gamma: float
    num_inputs: int

    @property
    def passes(self) -> bool:
        """Whether the accuracy is at least γ."""
        return self.accuracy >= self.gamma

    def __str__(self) -> str:
        verb = "passes" if self.passes else "fails"
        return (
            f"accuracy {self.accuracy:.3f} on {self.num_inputs} inputs {verb} γ = "
            f"{self.gamma:g} (the paper's rule; a branch that was trained on the bits has no p)"
        )


def input_labels(bits: Bits) -> np.ndarray:
    """Return the labels of the keyed inputs, int32 `[2 num_bits]` of 0 and 1.

    Example:
      >>> input_labels(Bits(np.array([1, -1]))).tolist()
      [1, 0, 0, 1]
    """
    ones = (bits.signs > 0).astype(np.int32)
    return np.stack([ones, 1 - ones], axis=1).ravel()


def input_features(decoder: Decoder, taps_fn: TapsFn) -> np.ndarray:
    """Return the branch's features of the keyed inputs, float32 `[2 num_bits, D]`.

    A value that is not finite counts as 0.
    """
    layers = [pooled(values, decoder.side) for values in taps_fn(decoder.inputs())]
    features = flattened(layers)
    return np.where(np.isfinite(features), features, 0.0).astype(np.float32)


def init_branch(
    key: jax.Array, num_columns: int, widths: tuple[int, ...] = (256, 32)
) -> Branch:
    """Draw the weights of a perceptron from D features to one logit.

    Args:
      key: typed PRNG key.
      num_columns: D.
      widths: of the hidden layers; () for a linear branch.
    """
    sizes = (num_columns, *widths, 1)
    layers = {}
    for number, (fan_in, width) in enumerate(itertools.pairwise(sizes)):
        kernel = jax.random.normal(jax.random.fold_in(key, number), (fan_in, width))
        kernel = kernel * math.sqrt(2.0 / fan_in)
        layers[f"layer_{number}"] = {"kernel": kernel, "bias": jnp.zeros(width)}
    return layers


def branch_logits(branch: Branch, features: jax.Array) -> jax.Array:
    """Return the logit of label 1, float32 `[n]`."""
    x = features
    for number in range(len(branch)):
        layer = branch[f"layer_{number}"]
        x = (jax.nn.relu(x) if number else x) @ layer["kernel"] + layer["bias"][None]
    return x[:, 0]


def branch_loss(branch: Branch, features: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the mean binary cross-entropy in nats."""
    logits = branch_logits(branch, features)
    return optax.sigmoid_binary_cross_entropy(logits, labels.astype(jnp.float32)).mean()


def branch_penalty(
    taps_fn: NetworkTapsFn, decoder: Decoder, bits: Bits, *, inputs: int, weight: float = 1.0
) -> PenaltyFn:
    """Make the watermark loss of a network with its branch, which `params["c_wm"]` holds.

    Args:
      taps_fn: the network's taps.
      decoder: names inputs and taps.
      bits: of the key.
      inputs: watermark inputs per step, drawn anew each step.
      weight: factor.
    """
    keyed = jnp.asarray(decoder.inputs())
    labels = jnp.asarray(input_labels(bits))
    inputs = min(_check.integer_at_least(1, inputs=inputs), len(labels))

    def penalty_fn(
        params: chex.ArrayTree, model_state: chex.ArrayTree, batch: Any, rng: chex.PRNGKey
    ) -> jax.Array:
        rows = jax.random.permutation(rng, len(labels))[:inputs]
        variables = {"params": params, "batch_stats": model_state}
        layers = taps_fn(variables, keyed[rows])
        features = jnp.concatenate([pooled_flat(x, decoder.side) for x in layers], axis=1)
        return weight * branch_loss(params[BRANCH], features, labels[rows])

    return penalty_fn


def branch_digest(branch: Branch) -> str:
    """Compute the SHA-256, as hex, to which the owner commits before the release."""
    return hashlib.sha256(_TAG_BRANCH + bytes.fromhex(weights_digest(branch))).hexdigest()


def apply_rule(
    decoder: Decoder,
    branch: Branch,
    bits: Bits,
    suspect: TapsFn,
    *,
    committed: str,
    gamma: float = 0.8,
) -> RuleResult:
    """Apply the paper's rule to a suspect.

    Args:
      decoder: names inputs and taps; its projection is not used.
      branch: c_WM, as opened.
      bits: of the key.
      suspect: taps of the suspect.
      committed: `branch_digest` from before the release.
      gamma: γ, in (0.5, 1].

    Raises:
      CommitmentError: the branch is not the committed one.
      ValueError: γ out of range, or a suspect with another number of features.
    """
    if branch_digest(branch) != committed:
        raise CommitmentError(
            f"branch must be the one committed to before the release, {committed[:16]}…, got "
            f"{branch_digest(branch)[:16]}…"
        )
    gamma = _check.in_interval(0.5, 1.0, gamma=gamma)
    features = input_features(decoder, suspect)
    expected = branch["layer_0"]["kernel"].shape[0]
    if features.shape[1] != expected:
        raise ValueError(
            f"the suspect must have the {expected} features that the branch reads, got "
            f"{features.shape[1]}: it has another architecture"
        )
    said = np.asarray(branch_logits(branch, jnp.asarray(features)) > 0.0)
    accuracy = float((said == (input_labels(bits) == 1)).mean())
    return RuleResult(accuracy, gamma, len(said))


def check_num_pairs(num_pairs: int, gamma: float, error: float = 2.0**-64) -> None:
    """Check that guesses on all inputs reach γ with at most this probability.

    The labels of a pair are opposite, so whoever guesses them opposite has both right or both
    wrong: pairs count, not inputs. The bound is that of the luckiest way of guessing, in which
    some pairs may have equal guesses, of which one is right.

    Raises:
      ValueError: too few pairs for γ.

    Example:
      >>> check_num_pairs(217, 0.8)
      >>> check_num_pairs(110, 0.8)
      Traceback (most recent call last):
      ValueError: num_bits must be larger for γ = 0.8: guesses on the inputs of 110 bits reach
      it with probability 7.8e-11, above 5.4e-20
    """
    equal = np.arange(num_pairs)
    least = np.ceil(gamma * num_pairs - equal / 2 - 1e-9)
    chance = float(scipy.stats.binom.sf(least - 1, num_pairs - equal, 0.5).max())
    if chance > error:
        raise ValueError(
            f"num_bits must be larger for γ = {gamma:g}: guesses on the inputs of {num_pairs} "
            f"bits reach it with probability {chance:.2g}, above {error:.2g}"
        )


def forge(features: np.ndarray, labels: np.ndarray, num_steps: int = 2_000) -> Branch:
    """Fit a linear branch to any labels on the features of any network: the forgery.

    With N ≤ D + 1 inputs in general position it always reaches accuracy 1, so accuracy alone
    proves nothing there. With six inputs per feature (N ≥ 6 D) it no longer reaches γ = 0.8.

    Args:
      features: float `[N, D]`, of a network that never saw the bits.
      labels: 0 or 1, `[N]`.
      num_steps: steps of gradient descent on the logistic loss, from the least-squares fit.

    Returns:
      A `Branch` without hidden layers.
    """
    centre, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 0.0, scale, 1.0)
    standard = ((features - centre) / scale).astype(np.float64)
    targets = np.asarray(labels, np.float64) * 2 - 1
    design = np.concatenate([standard, np.ones((len(standard), 1))], axis=1)
    weights, *_ = np.linalg.lstsq(design, targets, rcond=None)
    best, best_right = weights, (np.sign(design @ weights) == targets).sum()
    rate = 4.0 * len(design) / np.linalg.norm(design, 2) ** 2
    for _ in range(num_steps):
        margins = np.clip(targets * (design @ weights), -50.0, 50.0)
        weights = weights + rate / len(design) * design.T @ (targets / (1 + np.exp(margins)))
        right = (np.sign(design @ weights) == targets).sum()
        if right > best_right:
            best, best_right = weights.copy(), right
    kernel = best[:-1] / scale
    bias = best[-1] - float(centre @ kernel)
    return {
        "layer_0": {
            "kernel": jnp.asarray(kernel[:, None], jnp.float32),
            "bias": jnp.asarray([bias], jnp.float32),
        }
    }
