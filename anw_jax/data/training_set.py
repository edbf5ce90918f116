"""What the learner trains on: photos with the published ones in their places."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from anw_jax import _check
from anw_jax.data.dataset import Dataset, Splits
from anw_jax.data.streamed_images import StreamedImages
from anw_jax.data.users import UserImages, UserPartition


def _check_published(
    published: Mapping[str, np.ndarray], marked: Mapping[str, UserImages], shape: tuple
) -> dict[str, np.ndarray]:
    """Published images by name: one array for each marked user, of the right shape."""
    for name in published:
        _check.one_of(marked, **{"each name in published": name})
    checked = {}
    for name, user in marked.items():
        if name not in published:
            raise ValueError(f"published must hold the marked images of user {name!r}")
        images = _check.uint8_images(**{f"published[{name!r}]": published[name]})
        wanted = (len(user.indices), *shape)
        if images.shape != wanted:
            raise ValueError(
                f"published[{name!r}] must have shape {wanted}, got {images.shape}"
            )
        checked[name] = images
    return checked


def training_set(
    splits: Splits,
    partition: UserPartition,
    published: Mapping[str, np.ndarray],
    exclude: Collection[str] = (),
) -> Dataset:
    """Builds what the learner trains on.

    Args:
      splits: what `load` gave.
      partition: what `assign_users` gave for it.
      published: for each marked user uint8 `[num_images, H, W, 3]`, in the order of the
        user's indices; these take the places of the originals.
      exclude: users whose photos are left out altogether (the world in which they never
        published); they need not be in `published`.

    Returns:
      The photos of `partition.train_indices`, in that order, less the excluded ones;
      streamed where the source is, with the published photos in memory.

    Raises:
      ValueError: if `published` lacks a marked user, names another, or has a wrong shape;
        if `exclude` names no trained user.
    """
    trained = {u.spec.name: u for u in partition.users if u.spec.split == "train"}
    if isinstance(exclude, str):
        raise TypeError(f"exclude must be a collection of names, got {exclude!r}")
    for name in exclude:
        _check.one_of(trained, **{"each name in exclude": name})
    marked = {name: u for name, u in trained.items() if u.spec.kind == "marked"}
    kept = {name: u for name, u in marked.items() if name not in exclude}
    needed = {name: images for name, images in published.items() if name not in exclude}
    checked = _check_published(needed, kept, splits.train.images.shape[1:])
    learned = splits.train.take(partition.train_indices)
    rows = [np.searchsorted(partition.train_indices, kept[name].indices) for name in checked]
    images = _replaced(learned.images, rows, list(checked.values()))
    dropped = [trained[name].indices for name in exclude]
    keep = ~np.isin(partition.train_indices, np.concatenate([*dropped, []]))
    return dataclasses.replace(learned, images=images).take(np.flatnonzero(keep))


def _replaced(
    images: np.ndarray | StreamedImages, rows: Sequence[np.ndarray], new: Sequence[np.ndarray]
) -> np.ndarray | StreamedImages:
    """The images with new ones in some rows; streamed ones are not read for that."""
    if not rows:
        return images
    if isinstance(images, StreamedImages):
        return images.replace(np.concatenate(rows), np.concatenate(new))
    images = images.copy()
    images[np.concatenate(rows)] = np.concatenate(new)
    return images
