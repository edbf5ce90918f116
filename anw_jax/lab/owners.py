"""Stage "mark": generate keys, mark photos and commit (no access to any model)."""

import dataclasses
import datetime
import functools
import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator

import numpy as np

from anw_jax import _check, attacks, data, keys
from anw_jax.errors import SettingsError
from anw_jax.keys import AccessRule, Assignment, Manifest, MarkKey, Plan, SignatureSpace
from anw_jax.lab.settings import AttackSettings, Settings, UserSettings, VerifySettings
from anw_jax.lab.workdir import Workdir
from anw_jax.marks import Mark, publish

_TAG_BEACON = "anw_jax/v2/beacon of a run"


@dataclasses.dataclass(frozen=True, eq=False)
class User:
    """One user's photos, key and commitment. The key stays with the user until the verdict.

    Attributes:
      name: as in the settings; users of a group are "<group>-0000" and so on.
      settings: kind, scheme, number of photos.
      originals: the unmarked photos, with labels.
      mark: the watermark map.
      mark_key: the secret.
      manifest: units of the originals.
      plan: statistic, level, mark.
      commitment: 64 hex digits, fixed before training.
      beacon: value of the plan's beacon. A run derives it from seed and commitment, instead of
        a public source, so that its results are never evidence.
      is_excluded: whether the photos are left out of training although they would be in it.
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
    is_excluded: bool = False

    @functools.cached_property
    def assignment(self) -> Assignment:
        """The secret slots."""
        return self.assignment_of(self.mark_key)

    def assignment_of(self, mark_key: MarkKey) -> Assignment:
        """Derive slots from any key, under this user's manifest, plan and beacon."""
        return keys.assign(mark_key, self.manifest, self.plan, beacon=self.beacon)

    @property
    def is_marked(self) -> bool:
        """Whether marked photos are published, trained on or not."""
        return self.settings.kind == "marked"

    @property
    def true_degrees(self) -> float | None:
        """The one signature in training, 0 if there is none; None with several signatures."""
        if not self.is_marked or self.is_excluded:
            return 0.0
        if self.settings.scheme != "per_user":
            return None
        return float(self.assignment.degrees[0])

    def published(self) -> np.ndarray:
        """Return the photos as this user publishes them, uint8."""
        if not self.is_marked:
            return self.originals.images
        return publish(self.mark, self.originals.images, self.assignment.degrees)


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """Everything that is fixed before training.

    Attributes:
      splits: the data.
      partition: which user owns which photos.
      users: single users by name, in the order of the settings.
      groups: the users of each group, by its name.
      learner: the learner's training photos.
      clean: photos of the same classes that are in no training and belong to no user: training
        photos beyond `num_train`, or if there are none half of the spare test photos.
      unseen: the test photos without the clean ones.
    """

    splits: data.Splits
    partition: data.UserPartition
    users: dict[str, User]
    groups: dict[str, tuple[User, ...]]
    learner: data.Dataset
    clean: data.Dataset
    unseen: data.Dataset

    @property
    def all_users(self) -> list[User]:
        """All users, members of groups included."""
        return [*self.users.values(), *itertools.chain(*self.groups.values())]


def prepare(settings: Settings, workdir: Workdir) -> Prepared:
    """Load data, draw or reload keys, mark photos, and commit before any training.

    A key is stored (mode 0600) before its first use, so that a killed run resumes with the
    same slots; manifests and commitments are written once and then reused.

    Raises:
      SettingsError: settings that do not fit the data, stored commitments that do not match,
        or a workdir with a training but no commitments.
    """
    _refuse_late_commitments(workdir)
    source = os.path.expandvars(settings.data.source)
    splits = data.load(source, image_size=settings.data.image_size)
    partition = _partition(settings, splits)
    users = {
        name: open_user(
            name,
            user,
            settings.verify,
            settings.seed,
            partition.images_of(splits, name),
            workdir,
            is_excluded=entry in settings.exclude,
        )
        for entry, user in settings.users.items()
        for name in _member_names(entry, user)
    }
    check_commitments(list(users.values()), workdir)
    published = {name: user.published() for name, user in users.items()}
    members = {
        entry: tuple(users[name] for name in _member_names(entry, user))
        for entry, user in settings.users.items()
    }
    _write_examples([first for first, *_ in members.values()], published, workdir)
    learner = data.training_set(
        splits,
        partition,
        {name: images for name, images in published.items() if users[name].is_marked},
        exclude=_left_out(settings),
    )
    is_group = {entry: user.count is not None for entry, user in settings.users.items()}
    return Prepared(
        splits,
        partition,
        users={entry: found[0] for entry, found in members.items() if not is_group[entry]},
        groups={entry: found for entry, found in members.items() if is_group[entry]},
        learner=_attacked(learner, settings.attacks.values(), settings.seed),
        **_clean_and_unseen(splits, partition),
    )


