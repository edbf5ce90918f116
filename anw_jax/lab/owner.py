"""The owner's side of a case: keys, marks, manifests. Nothing here sees a model."""

import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Iterator

import numpy as np

from anw_jax import data, keys
from anw_jax.errors import SettingsError
from anw_jax.keys import Assignment, Manifest, MarkKey, Plan
from anw_jax.lab.settings import Settings, UserSettings
from anw_jax.lab.workdir import Workdir
from anw_jax.marks import HueRotation, Mark, PixelMark, UserLCT, publish

_TAG_BEACON = "anw_jax/v2/beacon of a run"


@dataclasses.dataclass(frozen=True, eq=False)
class User:
    """One user's side of the case. The key stays with the user until the verdict.

    Attributes:
      name: as in the settings; a crowd's users are "<crowd>-0000" and so on.
      settings: kind, scheme, number of photos.
      originals: the unmarked photos, with labels.
      mark: the watermark map.
      mark_key: the secret.
      manifest: units of the originals.
      plan: statistic, level, mark.
      commitment: 64 hex digits, fixed before training.
      beacon: the value of the plan's beacon. Runs draw it from seed and commitment once both
        stand, in place of a public one: so it is never evidence.
    """

    name: str
    settings: UserSettings
    originals: data.Dataset
    mark: Mark
    mark_key: MarkKey
    manifest: Manifest
    plan: Plan
    commitment: str
    beacon: bytes

    @functools.cached_property
    def assignment(self) -> Assignment:
        """The secret slots."""
        return self.assignment_of(self.mark_key)

    def assignment_of(self, mark_key: MarkKey) -> Assignment:
        """The slots that any key gives under this user's manifest, plan and beacon."""
        return keys.assign(mark_key, self.manifest, self.plan, beacon=self.beacon)

    def published(self) -> np.ndarray:
        """The photos as this user puts them online, uint8."""
        if self.settings.kind != "marked":
            return self.originals.images
        return publish(self.mark, self.originals.images, self.assignment.degrees)


def member_names(name: str, user: UserSettings) -> list[str]:
    """The users behind one entry of the settings: itself, or the members of a crowd."""
    if user.count is None:
        return [name]
    return [f"{name}-{index:04d}" for index in range(user.count)]


def open_user(
    settings: Settings, user: UserSettings, name: str, originals: data.Dataset, workdir: Workdir
) -> User:
    """Draws or reloads one user's key and manifest, and commits.

    A key is stored (mode 0600) before it is used, so that a run that is killed resumes
    with the same slots; manifests and commitments are written once and used ever after.

    Raises:
      SettingsError: a key or photos that are not those of the stored commitment, or a mark
        that these photos cannot carry.
    """
    manifest = _load_or_make_manifest(settings, user, name, originals, workdir)
    path = workdir.file("keys", f"{name}.key")
    if path.exists():
        return _committed(settings, user, name, originals, manifest, MarkKey.load(path))
    if workdir.exists("commitments.json"):
        raise SettingsError(
            f"the mark key {path} is gone, and another cannot open the commitment made with "
            "it: restore it, or start afresh in another --workdir"
        )
    for mark_key in _new_keys(settings, user, name):
        opened = _committed(settings, user, name, originals, manifest, mark_key)
        if user.signature in (None, opened.assignment.degrees[0]):
            break
    mark_key.save(path)
    return opened


def _committed(
    settings: Settings,
    user: UserSettings,
    name: str,
    originals: data.Dataset,
    manifest: Manifest,
    mark_key: MarkKey,
) -> User:
    try:
        mark = mark_of(user, mark_key, originals.images.shape[1:3])
    except ValueError as error:
        raise SettingsError(f"config.users.{name}: {error}") from None
    plan = Plan(
        settings.verify.statistic,
        settings.verify.alpha,
        mark.description,
        beacon=f"seed {settings.seed} of this run",
    )
    commitment = keys.commit(mark_key, manifest, plan)
    beacon = hashlib.sha256(f"{_TAG_BEACON}\0{settings.seed}\0{commitment}".encode()).digest()
    return User(name, user, originals, mark, mark_key, manifest, plan, commitment, beacon)


def mark_of(user: UserSettings, mark_key: MarkKey, shape: tuple[int, int]) -> Mark:
    """The mark that a user's settings name, with its secrets from the key."""
    if user.mark == "private_basis":
        return UserLCT.from_sub_key(mark_key.sub_key("basis"))
    if user.mark == "pixels":
        return PixelMark(mark_key.sub_key("pixels"), *shape, num_pixels=user.num_pixels)
    return HueRotation()


def _new_keys(settings: Settings, user: UserSettings, name: str) -> Iterator[MarkKey]:
    """Keys to take the first of.

    A signature chosen by hand takes the first key of the user's sequence that draws it. Such a
    slot was not drawn at random: its p means nothing, and the key's origin, "experiment",
    keeps it from being called evidence.
    """
    if user.signature is not None:
        for number in itertools.count():
            yield MarkKey.for_experiment(settings.seed, f"{name}, attempt {number}")
    if settings.verify.key_origin == "experiment":
        yield MarkKey.for_experiment(settings.seed, name)
    else:
        yield MarkKey.generate()


def _load_or_make_manifest(
    settings: Settings, user: UserSettings, name: str, originals: data.Dataset, workdir: Workdir
) -> Manifest:
    """The manifest as first written: it, not a second decoding, decides slots.

    Photos whose pixels changed since (another decoder) are found by name, with a warning.
    """
    path = workdir.file("manifests", f"{name}.json")
    digests = originals.original_digests
    if not path.exists():
        manifest = Manifest.of(
            originals.images,
            settings.verify.space,
            user.scheme,
            user.groups(),
            originals.file_names,
            digests=digests,
        )
        manifest.save(path)
        return manifest
    manifest = Manifest.load(path)
    names = originals.file_names or tuple(f"{i:06d}" for i in range(len(originals)))
    try:
        found = manifest.locate(originals.images, names, digests=digests)
    except ValueError as error:
        raise SettingsError(f"the photos of {name} are not those of {path}: {error}") from None
    stored = [manifest.image_digests[index] for index in found]
    if stored != list(manifest.image_digests):
        raise SettingsError(f"the photos of {name} are not those of {path}, in its order")
    return manifest
