"""Stage "mark": whose photos, which keys, what is published, what is committed to."""

import dataclasses
import datetime
import os

import numpy as np

from anw_jax import _check, attacks, data
from anw_jax.errors import SettingsError
from anw_jax.lab.owner import User, member_names, open_user
from anw_jax.lab.settings import Settings
from anw_jax.lab.workdir import Workdir


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """Everything fixed before training.

    Attributes:
      splits: the data.
      partition: whose photos are whose.
      users: by name, in the order of the settings; those of crowds apart.
      crowds: the users of each crowd, by its name.
      learner: what the learner trains on.
      clean: photos of the same classes that nobody trained on and no user owns: training
        photos beyond `num_train`, or where there are none half of the spare test photos.
      unseen: the test photos without the clean ones.
    """

    splits: data.Splits
    partition: data.UserPartition
    users: dict[str, User]
    crowds: dict[str, tuple[User, ...]]
    learner: data.Dataset
    clean: data.Dataset
    unseen: data.Dataset

    @property
    def everybody(self) -> dict[str, tuple[User, ...]]:
        """The users behind each entry of the settings."""
        return {name: (user,) for name, user in self.users.items()} | self.crowds


def open_case(settings: Settings, workdir: Workdir) -> Case:
    """Loads data, draws or reloads keys, marks, and commits before anything is trained.

    A key is stored (mode 0600) before it is used, so that a run that is killed resumes
    with the same slots; manifests and commitments are written once and used ever after.

    Raises:
      SettingsError: settings that the data cannot bear, stored commitments that do not fit,
        or a workdir that was trained in before anything was committed.
    """
    _refuse_late_commitments(workdir)
    source = os.path.expandvars(settings.data.source)
    splits = data.load(source, image_size=settings.data.image_size)
    partition = _partition(settings, splits)
    opened = {
        entry: tuple(
            open_user(settings, user, name, partition.images_of(splits, name), workdir)
            for name in member_names(entry, user)
        )
        for entry, user in settings.users.items()
    }
    everybody = {user.name: user for members in opened.values() for user in members}
    _agree_on_commitments(everybody, workdir)
    online = {name: user.published() for name, user in everybody.items()}
    shown = [members[0] for members in opened.values()]
    _write_examples(shown, online, workdir)
    published = {n: images for n, images in online.items() if _is_marked(everybody[n])}
    learner = data.training_set(splits, partition, published, exclude=_left_out(settings))
    is_crowd = {entry: user.count is not None for entry, user in settings.users.items()}
    return Case(
        splits,
        partition,
        users={entry: members[0] for entry, members in opened.items() if not is_crowd[entry]},
        crowds={entry: members for entry, members in opened.items() if is_crowd[entry]},
        learner=_attacked(settings, learner),
        **_pools(splits, partition),
    )


def _pools(splits: data.Splits, partition: data.UserPartition) -> dict[str, data.Dataset]:
    """What a learner may fine-tune on, and what is left to test the outcome with."""
    num_train, num_test = len(splits.train), len(splits.test)
    limit = len(partition.train_indices)
    unused = np.setdiff1d(np.arange(num_train), partition.train_indices)
    if len(unused):
        return {"clean": splits.train.take(unused[:limit]), "unseen": splits.test}
    spare = partition.spare_test_rows(splits)
    clean = spare[: min(limit, len(spare) // 2)]
    rest = np.setdiff1d(np.arange(num_test), clean)
    return {"clean": splits.test.take(clean), "unseen": splits.test.take(rest)}


def _is_marked(user: User) -> bool:
    return user.settings.kind == "marked"


def _attacked(settings: Settings, learner: data.Dataset) -> data.Dataset:
    """The learner's photos after what it does to the files before training."""
    for chosen in settings.attacks.values():
        attack = chosen.create()
        if isinstance(attack, attacks.PhotoAttack):
            learner = learner.in_memory()
            images = attack.prepare(learner.images, seed=settings.seed)
            learner = dataclasses.replace(learner, images=images)
    return learner


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
        data.UserSpec(name, user.num_images, user.kind)
        for entry, user in settings.users.items()
        for name in member_names(entry, user)
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


def _left_out(settings: Settings) -> list[str]:
    """Users who are not trained on although they would be."""
    return [
        name
        for entry in settings.exclude
        if settings.users[entry].kind != "held_out"
        for name in member_names(entry, settings.users[entry])
    ]


def _write_examples(
    users: list[User], online: dict[str, np.ndarray], workdir: Workdir, num: int = 8
) -> None:
    """Keeps a few pictures of each user, before and after, for the report."""
    arrays = {}
    for user in users:
        arrays[f"{user.name}/original"] = user.originals.images[:num]
        arrays[f"{user.name}/published"] = online[user.name][:num]
    workdir.write_arrays("examples.npz", **arrays)


def _agree_on_commitments(users: dict[str, User], workdir: Workdir) -> None:
    now = {name: user.commitment for name, user in users.items()}
    if not workdir.exists("commitments.json"):
        time_utc = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        workdir.write_json(
            "commitments.json",
            {
                "time_utc": time_utc,
                "commitments": now,
                "plans": {name: user.plan.as_json() for name, user in users.items()},
                "beacons": {name: user.beacon.hex() for name, user in users.items()},
            },
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