def _refuse_late_commitments(workdir: Workdir) -> None:
    """Raise SettingsError if training has started: a key drawn later would prove nothing."""
    if workdir.exists("commitments.json"):
        return
    late = [name for name in ("checkpoints", "tables") if workdir.exists(name)]
    if late:
        raise SettingsError(
            f"{workdir.path} holds {' and '.join(late)} but no commitments.json: a commitment "
            "must come before training; start afresh in another --workdir"
        )


def _partition(settings: Settings, splits: data.Splits) -> data.UserPartition:
    """Distribute the photos; raise SettingsError if training is impossible."""
    specs = [
        data.UserSpec(name, user.num_images, user.kind)
        for entry, user in settings.users.items()
        for name in _member_names(entry, user)
    ]
    try:
        partition = data.assign_users(
            splits, specs, settings.seed, num_train=settings.data.num_train
        )
        left_out = sum(len(partition.user(name).indices) for name in _left_out(settings))
        settings.train.steps_per_epoch(len(partition.train_indices) - left_out)
        _check.integer_at_least(2, num_classes=splits.train.num_classes)
    except ValueError as error:
        raise SettingsError(f"config: {error}") from None
    return partition


def _member_names(entry: str, user: UserSettings) -> list[str]:
    """Names of the users of one entry of the settings: itself, or the members of a group."""
    if user.count is None:
        return [entry]
    return [f"{entry}-{index:04d}" for index in range(user.count)]


def _left_out(settings: Settings) -> list[str]:
    """Names of the users whose photos `exclude` removes from training."""
    return [
        name
        for entry in settings.exclude
        if settings.users[entry].kind != "held_out"
        for name in _member_names(entry, settings.users[entry])
    ]


def _attacked(
    learner: data.Dataset, chosen_attacks: Iterable[AttackSettings], seed: int
) -> data.Dataset:
    """Apply the learner's attacks on photos, which come before training."""
    for chosen in chosen_attacks:
        attack = chosen.create()
        if isinstance(attack, attacks.PhotoAttack):
            learner = learner.in_memory()
            images = attack.prepare(learner.images, seed=seed)
            learner = dataclasses.replace(learner, images=images)
    return learner


