"""Users and their images: who owns which, and the training set with marked images."""

import collections
import dataclasses
import functools
import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from anw_jax import _check
from anw_jax.data.batches import check_seed, permutation
from anw_jax.data.dataset import Dataset, Splits, chunks
from anw_jax.data.streamed import StreamedImages

KINDS = ("marked", "unmarked", "held_out")
_SUBSET_STREAM, _TRAIN_STREAM, _TEST_STREAM = 0x75736500, 0x75736501, 0x75736502


@dataclasses.dataclass(frozen=True)
class UserSpec:
    """A user of an experiment, who is given images.

    Attributes:
      name: unique among the users.
      num_images: number of images the user owns, at least 1.
      kind: `"marked"` – the images are trained on with a mark; `"unmarked"` – trained on as
        they are; `"held_out"` – from the test split, never trained on.

    Raises:
      ValueError: if the name is empty, the number below 1 or the kind unknown.
    """

    name: str
    num_images: int
    kind: str = "marked"

    def __post_init__(self) -> None:
        _check.is_instance(str, name=self.name)
        if not self.name:
            raise ValueError("name of a user must not be empty")
        _check.integer_at_least(1, num_images=self.num_images)
        _check.one_of(KINDS, kind=self.kind)

    @property
    def split(self) -> str:
        """The split that the images come from: `"train"` or `"test"`."""
        return "test" if self.kind == "held_out" else "train"


@dataclasses.dataclass(frozen=True, eq=False)
class UserImages:
    """The images of one user.

    Attributes:
      spec: the user.
      indices: int32 `[num_images]` rows of `splits.train`, or of `splits.test` where the
        user is held out (see `spec.split`), in the user's own order.
    """

    spec: UserSpec
    indices: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class UserPartition:
    """The result of `assign_users`.

    Attributes:
      train_indices: int32 `[num_train]` rows of `splits.train` that are trained on,
        ascending, with or without an owner.
      users: in the order of the specs.
    """

    train_indices: np.ndarray
    users: tuple[UserImages, ...]

    def user(self, name: str) -> UserImages:
        """Return the user with this name.

        Raises:
          ValueError: if there is none.
        """
        return self._by_name[_check.one_of(self._by_name, user=name)]

    @functools.cached_property
    def _by_name(self) -> dict[str, UserImages]:
        return {user.spec.name: user for user in self.users}

    def images_of(self, splits: Splits, name: str) -> Dataset:
        """Return the user's unmarked images, in the order of their indices.

        In memory, even if the source is streamed.

        Raises:
          ValueError: if there is no such user.
        """
        user = self.user(name)
        return getattr(splits, user.spec.split).take(user.indices).in_memory()

    def spare_test_rows(self, splits: Splits) -> np.ndarray:
        """Return the rows of the test split that are free for other uses.

        For fine-tuning, distillation, or as images that were not trained on: no held-out
        user owns them, and none is byte-identical to an image of the training subset, of a
        held-out user, or to an earlier spare one. Reads the training subset and the test
        split once.

        Args:
          splits: the splits that the partition was made for.

        Returns:
          int32 `[k]` rows of `splits.test`, ascending.
        """
        held_out = [user.indices for user in self.users if user.spec.split == "test"]
        owned = np.concatenate([*held_out, np.empty(0, np.int32)])
        seen = set(_fingerprints(splits.train.take(self.train_indices).images))
        seen.update(_fingerprints(splits.test.take(owned).images))
        return _first_of_kind(splits.test.images, seen)


def _fingerprints(images: np.ndarray | StreamedImages) -> list[bytes]:
    """Return the SHA-256 of each image, in one pass that keeps no pixels."""
    return [hashlib.sha256(i.data).digest() for chunk in chunks(images) for i in chunk]


def _check_specs(specs: Iterable[UserSpec]) -> tuple[UserSpec, ...]:
    specs = tuple(_check.is_instance(UserSpec, **{"each spec": spec}) for spec in specs)
    counts = collections.Counter(spec.name for spec in specs)
    for name, count in counts.items():
        if count > 1:
            raise ValueError(f"users must have different names, got {name!r} {count} times")
    return specs


def _train_subset(num_available: int, num_train: int | None, seed: int) -> np.ndarray:
    if num_train is None:
        return np.arange(num_available, dtype=np.int32)
    num_train = _check.integer_at_least(1, num_train=num_train)
    if num_train > num_available:
        raise ValueError(
            f"num_train must be at most {num_available}, the training images there are, "
            f"got {num_train}"
        )
    return np.sort(permutation(seed, _SUBSET_STREAM, num_available)[:num_train])


