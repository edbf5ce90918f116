"""Whose photos are whose."""

import collections
import dataclasses
import functools
import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np

from anw_jax import _check
from anw_jax.data.batches import check_seed, permutation
from anw_jax.data.dataset import Dataset, Splits, chunks
from anw_jax.data.streamed import StreamedImages

KINDS = ("marked", "unmarked", "held_out")
_SUBSET_STREAM, _TRAIN_STREAM, _TEST_STREAM = 0x75736500, 0x75736501, 0x75736502


@dataclasses.dataclass(frozen=True)
class UserSpec:
    """A user to be made up.

    Attributes:
      name: unique among the users.
      num_images: how many photos this user owns, at least 1.
      kind: `"marked"` – the photos are trained on with a mark; `"unmarked"` – trained on as
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
        """Which split the photos come from: `"train"` or `"test"`."""
        return "test" if self.kind == "held_out" else "train"


@dataclasses.dataclass(frozen=True, eq=False)
class UserImages:
    """The photos of one user.

    Attributes:
      spec: who it is.
      indices: int32 `[num_images]` rows of `splits.train`, or of `splits.test` where the
        user is held out (`spec.split` says which), in the user's own order.
    """

    spec: UserSpec
    indices: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class UserPartition:
    """What `assign_users` decides.

    Attributes:
      train_indices: int32 `[num_train]` rows of `splits.train` that are trained on,
        ascending; whether marked, unmarked or nobody's.
      users: in the order of the specs.
    """

    train_indices: np.ndarray
    users: tuple[UserImages, ...]

    def user(self, name: str) -> UserImages:
        """Returns the user of that name.

        Raises:
          ValueError: if there is none.
        """
        return self._by_name[_check.one_of(self._by_name, user=name)]

    @functools.cached_property
    def _by_name(self) -> dict[str, UserImages]:
        return {user.spec.name: user for user in self.users}

    def images_of(self, splits: Splits, name: str) -> Dataset:
        """Returns the user's own, unmarked photos, in the order of their indices.

        In memory, even where the source is streamed.

        Raises:
          ValueError: if there is no such user.
        """
        user = self.user(name)
        return getattr(splits, user.spec.split).take(user.indices).in_memory()

    def spare_test_rows(self, splits: Splits) -> np.ndarray:
        """Returns the rows of the test split that are free for other uses.

        To fine-tune or distil on, or to stand for photos that were not trained on: no
        held-out user owns them, and none is equal to the byte to a photo of the training
        subset, to one of a held-out user, or to an earlier spare one. Reads the training
        subset and the test split once.

        Args:
          splits: what the partition was made for.

        Returns:
          int32 `[k]` rows of `splits.test`, ascending.
        """
        held_out = [user.indices for user in self.users if user.spec.split == "test"]
        owned = np.concatenate([*held_out, np.empty(0, np.int32)])
        seen = set(_fingerprints(splits.train.take(self.train_indices).images))
        seen.update(_fingerprints(splits.test.take(owned).images))
        return _first_of_kind(splits.test.images, seen)


def _fingerprints(images: np.ndarray | StreamedImages) -> list[bytes]:
    """SHA-256 of each image, in one pass that keeps no pixels."""
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
            f"num_train must be at most {num_available}, the training photos there are, "
            f"got {num_train}"
        )
    return np.sort(permutation(seed, _SUBSET_STREAM, num_available)[:num_train])


def _deal(
    specs: Sequence[UserSpec], candidates: np.ndarray, seed: int, stream: int
) -> dict[str, np.ndarray]:
    """Disjoint rows for each user: one shuffled deck, dealt in the order of the specs."""
    deck = candidates[permutation(seed, stream, len(candidates))]
    ends = np.cumsum([spec.num_images for spec in specs], dtype=int)
    for spec, end in zip(specs, ends, strict=True):
        if end > len(deck):
            raise ValueError(
                f"num_images of user {spec.name!r} ({spec.num_images}) exceeds the "
                f"{len(deck) - (end - spec.num_images)} different {spec.split} photos left of "
                f"{len(deck)}: ask for fewer or take more data"
            )
    hands = np.split(deck, ends)
    return {spec.name: hand for spec, hand in zip(specs, hands[:-1], strict=True)}


def assign_users(
    splits: Splits, specs: Iterable[UserSpec], seed: int, num_train: int | None = None
) -> UserPartition:
    """Chooses, by the seed alone, what is trained on and whose photos are whose.

    Marked and unmarked users own photos of the training subset, held-out users photos of
    the test split; no photo has two owners. Byte-identical copies are kept apart: a
    user's training photo has no twin in the training subset, and a held-out photo has
    none there and none among the other held-out ones. The subset does not depend on the
    users, and a user added at the end changes nothing for those before.

    Args:
      splits: what `load` gave.
      specs: the users, with different names.
      seed: integer in `[0, 2**32)`.
      num_train: how many training photos the learner gets; None for all.

    Returns:
      The chosen rows; the same on every platform.

    Raises:
      ValueError: if names repeat, a number is out of range, or the photos do not suffice.

    Example:
      >>> from anw_jax import data
      >>> splits = data.load("mock:32", image_size=8)
      >>> specs = [data.UserSpec("ann", 4), data.UserSpec("bob", 2, "held_out")]
      >>> partition = data.assign_users(splits, specs, seed=0, num_train=24)
      >>> len(partition.train_indices), partition.user("ann").indices.shape
      (24, (4,))
    """
    specs = _check_specs(specs)
    return _assign(splits, lambda num_photos: specs, seed, num_train)


def share_equally(
    splits: Splits,
    num_users: int,
    seed: int,
    num_train: int | None = None,
    *,
    kind: str = "marked",
    prefix: str = "user",
) -> UserPartition:
    """Deals the whole training subset to users, in shares that differ by at most one photo.

    For the world in which everybody marks (Fig. 5a of Zou et al. 2022: 1,000 users of 100
    photos each). Photos that have a byte-identical twin in the subset go to nobody, as in
    `assign_users`, and stay as they are; so with twins some shares are smaller.

    Args:
      splits: what `load` gave.
      num_users: at least 1; named `user0000`, `user0001`, ….
      seed: integer in `[0, 2**32)`.
      num_train: how many training photos the learner gets; None for all.
      kind: of all users, `"marked"` or `"unmarked"`.
      prefix: of their names.

    Returns:
      The chosen rows; the earlier users have the larger shares.

    Raises:
      ValueError: if a number is out of range, the kind is another or there are fewer
        different photos than users.

    Example:
      >>> from anw_jax import data
      >>> partition = share_equally(data.load("mock:32", image_size=8), 3, seed=0)
      >>> [(user.spec.name, user.spec.num_images) for user in partition.users]
      [('user0000', 11), ('user0001', 11), ('user0002', 10)]
    """
    num_users = _check.integer_at_least(1, num_users=num_users)
    _check.one_of(KINDS[:2], kind=kind)
    _check.is_instance(str, prefix=prefix)

    def specs_of(num_photos: int) -> tuple[UserSpec, ...]:
        if num_photos < num_users:
            raise ValueError(
                f"num_users must be at most {num_photos}, the different training photos "
                f"there are, got {num_users}"
            )
        share, num_larger = divmod(num_photos, num_users)
        sizes = (share + (user < num_larger) for user in range(num_users))
        return tuple(UserSpec(f"{prefix}{i:04d}", size, kind) for i, size in enumerate(sizes))

    return _assign(splits, specs_of, seed, num_train)


def _assign(
    splits: Splits,
    specs_of: Callable[[int], tuple[UserSpec, ...]],
    seed: int,
    num_train: int | None,
) -> UserPartition:
    """Deals to the users that `specs_of` names, given how many photos can have an owner."""
    _check.is_instance(Splits, splits=splits)
    seed = check_seed(seed)
    subset = _train_subset(len(splits.train), num_train, seed)
    counts, alone = _count_kinds(splits, subset)
    specs = specs_of(int(alone.sum()))
    trained = [spec for spec in specs if spec.split == "train"]
    held_out = [spec for spec in specs if spec.split == "test"]
    rows = _deal(trained, subset[alone], seed, _TRAIN_STREAM)
    if held_out:
        unseen = _first_of_kind(splits.test.images, seen=counts)
        rows |= _deal(held_out, unseen, seed, _TEST_STREAM)
    return UserPartition(subset, tuple(UserImages(s, rows[s.name]) for s in specs))


def _count_kinds(splits: Splits, subset: np.ndarray) -> tuple[Collection[bytes], np.ndarray]:
    """What is in the training subset, and which of its photos (bool) have no twin there."""
    prints = _fingerprints(splits.train.take(subset).images)
    counts = collections.Counter(prints)
    return counts, np.array([counts[fingerprint] == 1 for fingerprint in prints], bool)


def _first_of_kind(images: np.ndarray | StreamedImages, seen: Collection[bytes]) -> np.ndarray:
    """Int32 rows whose bytes are neither in `seen` nor in an earlier row."""
    first_row = {}
    for row, fingerprint in enumerate(_fingerprints(images)):
        if fingerprint not in seen:
            first_row.setdefault(fingerprint, row)
    return np.array(list(first_row.values()), np.int32)


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