def _clean_and_unseen(
    splits: data.Splits, partition: data.UserPartition
) -> dict[str, data.Dataset]:
    """Choose photos for fine-tuning, and test photos disjoint from them."""
    limit = len(partition.train_indices)
    unused = np.setdiff1d(np.arange(len(splits.train)), partition.train_indices)
    if len(unused):
        return {"clean": splits.train.take(unused[:limit]), "unseen": splits.test}
    spare = partition.spare_test_rows(splits)
    clean = spare[: min(limit, len(spare) // 2)]
    rest = np.setdiff1d(np.arange(len(splits.test)), clean)
    return {"clean": splits.test.take(clean), "unseen": splits.test.take(rest)}


def _write_examples(
    users: list[User], published: dict[str, np.ndarray], workdir: Workdir, num: int = 8
) -> None:
    """Store a few photos of each user, original and published, for the report."""
    arrays = {}
    for user in users:
        arrays[f"{user.name}/original"] = user.originals.images[:num]
        arrays[f"{user.name}/published"] = published[user.name][:num]
    workdir.write_arrays("examples.npz", **arrays)


def check_commitments(users: list[User], workdir: Workdir) -> None:
    """Write the commitments of a new run, or compare those of a resumed one."""
    now = {user.name: user.commitment for user in users}
    if not workdir.exists("commitments.json"):
        time_utc = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        workdir.write_json(
            "commitments.json",
            {
                "time_utc": time_utc,
                "commitments": now,
                "plans": {user.name: user.plan.as_json() for user in users},
                "beacons": {user.name: user.beacon.hex() for user in users},
            },
        )
        return
    before = workdir.read_json("commitments.json")["commitments"]
    changed = [name for name in now if before.get(name) != now[name]]
    if changed or set(before) != set(now):
        raise SettingsError(
            f"the commitments in {workdir.path} do not match the keys or photos of "
            f"{', '.join(changed) or 'other users'}: they were changed after the run began; "
            "start afresh in another --workdir"
        )


def _plan(verify: VerifySettings, mark: Mark, seed: int) -> Plan:
    several = verify.views > 1
    return Plan(
        verify.statistic,
        verify.alpha,
        mark.description,
        beacon=f"seed {seed} of this run",
        rules=(AccessRule("logits", "arbitrator", views=verify.views),) if several else (),
    )


def open_user(
    name: str,
    user: UserSettings,
    verify: VerifySettings,
    seed: int,
    originals: data.Dataset,
    workdir: Workdir,
    *,
    is_excluded: bool = False,
) -> User:
    """Draw or reload one user's key and manifest, and commit.

    Args:
      name: of the user; names the files.
      user: kind, scheme and mark.
      verify: slots and declared test.
      seed: of the run; experiment keys derive from it, and the beacon.
      originals: the user's photos.
      workdir: of the run.
      is_excluded: whether the photos are left out of training.

    Raises:
      SettingsError: a key or photos that are not those of the stored commitment, or a mark
        that these photos cannot carry.
    """
    manifest = _manifest(name, user, verify.space, originals, workdir)

    def committed(mark_key: MarkKey) -> User:
        try:
            mark = user.create_mark(mark_key, originals.images.shape[1:3], verify.num_slots)
        except ValueError as error:
            raise SettingsError(f"config.users.{name}: {error}") from None
        plan = _plan(verify, mark, seed)
        commitment = keys.commit(mark_key, manifest, plan)
        message = f"{_TAG_BEACON}\0{seed}\0{commitment}"
        beacon = hashlib.sha256(message.encode()).digest()
        return User(
            name,
            user,
            originals,
            mark,
            mark_key,
            manifest,
            plan,
            commitment,
            beacon,
            is_excluded,
        )

    path = workdir.file("keys", f"{name}.key")
    if path.exists():
        return committed(MarkKey.load(path))
    if workdir.exists("commitments.json"):
        raise SettingsError(
            f"the mark key {path} is gone, and another cannot open the commitment made with "
            "it: restore it, or start afresh in another --workdir"
        )
    candidates = map(committed, _new_keys(name, user, seed, verify.key_origin))
    chosen = next(c for c in candidates if user.signature in (None, c.assignment.degrees[0]))
    chosen.mark_key.save(path)
    return chosen


def _new_keys(name: str, user: UserSettings, seed: int, key_origin: str) -> Iterator[MarkKey]:
    """Generate candidate keys; the first that fits is used.

    A signature chosen by hand takes the first key of the user's sequence that draws it. Such a
    slot is not drawn at random: its p means nothing, and the key's origin, "experiment",
    prevents that it is called evidence.
    """
    if user.signature is not None:
        for number in itertools.count():
            yield MarkKey.for_experiment(seed, f"{name}, attempt {number}")
    if key_origin == "experiment":
        yield MarkKey.for_experiment(seed, name)
    else:
        yield MarkKey.generate()


def _manifest(
    name: str,
    user: UserSettings,
    space: SignatureSpace,
    originals: data.Dataset,
    workdir: Workdir,
) -> Manifest:
    """Make and store a user's manifest, or load the stored one, which alone decides slots.

    Photos whose pixels changed since (by another decoder) are found by name, with a warning.
    """
    path = workdir.file("manifests", f"{name}.json")
    digests = originals.original_digests
    if not path.exists():
        manifest = Manifest.of(
            originals.images,
            space,
            user.scheme,
            user.albums(),
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
