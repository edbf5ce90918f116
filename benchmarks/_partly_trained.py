"""A training on a known share of the photos of each of several owners, and its tables.

Owners of 40 photos each, one key and one manifest per owner, a hue per photo; 0, 10, 20, 30
and 40 of the marked photos are in the training, the others of the same owner are not. All
photos come from the training split and are assigned by `data.assign_users`, so that trained and
left-out ones differ in nothing else.
"""

import dataclasses
import functools
import pathlib

import numpy as np

from anw_jax import data, keys, models, train, verify
from anw_jax.keys import MarkKey
from anw_jax.marks import HueRotation, publish

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
NUM_PHOTOS = 40
NUM_TRAIN = 2_000
SPACE = keys.SignatureSpace()
# The stored rows were marked with slots of version 1.
RULES = keys.Plan("log_losses", 1e-6, version=1)
# As `experiments/common.py` trains its small cases: minutes on two cores.
TRAIN = train.TrainSettings(
    batch_size=32, num_epochs=40, schedule="cosine", warmup_epochs=2, nesterov=True
)


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """The rows of all owners of one training, owner after owner, with trained photos first.

    Attributes:
      seed: of data, keys, network and training.
      losses: float32 `[200, 12]` nats.
      slots: int64 `[200]`, the secret slots.
      digests: the photos' digests, from which fresh keys draw slots.
      accuracies: of the model, on its training photos and on the test photos.
    """

    seed: int
    losses: np.ndarray
    slots: np.ndarray
    digests: np.ndarray
    accuracies: np.ndarray

    @functools.cached_property
    def trained(self) -> np.ndarray:
        """Return bool `[200]`: whether the model was trained on each photo."""
        counts = [num_trained(share) for share in SHARES]
        return np.concatenate([np.arange(NUM_PHOTOS) < count for count in counts])

    def owner(self, share: float) -> slice:
        """Return the rows of the owner of whose photos this share was used."""
        first = SHARES.index(share) * NUM_PHOTOS
        return slice(first, first + NUM_PHOTOS)


def num_trained(share: float) -> int:
    """Return how many of an owner's photos are in the training."""
    return round(share * NUM_PHOTOS)


def train_and_ask(source: str, seed: int, settings: train.TrainSettings = TRAIN) -> Rows:
    """Train one model on the used photos of all owners, and query it."""
    splits = data.load(source)
    specs = [data.UserSpec(name, size) for name, size in _parts()]
    left_out = [name for name, _ in _parts() if name.startswith("left")]
    num_left = sum(size for name, size in _parts() if name in left_out)
    partition = data.assign_users(splits, specs, seed, num_train=NUM_TRAIN + num_left)
    albums = [_album(splits, partition, share) for share in SHARES]
    published, slots, digests = {}, [], []
    for share, album in zip(SHARES, albums, strict=True):
        manifest = keys.Manifest.of(album.images, SPACE, "per_image")
        mark_key = MarkKey.for_experiment(seed, f"owner of whom {share:.0%} is used")
        assignment = keys.assign(mark_key, manifest, RULES)
        online = publish(HueRotation(), album.images, assignment.degrees)
        if count := num_trained(share):
            published[f"used{share:g}"] = online[:count]
        slots.append(assignment.slots)
        digests.append(manifest.image_digests)
    learner = data.training_set(splits, partition, published, exclude=left_out)
    predict = _trained(learner, dataclasses.replace(settings, seed=seed))
    everything = np.concatenate([album.images for album in albums])
    labels = np.concatenate([album.labels for album in albums])
    losses = verify.loss_table(predict, everything, labels, HueRotation(), SPACE)
    accuracies = [
        train.evaluate(predict, part.images, part.labels)[1] for part in (learner, splits.test)
    ]
    return Rows(
        seed,
        losses.astype(np.float32),
        np.concatenate(slots),
        np.array([text for owner in digests for text in owner]),
        np.array(accuracies),
    )


def _parts() -> list[tuple[str, int]]:
    """Return each owner's used and left-out photos, as users of a partition."""
    parts = [
        (f"{what}{share:g}", size)
        for share in SHARES
        for what, size in (
            ("used", num_trained(share)),
            ("left", NUM_PHOTOS - num_trained(share)),
        )
    ]
    return [(name, size) for name, size in parts if size]


def _album(splits: data.Splits, partition: data.UserPartition, share: float) -> data.Dataset:
    """Return all photos of one owner, the used ones first."""
    mine = [f"{what}{share:g}" for what in ("used", "left")]
    known = [name for name, _ in _parts() if name in mine]
    rows = np.concatenate([partition.user(name).indices for name in known])
    return splits.train.take(rows).in_memory()


def _trained(learner: data.Dataset, settings: train.TrainSettings):
    mean, std = data.channel_statistics(learner)
    model = models.create(
        "small",
        learner.num_classes,
        mean=tuple(np.round(mean, 4).tolist()),
        std=tuple(np.round(std, 4).tolist()),
    )
    plan = data.BatchPlan(len(learner), settings.batch_size, settings.seed)
    result = train.train(model, settings, learner.images, learner.labels, plan.rows)
    return model.predict_fn(result.state.variables)


def save(path: pathlib.Path, trainings: list[Rows]) -> None:
    """Write the rows of all trainings, from which every figure can be replayed."""
    fields = [field.name for field in dataclasses.fields(Rows)]
    columns = {name: np.stack([getattr(rows, name) for rows in trainings]) for name in fields}
    np.savez_compressed(path, **columns)


def load(path: pathlib.Path) -> list[Rows]:
    """Read a file of `save`."""
    with np.load(path) as arrays:
        columns = dict(arrays)
    fields = [columns[field.name] for field in dataclasses.fields(Rows)]
    return [Rows(int(seed), *rest) for seed, *rest in zip(*fields, strict=True)]
