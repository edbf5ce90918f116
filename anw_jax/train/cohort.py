"""The data of many models that differ in seed, members and photos."""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from anw_jax import _check
from anw_jax.data import BatchPlan
from anw_jax.models import Model
from anw_jax.train.batches import IndicesFn
from anw_jax.train.classifier import check_changes, check_model
from anw_jax.train.recipe import PLAIN, Batch, Recipe
from anw_jax.train.settings import TrainSettings


@dataclasses.dataclass(frozen=True, eq=False)
class Cohort:
    """Checked arguments of `train_many`.

    Attributes:
      model: the network.
      settings: how it is trained; its seed is not used.
      recipe: further changes of batches and gradients.
      images: uint8 `[n, H, W, 3]`.
      labels: int32 `[n]`.
      seeds: one per model.
      members: int32 `[num_models, num_members]`, rows of `images`, ascending.
      replaced_rows: int32 `[k]`, rows of which each model has its own version.
      replacements: uint8 `[num_models, k, H, W, 3]`, those versions.
    """

    model: Model
    settings: TrainSettings
    recipe: Recipe
    images: np.ndarray
    labels: np.ndarray
    seeds: tuple[int, ...]
    members: np.ndarray
    replaced_rows: np.ndarray
    replacements: np.ndarray

    @property
    def num_models(self) -> int:
        """Number of models."""
        return len(self.seeds)

    @property
    def num_steps(self) -> int:
        """Optimizer steps of each model."""
        return self.settings.num_steps(self.members.shape[1])

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of one epoch, the same for each model."""
        return self.settings.steps_per_epoch(self.members.shape[1])

    def settings_of(self, index: int) -> TrainSettings:
        """Return the settings with one model's seed."""
        return dataclasses.replace(self.settings, seed=self.seeds[index])

    def photos_of(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the photos of one model's members, in its own versions, and their labels."""
        seen = self.images.copy()
        seen[self.replaced_rows] = self.replacements[index]
        return seen[self.members[index]], self.labels[self.members[index]]

    def plan_of(self, index: int) -> IndicesFn:
        """Return the batch plan over one model's members, by its seed."""
        num_members = self.members.shape[1]
        return BatchPlan(num_members, self.settings.batch_size, self.seeds[index]).rows

    def columns_of(self, indices: Sequence[int]) -> Batch:
        """Return all images and labels, followed by the replacements of some models."""
        own = self.replacements[list(indices)].reshape(-1, *self.images.shape[1:])
        labels = np.tile(self.labels[self.replaced_rows], len(indices))
        return Batch(np.concatenate([self.images, own]), np.concatenate([self.labels, labels]))

    def rows_of(self, indices: Sequence[int], first_step: int, num_steps: int) -> np.ndarray:
        """Return int32 `[num_steps, num_models, batch_size]`: the batches of some models.

        They index `columns_of(indices)`, where each model's own versions have rows too.
        """
        num_images, num_own = len(self.images), len(self.replaced_rows)
        rows = []
        for place, index in enumerate(indices):
            seen = np.arange(num_images, dtype=np.int32)
            seen[self.replaced_rows] = num_images + num_own * place + np.arange(num_own)
            rows.append(seen[self.members[index]][self.plan_of(index)(first_step, num_steps)])
        return np.stack(rows, axis=1)

    def fingerprint(self, indices: Sequence[int]) -> dict[str, Any]:
        """Return what identifies several models that are resumed together."""
        digest = hashlib.sha256(repr(self.images.shape).encode())
        chosen = list(indices)
        for array in (
            self.images,
            self.labels,
            self.members[chosen],
            self.replaced_rows,
            self.replacements[chosen],
        ):
            digest.update(np.ascontiguousarray(array))
        return {
            "seeds": [self.seeds[index] for index in chosen],
            "photos": digest.hexdigest()[:16],
        }


def make_cohort(
    model: Model,
    settings: TrainSettings,
    images: np.ndarray,
    labels: np.ndarray,
    seeds: Sequence[int],
    membership: np.ndarray | None,
    replaced_rows: np.ndarray | None,
    replacements: np.ndarray | None,
    recipe: Recipe = PLAIN,
) -> Cohort:
    """Check the arguments of `train_many`.

    Raises:
      ValueError: if shapes, counts or ranges do not fit each other.
      TypeError: if an argument is of the wrong kind.
    """
    check_model(model, settings)
    images = _check.uint8_images(images=images)
    labels = _check.class_labels(len(images), model.num_classes, labels=labels)
    check_changes(model, images.shape[1:], recipe, None, "all")
    seeds = _checked_seeds(seeds)
    members = _members(membership, len(seeds), len(images))
    settings.steps_per_epoch(members.shape[1])  # raises for batches larger than the members
    rows, own = _replacements(replaced_rows, replacements, len(seeds), images)
    return Cohort(model, settings, recipe, images, labels, seeds, members, rows, own)


def _checked_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    seeds = tuple(_check.integer_at_least(0, seeds=seed) for seed in seeds)
    if not seeds:
        raise ValueError("seeds must hold at least one seed, got none")
    return seeds


def _members(membership: np.ndarray | None, num_models: int, num_images: int) -> np.ndarray:
    if membership is None:
        return np.tile(np.arange(num_images, dtype=np.int32), (num_models, 1))
    membership = np.asarray(membership)
    if membership.dtype != bool:
        raise TypeError(f"membership must be bool, got {membership.dtype}")
    if membership.shape != (num_models, num_images):
        raise ValueError(
            f"membership must have shape (num_models, num_images) = "
            f"{(num_models, num_images)}, got {membership.shape}"
        )
    counts = membership.sum(axis=1)
    if (counts != counts[0]).any():
        raise ValueError(
            "membership must give each model as many photos, so that all take the same "
            f"steps; got {counts.min()} to {counts.max()}"
        )
    rows = np.nonzero(membership)[1].astype(np.int32)
    return rows.reshape(num_models, int(counts[0]))


def _replacements(
    rows: np.ndarray | None, own: np.ndarray | None, num_models: int, images: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    if (rows is None) != (own is None):
        raise ValueError("replaced_rows and replacements must be given together")
    if rows is None:
        return np.zeros(0, np.int32), np.zeros((num_models, 0, *images.shape[1:]), np.uint8)
    rows, own = np.asarray(rows), np.asarray(own)
    if rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer):
        raise TypeError(
            f"replaced_rows must be integers [k], got {rows.dtype} of shape {rows.shape}"
        )
    if rows.size and (rows.min() < 0 or rows.max() >= len(images)):
        raise ValueError(
            f"replaced_rows must lie in [0, {len(images)}), got [{rows.min()}, {rows.max()}]"
        )
    if len(np.unique(rows)) != len(rows):
        raise ValueError("replaced_rows must name each row once")
    wanted = (num_models, len(rows), *images.shape[1:])
    if own.dtype != np.uint8 or own.shape != wanted:
        raise ValueError(
            f"replacements must be uint8 of shape (num_models, k, H, W, 3) = {wanted}, "
            f"got {own.dtype} of shape {own.shape}"
        )
    return rows.astype(np.int32), own
