"""Membership inference with a user's own shadow model (section 5.5 and Fig. 5b of the paper).

A user who knows nothing of the learner trains a model on their own images alone, takes its
mean training loss as the threshold of MIA-std, and queries the learner's model. The paper
finds the threshold far above every loss of the learner's model, so that held-out images are
all called members: accuracy 50 %.

Sign convention, as in `threshold_mia`: **a loss below the threshold means "member"**.
"""

from typing import Any

import numpy as np

from anw_jax import _check
from anw_jax.baselines.threshold_mia import MembershipResult, apply_threshold
from anw_jax.models import Model
from anw_jax.train import ManyResult, TrainSettings, train_many


def train_shadows(
    model: Model,
    settings: TrainSettings,
    images: np.ndarray,
    labels: np.ndarray,
    rows_of_user: np.ndarray,
    *,
    seeds: list[int],
    **options: Any,
) -> ManyResult:
    """Train one shadow model per user, on that user's images only.

    The threshold of user `u` is `result.losses[u]`, the mean loss of their model on its
    training images.

    Args:
      model: the architecture.
      settings: how it is trained; `batch_size` at most the number of images of a user.
      images: uint8 `[n, H, W, 3]`.
      labels: integers `[n]`.
      rows_of_user: integers `[num_users, k]`, rows of `images`.
      seeds: one per user.
      **options: further arguments of `train_many` (`checkpoint_dir`, `on_progress`, ...).

    Returns:
      The models and their losses, one per user.

    Raises:
      ValueError: if a row is out of range or repeats.
      TypeError: if rows are not integers.
    """
    rows_of_user = np.asarray(rows_of_user)
    if rows_of_user.ndim != 2 or not np.issubdtype(rows_of_user.dtype, np.integer):
        raise TypeError(
            "rows_of_user must be integers [num_users, k], got "
            f"{rows_of_user.dtype} of shape {rows_of_user.shape}"
        )
    if rows_of_user.size and not 0 <= rows_of_user.min() <= rows_of_user.max() < len(images):
        raise ValueError(f"rows_of_user must lie in [0, {len(images)})")
    membership = np.zeros((len(rows_of_user), len(images)), bool)
    np.put_along_axis(membership, rows_of_user, True, axis=1)
    if (membership.sum(axis=1) != rows_of_user.shape[1]).any():
        raise ValueError("rows_of_user must name each image of a user once")
    return train_many(
        model, settings, images, labels, seeds=seeds, membership=membership, **options
    )


def attack_users(
    thresholds: np.ndarray, member_losses: np.ndarray, heldout_losses: np.ndarray
) -> list[MembershipResult]:
    """Apply each user's threshold to the learner's losses on their images.

    Args:
      thresholds: float `[num_users]`, nats: mean training loss of each shadow model.
      member_losses: float `[num_users, k]`, nats: the learner's model on images of the user
        that it was trained on, as published.
      heldout_losses: float `[num_users, m]`, nats: on images that it was not trained on.

    Returns:
      One result per user.

    Raises:
      ValueError: if shapes do not fit or a threshold is not finite.

    Example:
      >>> results = attack_users([2.0], np.array([[0.1, 0.2]]), np.array([[0.9, 1.1]]))
      >>> results[0].accuracy, results[0].false_positives
      (0.5, 2)
    """
    thresholds = np.asarray(thresholds, np.float64)
    members = np.asarray(member_losses, np.float64)
    heldout = np.asarray(heldout_losses, np.float64)
    if thresholds.ndim != 1 or not thresholds.size:
        raise ValueError(f"thresholds must have shape [num_users], got {thresholds.shape}")
    for name, losses in (("member_losses", members), ("heldout_losses", heldout)):
        if losses.ndim != 2 or len(losses) != len(thresholds):
            raise ValueError(
                f"{name} must have shape [{len(thresholds)}, images], got {losses.shape}"
            )
    return [
        apply_threshold(*of_user) for of_user in zip(thresholds, members, heldout, strict=True)
    ]


def compare(
    thresholds: np.ndarray,
    member_losses: np.ndarray,
    heldout_losses: np.ndarray,
    *,
    watermark_matches: int | None = None,
) -> dict[str, Any]:
    """Compare thresholds and losses over users (Fig. 5b of the paper).

    Args:
      thresholds: float `[num_users]`, nats.
      member_losses: float `[num_users, k]`, nats, of the learner's model.
      heldout_losses: float `[num_users, m]`, nats, of the learner's model.
      watermark_matches: number of the same users whose signature was inferred; None to omit.

    Returns:
      `accuracy` (mean over users; the paper: 0.5), its standard deviation, `advantage`,
      `false_positive_rate` (the paper: 1), mean losses of shadow (`threshold`), members and
      held-out, the share of users whose threshold lies above their mean held-out loss
      (`share_threshold_above_heldout`; the paper: all), `per_user` lists of the three losses
      and the accuracy, and `watermark_accuracy` if requested.

    Raises:
      ValueError: if shapes do not fit or a threshold is not finite.

    Example:
      >>> found = compare([2.0], np.array([[0.1, 0.2]]), np.array([[0.9, 1.1]]))
      >>> found["accuracy"], found["share_threshold_above_heldout"]
      (0.5, 1.0)
    """
    results = attack_users(thresholds, member_losses, heldout_losses)
    per_user = {
        "threshold": [result.threshold for result in results],
        "member_loss": np.mean(member_losses, axis=1, dtype=np.float64).tolist(),
        "heldout_loss": np.mean(heldout_losses, axis=1, dtype=np.float64).tolist(),
        "accuracy": [result.balanced_accuracy for result in results],
    }
    means = {name: float(np.mean(values)) for name, values in per_user.items()}
    is_above = np.greater(per_user["threshold"], per_user["heldout_loss"])
    found = {
        "num_users": len(results),
        **means,
        "accuracy_std": float(np.std(per_user["accuracy"], ddof=min(1, len(results) - 1))),
        "advantage": float(np.mean([result.advantage for result in results])),
        "false_positive_rate": float(
            np.mean([result.false_positive_rate for result in results])
        ),
        "share_threshold_above_heldout": float(is_above.mean()),
        "per_user": per_user,
    }
    if watermark_matches is not None:
        matches = _check.integer_at_least(0, watermark_matches=watermark_matches)
        if matches > len(results):
            raise ValueError(
                f"watermark_matches must be at most the {len(results)} users, got {matches}"
            )
        found["watermark_accuracy"] = matches / len(results)
    return found
