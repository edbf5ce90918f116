"""Memorisation of images by a model: the estimates of Feldman and Zhang.

Sign convention: **higher is more memorised**. mem(i) = P(label of i is predicted | i was
trained on) - P(... | it was not), over the randomness of training: 1 for an image that is only
memorised, 0 for one whose label follows from the other images (Feldman and Zhang 2020, eq. 1,
https://arxiv.org/abs/2008.03703).

The leave-user-out estimate uses pairs of models that share a seed and differ in one user's
images. Zou et al. 2022, section 5.6, report 26.8 % for a user's images and 34.8 % for the
marked ones.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from anw_jax import _check

# The three models of each seed, in the order of `leave_user_out`.
CLEAN, MARKED, WITHOUT = 0, 1, 2
NUM_VERSIONS = 3


@dataclasses.dataclass(frozen=True, eq=False)
class LeaveUserOut:
    """Arguments of `train_many` for `num_pairs` triples of models.

    Each seed has three: with the user's clean images, with the marked ones, and with spare
    images in their place. Model `NUM_VERSIONS * pair + version` is version `version`
    (`CLEAN`, `MARKED`, `WITHOUT`) of pair `pair`.

    Attributes:
      seeds: `[3 num_pairs]`.
      membership: bool `[3 num_pairs, n]`.
      replaced_rows: rows of the user's images.
      replacements: uint8 `[3 num_pairs, k, H, W, 3]`.
    """

    seeds: tuple[int, ...]
    membership: np.ndarray
    replaced_rows: np.ndarray
    replacements: np.ndarray

    def arguments(self) -> dict[str, Any]:
        """Return them as keyword arguments of `train_many`."""
        return {
            field.name: getattr(self, field.name) for field in dataclasses.fields(LeaveUserOut)
        }


def leave_user_out(
    images: np.ndarray,
    user_rows: np.ndarray,
    spare_rows: np.ndarray,
    marked: np.ndarray,
    seeds: Sequence[int],
) -> LeaveUserOut:
    """Plan the trainings for an estimate of one user's memorisation.

    Args:
      images: uint8 `[n, H, W, 3]`: all images, among them the user's clean ones and the spare
        ones.
      user_rows: integers `[k]`, rows of the user's images.
      spare_rows: integers `[k]`, rows of the images that replace the user's in the models
        without them, and are in no other model.
      marked: uint8 `[k, H, W, 3]`, the user's images as published.
      seeds: one per pair.

    Returns:
      The plan.

    Raises:
      ValueError: if there are not as many spare images as the user's, or rows repeat.

    Example:
      >>> images = np.zeros((5, 2, 2, 3), np.uint8)
      >>> plan = leave_user_out(images, [0], [4], images[:1] + np.uint8(9), seeds=[7, 8])
      >>> plan.seeds, plan.membership[WITHOUT].tolist()
      ((7, 7, 7, 8, 8, 8), [False, True, True, True, True])
    """
    images = _check.uint8_images(images=images)
    marked = _check.uint8_images(marked=marked)
    user, spare = np.asarray(user_rows), np.asarray(spare_rows)
    if user.shape != spare.shape or user.ndim != 1 or not user.size:
        raise ValueError(
            "spare_rows must be as many as user_rows, at least one, got shapes "
            f"{spare.shape} and {user.shape}"
        )
    if len(np.unique(np.concatenate([user, spare]))) != 2 * len(user):
        raise ValueError("user_rows and spare_rows must name each row once")
    if marked.shape != (len(user), *images.shape[1:]):
        raise ValueError(
            f"marked must have shape {(len(user), *images.shape[1:])}, got {marked.shape}"
        )
    of_version = np.ones((NUM_VERSIONS, len(images)), bool)
    of_version[[CLEAN, MARKED]] &= ~np.isin(np.arange(len(images)), spare)
    of_version[WITHOUT, user] = False
    own = np.stack([images[user], marked, images[user]])
    return LeaveUserOut(
        seeds=tuple(int(seed) for seed in np.repeat(seeds, NUM_VERSIONS)),
        membership=np.tile(of_version, (len(seeds), 1)),
        replaced_rows=user,
        replacements=np.tile(own, (len(seeds), 1, 1, 1, 1)),
    )


@dataclasses.dataclass(frozen=True)
class MemorizationEstimate:
    """Mean memorisation of a user's images.

    Attributes:
      value: accuracy with - accuracy without, in [-1, 1].
      standard_error: over pairs of models; None for a single pair.
      accuracy_with: accuracy on the images of the models trained on them.
      accuracy_without: accuracy on the images of the models that were not.
      num_pairs: pairs of models.
      num_photos: images.
    """

    value: float
    standard_error: float | None
    accuracy_with: float
    accuracy_without: float
    num_pairs: int
    num_photos: int


def memorization(correct_with: np.ndarray, correct_without: np.ndarray) -> MemorizationEstimate:
    """Estimate the memorisation of one user's images from pairs of models.

    The standard error is that of the mean over pairs, each of which counts as one number: the
    images of one model are not independent.

    Args:
      correct_with: bool `[num_pairs, k]`: whether the model of a pair that was trained on the
        user's images predicts their labels.
      correct_without: bool `[num_pairs, k]`: whether the other model does.

    Returns:
      The estimate.

    Raises:
      ValueError: if shapes differ or are empty.
      TypeError: if the arrays are not bool.

    Example:
      >>> known = np.array([[True, True], [True, True]])
      >>> memorization(known, np.array([[False, True], [False, False]])).value
      0.75
    """
    with_user = _correct(correct_with=correct_with)
    without = _correct(correct_without=correct_without)
    if with_user.shape != without.shape:
        raise ValueError(
            f"correct_without must have shape {with_user.shape} as correct_with, "
            f"got {without.shape}"
        )
    value, error = _mean_and_error(with_user.mean(axis=1) - without.mean(axis=1))
    return MemorizationEstimate(
        value=value,
        standard_error=error,
        accuracy_with=float(with_user.mean()),
        accuracy_without=float(without.mean()),
        num_pairs=len(with_user),
        num_photos=with_user.shape[1],
    )


def compare(correct_clean: np.ndarray, correct_marked: np.ndarray) -> dict[str, Any]:
    """Compare memorisation before and after marking (section 5.6 of the paper).

    Args:
      correct_clean: bool `[3 num_pairs, k]`, of the models of `leave_user_out` on the user's
        clean images.
      correct_marked: bool, same shape, on the marked ones.

    Returns:
      `clean` and `marked`, each a `MemorizationEstimate` as a dict; `increase` (marked - clean;
      the paper: 0.348 - 0.268 = 0.080) and `increase_standard_error` over pairs.

    Raises:
      ValueError: if shapes do not fit.
      TypeError: if the arrays are not bool.

    Example:
      >>> clean = np.array([[True], [False], [True]])  # clean, marked, without
      >>> marked = np.array([[False], [True], [False]])
      >>> compare(clean, marked)["increase"]
      1.0
    """
    estimates, per_pair = {}, []
    for name, correct, version in (
        ("clean", _correct(correct_clean=correct_clean), CLEAN),
        ("marked", _correct(correct_marked=correct_marked), MARKED),
    ):
        if len(correct) % NUM_VERSIONS:
            raise ValueError(
                f"correct_{name} must have {NUM_VERSIONS} models per pair, got {len(correct)}"
            )
        trained, without = correct[version::NUM_VERSIONS], correct[WITHOUT::NUM_VERSIONS]
        estimates[name] = dataclasses.asdict(memorization(trained, without))
        per_pair.append(trained.mean(axis=1) - without.mean(axis=1))
    if len(per_pair[0]) != len(per_pair[1]):
        raise ValueError(
            f"correct_marked must have {len(correct_clean)} models as correct_clean, "
            f"got {len(correct_marked)}"
        )
    increase, error = _mean_and_error(per_pair[1] - per_pair[0])
    return {**estimates, "increase": increase, "increase_standard_error": error}


def _mean_and_error(values: np.ndarray) -> tuple[float, float | None]:
    """Return the mean of `[n]` values and its standard error, None for a single value."""
    num = len(values)
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(num)) if num > 1 else None


def _correct(**named: Any) -> np.ndarray:
    ((name, value),) = named.items()
    correct = np.asarray(value)
    if correct.dtype != bool:
        raise TypeError(f"{name} must be bool, got {correct.dtype}")
    if correct.ndim != 2 or not correct.size:
        raise ValueError(f"{name} must have shape [models, images], got {correct.shape}")
    return correct
