"""Membership inference by a threshold on the loss: MIA-std and MIA-pow.

Sign convention: **an image is called a member if its loss is below the threshold**,
strictly. Advantage = true positive rate - false positive rate, in [-1, 1] (definition 4 of
Yeom et al. 2018, https://arxiv.org/abs/1709.01604); below 0 the attack is worse than guessing.
With as many members as others it is 2 (accuracy - 0.5), as printed in percent by the original
code of the paper; adv^P (see `protection_advantage`) is accuracy - 0.5, half of it.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import _check, data

METHODS = ("MIA-std", "MIA-pow")


@dataclasses.dataclass(frozen=True)
class MembershipResult:
    """Counts of a threshold's calls on images whose membership is known.

    Attributes:
      threshold: nats; a loss below it means "member".
      num_members: number of members.
      num_others: number of images that are not members.
      true_positives: members called members.
      false_positives: others called members.
    """

    threshold: float
    num_members: int
    num_others: int
    true_positives: int
    false_positives: int

    @property
    def num_right(self) -> int:
        """Number of images, of either kind, that are called correctly."""
        return self.true_positives + self.num_others - self.false_positives

    @property
    def accuracy(self) -> float:
        """Share of all images that are called correctly."""
        return self.num_right / (self.num_members + self.num_others)

    @property
    def true_positive_rate(self) -> float:
        """Share of the members that are called members."""
        return self.true_positives / self.num_members

    @property
    def false_positive_rate(self) -> float:
        """Share of the others that are called members."""
        return self.false_positives / self.num_others

    @property
    def advantage(self) -> float:
        """True positive rate - false positive rate, in [-1, 1]."""
        return self.true_positive_rate - self.false_positive_rate

    @property
    def balanced_accuracy(self) -> float:
        """Mean of the shares of correct calls of both kinds; (1 + advantage) / 2."""
        return (1.0 + self.advantage) / 2.0

    def plain(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return {
            **dataclasses.asdict(self),
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "advantage": self.advantage,
        }


def std_threshold(known_member_losses: np.ndarray) -> float:
    """Return the threshold of MIA-std: the mean loss of known members.

    After Yeom et al. 2018, https://arxiv.org/abs/1709.01604.

    Args:
      known_member_losses: float `[k]`, nats, at least one.

    Returns:
      The threshold in nats.

    Raises:
      ValueError: if there are none, or one is not finite.

    Example:
      >>> std_threshold(np.array([0.1, 0.2, 0.6]))
      0.3
    """
    return float(_losses(known_member_losses=known_member_losses).mean())


def pow_threshold(
    known_member_losses: np.ndarray,
    known_other_losses: np.ndarray,
    *,
    num_candidates: int = 1001,
    span: float = 5.0,
) -> float:
    """Return the threshold of MIA-pow: the best of many on known images of both kinds.

    Candidates are mean + c std for `num_candidates` values of c, evenly spaced over
    [-span, span]; mean and standard deviation are those of the known members. The candidate
    with the highest advantage wins, the lowest of them on a tie. After Sablayrolles et al.
    2019, https://arxiv.org/abs/1908.11229, with the grid of the original code of the paper.

    Where the known others' losses all lie beyond mean + span std, no candidate can separate
    better than the best within the grid.

    Args:
      known_member_losses: float `[k]`, nats, at least one.
      known_other_losses: float `[m]`, nats, at least one.
      num_candidates: at least 1.
      span: half-width of the grid in standard deviations, above 0.

    Returns:
      The threshold in nats.

    Raises:
      ValueError: if there are no images of a kind, a loss is not finite, or a number is out
        of range.

    Example:
      >>> threshold = pow_threshold(np.array([0.0, 0.2]), np.array([0.25, 0.9]))
      >>> 0.2 < threshold <= 0.25
      True
    """
    members = _losses(known_member_losses=known_member_losses)
    others = _losses(known_other_losses=known_other_losses)
    _check.integer_at_least(1, num_candidates=num_candidates)
    _check.positive(span=span)
    candidates = members.mean() + members.std() * np.linspace(-span, span, num_candidates)
    true_positives = np.searchsorted(np.sort(members), candidates, side="left")
    false_positives = np.searchsorted(np.sort(others), candidates, side="left")
    # In integers, so that ties are exact.
    advantages = true_positives * len(others) - false_positives * len(members)
    return float(candidates[advantages.argmax()])


def apply_threshold(
    threshold: float, member_losses: np.ndarray, other_losses: np.ndarray
) -> MembershipResult:
    """Count the calls of a threshold on images of known membership.

    A loss that is NaN or infinite does not call a member.

    Args:
      threshold: nats.
      member_losses: float `[k]`, nats, at least one.
      other_losses: float `[m]`, nats, at least one.

    Returns:
      The counts.

    Raises:
      ValueError: if there are no images of a kind, or the threshold is not finite.

    Example:
      >>> result = apply_threshold(0.3, np.array([0.1, 0.2, 0.4]), np.array([0.2, 0.3, 5.0]))
      >>> result.true_positives, result.false_positives, round(result.advantage, 2)
      (2, 1, 0.33)
    """
    _check.finite(threshold=threshold)
    members = _losses(finite=False, member_losses=member_losses)
    others = _losses(finite=False, other_losses=other_losses)
    return MembershipResult(
        threshold=float(threshold),
        num_members=len(members),
        num_others=len(others),
        true_positives=_num_called(members, threshold),
        false_positives=_num_called(others, threshold),
    )


def _num_called(losses: np.ndarray, threshold: float) -> int:
    return int((np.isfinite(losses) & (losses < threshold)).sum())


def compare(
    member_losses: np.ndarray,
    other_losses: np.ndarray,
    *,
    num_known: int = 100,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Compare MIA-std and MIA-pow on one model, with known images drawn from each kind.

    `num_known` members and as many others are drawn and used for the thresholds alone; the
    rest are the targets. The paper's code takes 100 + 100 known and 5000 + 5000 targets.

    Args:
      member_losses: float `[k]`, nats, of images the model was trained on; k above `num_known`.
      other_losses: float `[m]`, nats, of other images; m above `num_known`.
      num_known: number of images of each kind that are known to the attacker.
      seed: seed of the draw.

    Returns:
      For each name in `METHODS`, threshold, counts, accuracy, balanced accuracy, advantage.

    Raises:
      ValueError: if there are too few images or a known loss is not finite.

    Example:
      >>> rng = np.random.default_rng(0)
      >>> results = compare(rng.normal(0, 1, 1000), rng.normal(9, 1, 1000))
      >>> results["MIA-pow"]["advantage"] > results["MIA-std"]["advantage"]
      True
    """
    members = _losses(finite=False, member_losses=member_losses)
    others = _losses(finite=False, other_losses=other_losses)
    _check.integer_at_least(1, num_known=num_known)
    for name, losses in (("member_losses", members), ("other_losses", others)):
        if len(losses) <= num_known:
            raise ValueError(
                f"{name} must hold more than num_known = {num_known} images, got {len(losses)}"
            )
    rng = np.random.default_rng(_check.integer_at_least(0, seed=seed))
    members, others = rng.permutation(members), rng.permutation(others)
    known_members, known_others = members[:num_known], others[:num_known]
    thresholds = {
        "MIA-std": std_threshold(known_members),
        "MIA-pow": pow_threshold(known_members, known_others),
    }
    return {
        name: apply_threshold(threshold, members[num_known:], others[num_known:]).plain()
        for name, threshold in thresholds.items()
    }


