"""Whose photos are whose, and what the learner trains on."""

import collections
import dataclasses
import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from anw_jax import _check
from anw_jax.data import _random
from anw_jax.data.dataset import Dataset, Splits

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
        by_name = {user.spec.name: user for user in self.users}
        return by_name[_check.one_of(by_name, user=name)]

    def images_of(self, splits: Splits, name: str) -> Dataset:
        """Returns the user's own, unmarked photos, in the order of their indices.

        Raises:
          ValueError: if there is no such user.
        """
        user = self.user(name)
        return getattr(splits, user.spec.split).take(user.indices)


def _fingerprints(images: np.ndarray) -> list[bytes]:
    return [hashlib.sha256(image.data).digest() for image in images]


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
    return np.sort(_random.permutation(seed, _SUBSET_STREAM, num_available)[:num_train])


def _deal(
    specs: Sequence[UserSpec], candidates: np.ndarray, seed: int, stream: int
) -> dict[str, np.ndarray]:
    """Disjoint rows for each user: one shuffled deck, dealt in the order of the specs."""
    deck = candidates[_random.permutation(seed, stream, len(candidates))]
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
    _check.is_instance(Splits, splits=splits)
    specs, seed = _check_specs(specs), _random.check_seed(seed)
    subset = _train_subset(len(splits.train), num_train, seed)
    prints = _fingerprints(splits.train.images[subset])
    counts = collections.Counter(prints)
    alone = np.array([counts[fingerprint] == 1 for fingerprint in prints])
    trained = [spec for spec in specs if spec.split == "train"]
    held_out = [spec for spec in specs if spec.split == "test"]
    rows = _deal(trained, subset[alone], seed, _TRAIN_STREAM)
    if held_out:
        unseen = _first_of_kind(splits.test.images, seen=counts)
        rows |= _deal(held_out, unseen, seed, _TEST_STREAM)
    return UserPartition(subset, tuple(UserImages(s, rows[s.name]) for s in specs))


def _first_of_kind(images: np.ndarray, seen: Collection[bytes]) -> np.ndarray:
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
      The photos of `partition.train_indices`, in that order, less the excluded ones.

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
    images = learned.images.copy()
    for name, marked_images in checked.items():
        images[np.searchsorted(partition.train_indices, kept[name].indices)] = marked_images
    dropped = [trained[name].indices for name in exclude]
    keep = ~np.isin(partition.train_indices, np.concatenate([*dropped, []]))
    return dataclasses.replace(learned, images=images).take(np.flatnonzero(keep))