def _deal(
    specs: Sequence[UserSpec], candidates: np.ndarray, seed: int, stream: int
) -> dict[str, np.ndarray]:
    """Deal disjoint rows to users from one shuffled deck, in the order of the specs."""
    deck = candidates[permutation(seed, stream, len(candidates))]
    ends = np.cumsum([spec.num_images for spec in specs], dtype=int)
    for spec, end in zip(specs, ends, strict=True):
        if end > len(deck):
            raise ValueError(
                f"num_images of user {spec.name!r} ({spec.num_images}) exceeds the "
                f"{len(deck) - (end - spec.num_images)} different {spec.split} images left of "
                f"{len(deck)}: request fewer or take more data"
            )
    hands = np.split(deck, ends)
    return {spec.name: hand for spec, hand in zip(specs, hands[:-1], strict=True)}


def assign_users(
    splits: Splits, specs: Iterable[UserSpec], seed: int, num_train: int | None = None
) -> UserPartition:
    """Choose the training subset and each user's images, by the seed alone.

    Marked and unmarked users own images of the training subset, held-out users images of
    the test split; no image has two owners. Byte-identical copies are kept apart: a user's
    training image has no copy in the training subset, and a held-out image has none there
    and none among the other held-out ones. The subset does not depend on the users, and a
    user added at the end changes nothing for those before.

    Args:
      splits: the result of `load`.
      specs: the users, with distinct names.
      seed: integer in `[0, 2**32)`.
      num_train: number of training images the learner gets; None for all.

    Returns:
      The chosen rows; the same on every platform.

    Raises:
      ValueError: if names repeat, a number is out of range, or there are too few images.

    Example:
      >>> from anw_jax import data
      >>> splits = data.load("mock:32", image_size=8)
      >>> specs = [data.UserSpec("ann", 4), data.UserSpec("bob", 2, "held_out")]
      >>> partition = data.assign_users(splits, specs, seed=0, num_train=24)
      >>> len(partition.train_indices), partition.user("ann").indices.shape
      (24, (4,))
    """
    specs = _check_specs(specs)
    _check.is_instance(Splits, splits=splits)
    seed = check_seed(seed)
    subset = _train_subset(len(splits.train), num_train, seed)
    counts, alone = _count_kinds(splits, subset)
    trained = [spec for spec in specs if spec.split == "train"]
    held_out = [spec for spec in specs if spec.split == "test"]
    rows = _deal(trained, subset[alone], seed, _TRAIN_STREAM)
    if held_out:
        unseen = _first_of_kind(splits.test.images, seen=counts)
        rows |= _deal(held_out, unseen, seed, _TEST_STREAM)
    return UserPartition(subset, tuple(UserImages(s, rows[s.name]) for s in specs))


def _count_kinds(splits: Splits, subset: np.ndarray) -> tuple[Collection[bytes], np.ndarray]:
    """Count equal images of the training subset; also return (bool) which occur once."""
    prints = _fingerprints(splits.train.take(subset).images)
    counts = collections.Counter(prints)
    return counts, np.array([counts[fingerprint] == 1 for fingerprint in prints], bool)


def _first_of_kind(images: np.ndarray | StreamedImages, seen: Collection[bytes]) -> np.ndarray:
    """Return the rows, int32, whose bytes are neither in `seen` nor in an earlier row."""
    first_row = {}
    for row, fingerprint in enumerate(_fingerprints(images)):
        if fingerprint not in seen:
            first_row.setdefault(fingerprint, row)
    return np.array(list(first_row.values()), np.int32)


def _check_published(
    published: Mapping[str, np.ndarray], marked: Mapping[str, UserImages], shape: tuple
) -> dict[str, np.ndarray]:
    """Check the published images: one array for each marked user, of the right shape."""
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
    """Build the images that the learner trains on.

    Args:
      splits: the result of `load`.
      partition: the result of `assign_users` for them.
      published: for each marked user uint8 `[num_images, H, W, 3]`, in the order of the
        user's indices; these replace the originals.
      exclude: users whose images are left out (as if they had never published); they need
        not be in `published`.

    Returns:
      The images of `partition.train_indices`, in that order, without the excluded ones;
      streamed if the source is, with the published images in memory.

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
    """Replace some rows of images; streamed ones are not read for that."""
    if not rows:
        return images
    if isinstance(images, StreamedImages):
        return images.replace(np.concatenate(rows), np.concatenate(new))
    images = images.copy()
    images[np.concatenate(rows)] = np.concatenate(new)
    return images