def _losses(finite: bool = True, **named: Any) -> np.ndarray:
    ((name, value),) = named.items()
    losses = np.asarray(value, np.float64)
    if losses.ndim != 1 or not losses.size:
        raise ValueError(f"{name} must hold at least one loss [n], got shape {losses.shape}")
    if finite and not np.isfinite(losses).all():
        raise ValueError(f"{name} must be finite, got {losses[~np.isfinite(losses)][0]}")
    return losses


def answers(
    predict: Callable[[jax.Array], jax.Array],
    images: np.ndarray,
    labels: np.ndarray,
    *,
    batch_size: int = 256,
) -> tuple[np.ndarray, np.ndarray]:
    """Return loss and correctness of each image, without augmentation.

    Args:
      predict: float32 images `[b, H, W, 3]` in [0, 1] to logits `[b, c]`; a
        `jax.tree_util.Partial` is traced once per shape of image, for all weights.
      images: uint8 `[n, H, W, 3]`.
      labels: integers `[n]`.
      batch_size: images per call.

    Returns:
      `(losses, correct)`: float64 `[n]`, softmax cross-entropy in nats (the original
      code wrongly takes raw logits for log-probabilities), and bool `[n]`, whether the
      largest logit is the label's.

    Raises:
      ValueError: if shapes do not fit.
      TypeError: if images are not uint8 or labels not integers.

    Example:
      >>> def redness(batch):  # two classes: red or not
      ...     red = batch[..., 0].mean((1, 2)) - batch.mean((1, 2, 3))
      ...     return jnp.stack([red, -red], axis=1) * 10
      >>> images = np.full((2, 4, 4, 3), [200, 60, 60], np.uint8)
      >>> losses, correct = answers(redness, images, np.array([0, 1]))
      >>> correct.tolist(), bool(losses[0] < losses[1])
      ([True, False], True)
    """
    images = _check.uint8_images(images=images)
    labels = _check.class_labels(len(images), labels=labels)
    _check.integer_at_least(1, batch_size=batch_size)
    if not isinstance(predict, jax.tree_util.Partial):
        predict = jax.tree_util.Partial(predict)
    losses, correct = [np.zeros(0)], [np.zeros(0, bool)]
    for rows in data.padded_rows(len(images), batch_size):
        loss, is_hit = jax.device_get(_batch_answers(predict, images[rows], labels[rows]))
        losses.append(loss)
        correct.append(is_hit)
    return np.concatenate(losses)[: len(images)], np.concatenate(correct)[: len(images)]


@jax.jit
def _batch_answers(
    predict: jax.tree_util.Partial, images: jax.Array, labels: jax.Array
) -> tuple[jax.Array, jax.Array]:
    logits = predict(images.astype(jnp.float32) / jnp.float32(255.0)).astype(jnp.float32)
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)
    return -chosen[:, 0], logits.argmax(-1) == labels
