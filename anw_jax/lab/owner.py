"""The owner's side of a case: keys, marks, manifests. Nothing here sees a model."""

import dataclasses
import itertools

import numpy as np

from anw_jax import data, keys
from anw_jax.errors import SettingsError
from anw_jax.keys import Manifest, MarkKey, Plan
from anw_jax.lab.settings import Settings, UserSettings
from anw_jax.lab.workdir import Workdir
from anw_jax.marks import HueRotation, Mark, PixelMark, UserLCT, publish


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
    """

    name: str
    settings: UserSettings
    originals: data.Dataset
    mark: Mark
    mark_key: MarkKey
    manifest: Manifest
    plan: Plan
    commitment: str

    def published(self) -> np.ndarray:
        """The photos as this user puts them online, uint8."""
        if self.settings.kind != "marked":
            return self.originals.images
        assignment = keys.assign(self.mark_key, self.manifest)
        return publish(self.mark, self.originals.images, assignment.degrees)


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
    mark_key = _load_or_make_key(settings, user, name, manifest, workdir)
    try:
        mark = mark_of(user, mark_key, originals.images.shape[1:3])
    except ValueError as error:
        raise SettingsError(f"config.users.{name}: {error}") from None
    plan = Plan(settings.verify.statistic, settings.verify.alpha, mark.description)
    commitment = keys.commit(mark_key, manifest, plan)
    return User(name, user, originals, mark, mark_key, manifest, plan, commitment)


def mark_of(user: UserSettings, mark_key: MarkKey, shape: tuple[int, int]) -> Mark:
    """The mark that a user's settings name, with its secrets from the key."""
    if user.mark == "private_basis":
        return UserLCT.from_sub_key(mark_key.sub_key("basis"))
    if user.mark == "pixels":
        return PixelMark(mark_key.sub_key("pixels"), *shape, num_pixels=user.num_pixels)
    return HueRotation()


def _load_or_make_key(
    settings: Settings, user: UserSettings, name: str, manifest: Manifest, workdir: Workdir
) -> MarkKey:
    path = workdir.file("keys", f"{name}.key")
    if path.exists():
        return MarkKey.load(path)
    if workdir.exists("commitments.json"):
        raise SettingsError(
            f"the mark key {path} is gone, and another cannot open the commitment made with "
            "it: restore it, or start afresh in another --workdir"
        )
    if settings.verify.key_origin == "experiment":
        mark_key = _experiment_key(settings.seed, user, name, manifest)
    else:
        mark_key = MarkKey.generate()
    mark_key.save(path)
    return mark_key


def _experiment_key(seed: int, user: UserSettings, name: str, manifest: Manifest) -> MarkKey:
    """The user's key of this seed.

    A signature chosen by hand takes the first key of the user's sequence that draws it. Such a
    slot was not drawn at random: its p means nothing, and the key's origin, "experiment",
    keeps it from being called evidence.
    """
    if user.signature is None:
        return MarkKey.for_experiment(seed, name)
    attempts = (
        MarkKey.for_experiment(seed, f"{name}, attempt {number}")
        for number in itertools.count()
    )
    return next(
        mark_key
        for mark_key in attempts
        if keys.assign(mark_key, manifest).degrees[0] == user.signature
    )


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
