"""Stage "mark": whose photos, which keys, what is published, what is committed to."""

import dataclasses
import datetime

import numpy as np

from anw_jax import _check, data, keys
from anw_jax.errors import SettingsError
from anw_jax.keys import Manifest, MarkKey, Plan
from anw_jax.lab.settings import Settings, UserSettings
from anw_jax.lab.workdir import Workdir
from anw_jax.marks import HueRotation, LinearColorMark, UserLCT, publish


@dataclasses.dataclass(frozen=True, eq=False)
class User:
    """One user's side of the case. The key stays with the user until the verdict.

    Attributes:
      name: as in the settings.
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
    mark: LinearColorMark
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


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """Everything fixed before training.

    Attributes:
      splits: the data.
      partition: whose photos are whose.
      users: by name, in the order of the settings.
      learner: what the learner trains on.
    """

    splits: data.Splits
    partition: data.UserPartition
    users: dict[str, User]
    learner: data.Dataset


def open_case(settings: Settings, workdir: Workdir) -> Case:
    """Loads data, draws or reloads keys, marks, and commits before anything is trained.

    A key is stored (mode 0600) before it is used, so that a run that is killed resumes
    with the same slots; manifests and commitments are written once and used ever after.

    Raises:
      SettingsError: settings that the data cannot bear, stored commitments that do not fit,
        or a workdir that was trained in before anything was committed.
    """
    _refuse_late_commitments(workdir)
    splits = data.load(settings.data.source, image_size=settings.data.image_size)
    partition = _partition(settings, splits)
    users = {
        name: _open_user(settings, name, partition.images_of(splits, name), workdir)
        for name in settings.users
    }
    _agree_on_commitments(users, workdir)
    online = {name: user.published() for name, user in users.items()}
    _write_examples(users, online, workdir)
    published = {name: online[name] for name in users if users[name].settings.kind == "marked"}
    learner = data.training_set(splits, partition, published, exclude=_left_out(settings))
    return Case(splits, partition, users, learner)


def _refuse_late_commitments(workdir: Workdir) -> None:
    """A key that is drawn after training proves nothing, so none is drawn then."""
    if workdir.exists("commitments.json"):
        return
    late = [name for name in ("checkpoints", "tables") if workdir.exists(name)]
    if late:
        raise SettingsError(
            f"{workdir.path} holds {' and '.join(late)} but no commitments.json: a commitment "
            "must come before training; start afresh in another --workdir"
        )


def _partition(settings: Settings, splits: data.Splits) -> data.UserPartition:
    """Deals the photos; refuses what could not be trained, before any key is drawn."""
    specs = [
        data.UserSpec(name, user.num_images, user.kind) for name, user in settings.users.items()
    ]
    try:
        partition = data.assign_users(
            splits, specs, settings.seed, num_train=settings.data.num_train
        )
        left_out = sum(settings.users[name].num_images for name in _left_out(settings))
        settings.train.steps_per_epoch(len(partition.train_indices) - left_out)
        _check.integer_at_least(2, num_classes=splits.train.num_classes)
    except ValueError as error:
        raise SettingsError(f"config: {error}") from None
    return partition


def _left_out(settings: Settings) -> list[str]:
    return [name for name in settings.exclude if settings.users[name].kind != "held_out"]


def _write_examples(
    users: dict[str, User], online: dict[str, np.ndarray], workdir: Workdir, num: int = 8
) -> None:
    """Keeps a few pictures of each user, before and after, for the report."""
    arrays = {}
    for name, user in users.items():
        arrays[f"{name}/original"] = user.originals.images[:num]
        arrays[f"{name}/published"] = online[name][:num]
    workdir.write_arrays("examples.npz", **arrays)


def _open_user(
    settings: Settings, name: str, originals: data.Dataset, workdir: Workdir
) -> User:
    user = settings.users[name]
    mark_key = _load_or_make_key(settings, name, workdir)
    mark: LinearColorMark = HueRotation()
    if settings.verify.private_basis:
        mark = UserLCT.from_sub_key(mark_key.sub_key("basis"))
    manifest = _load_or_make_manifest(settings, name, originals, workdir)
    plan = Plan(settings.verify.statistic, settings.verify.alpha, mark.description)
    commitment = keys.commit(mark_key, manifest, plan)
    return User(name, user, originals, mark, mark_key, manifest, plan, commitment)


def _load_or_make_key(settings: Settings, name: str, workdir: Workdir) -> MarkKey:
    path = workdir.file("keys", f"{name}.key")
    if path.exists():
        return MarkKey.load(path)
    if workdir.exists("commitments.json"):
        raise SettingsError(
            f"the mark key {path} is gone, and another cannot open the commitment made with "
            "it: restore it, or start afresh in another --workdir"
        )
    if settings.verify.key_origin == "experiment":
        mark_key = MarkKey.for_experiment(settings.seed, name)
    else:
        mark_key = MarkKey.generate()
    mark_key.save(path)
    return mark_key


def _load_or_make_manifest(
    settings: Settings, name: str, originals: data.Dataset, workdir: Workdir
) -> Manifest:
    """The manifest as first written: it, not a second decoding, decides slots.

    Photos whose pixels changed since (another decoder) are found by name, with a warning.
    """
    path = workdir.file("manifests", f"{name}.json")
    user, digests = settings.users[name], originals.original_digests
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


def _agree_on_commitments(users: dict[str, User], workdir: Workdir) -> None:
    now = {name: user.commitment for name, user in users.items()}
    if not workdir.exists("commitments.json"):
        time_utc = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        plans = {name: dataclasses.asdict(user.plan) for name, user in users.items()}
        workdir.write_json(
            "commitments.json", {"time_utc": time_utc, "commitments": now, "plans": plans}
        )
        return
    before = workdir.read_json("commitments.json")["commitments"]
    changed = [name for name in now if before.get(name) != now[name]]
    if changed or set(before) != set(now):
        raise SettingsError(
            f"the commitments in {workdir.path} do not fit the keys or photos of "
            f"{', '.join(changed) or 'other users'}: they were changed after the run began; "
            "start afresh in another --workdir"
        )
