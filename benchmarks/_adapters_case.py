"""One case of `benchmarks.adapters`: the owner's files, then two trainings by a learner."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable

import numpy as np

from anw_jax import data
from anw_jax.audit import Choices, commit_folder, publish_folder
from anw_jax.audit.published import Published, read_published
from anw_jax.keys import MarkKey
from benchmarks import _measure

# It imports nothing of this project and is run as a program of its own.
LEARNER = _measure.REPOSITORY / "tests" / "suspects" / "learner_torch.py"
WORLDS = ("with", "without")


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings that determine the numbers of a run.

    Attributes:
      source: of the photos, for `data.load`.
      num_train: photos of the learner, the marked ones included.
      num_marked: photos of the owner among these.
      num_test: photos on which the learner's accuracy is measured.
      epochs, batch, rate, width: of the learner.
      statistic, alpha: of the owner's plan.
      decimals: of the rounded probabilities.
      label_queries: K, changes of each image, for models that answer with one label.
      noise_levels: of these changes, for `Augmentation`.
      num_wrong_keys: fresh keys for the negative control.
    """

    source: str
    num_train: int
    num_marked: int
    num_test: int
    epochs: int
    batch: int
    rate: float
    width: int
    statistic: str
    alpha: float
    decimals: int
    label_queries: int
    noise_levels: int
    num_wrong_keys: int


@dataclasses.dataclass(frozen=True)
class Case:
    """The files of one seed below `folder`, and what the owner gave to the arbitrator.

    Attributes:
      folder: of this seed.
      originals: uint8 `[num_marked, H, W, 3]`, in the order of the manifest.
      labels: int64 `[num_marked]`.
      published: commitment, plan and manifest, read from the owner's files.
      learner: the learner's report of each of its two trainings.
    """

    folder: pathlib.Path
    originals: np.ndarray
    labels: np.ndarray
    published: Published
    learner: dict[str, dict]

    @property
    def key(self) -> MarkKey:
        """Return the owner's key, which is opened only after a table was sealed."""
        return MarkKey.load(self.folder / "owner.key")


def prepare(
    folder: pathlib.Path,
    seed: int,
    settings: Settings,
    load: Callable[[], data.Splits],
    worlds: tuple[str, ...] = WORLDS,
) -> Case:
    """Make the missing files: the owner's, then those of both trainings at once.

    In the world "with" the learner has the owner's published photos; in "without" it has
    no photos of the owner, marked or not. `load` is called only if photos are needed.
    """
    if not (folder / "labels.npy").exists():
        _photos(folder, seed, settings, load())
    running = [
        _start(folder / name, seed, settings)
        for name in worlds
        if not (folder / name / "report.json").exists()
    ]
    _wait_for(running)
    learner = {name: json.loads((folder / name / "report.json").read_text()) for name in worlds}
    originals = _read_all(folder / "originals")
    labels = np.load(folder / "labels.npy")
    return Case(folder, originals, labels, read_published(folder / "marked"), learner)


def _photos(folder: pathlib.Path, seed: int, settings: Settings, splits: data.Splits) -> None:
    """Write the owner's files and the learner's photos of both worlds, `labels.npy` last."""
    rows = np.random.default_rng(seed).permutation(len(splits.train))[: settings.num_train]
    photos = np.asarray(splits.train.images[rows])
    labels = np.asarray(splits.train.labels[rows], np.int64)
    mine, others = slice(0, settings.num_marked), slice(settings.num_marked, None)
    marked = _owner(folder, seed, settings, photos[mine])
    sets = {
        "with": (np.concatenate([marked, photos[others]]), labels),
        "without": (photos[others], labels[others]),
    }
    test = splits.test
    for name, (images, truth) in sets.items():
        (folder / name).mkdir(exist_ok=True)
        np.savez(
            folder / name / "photos.npz",
            train_images=images,
            train_labels=truth,
            test_images=np.asarray(test.images[: settings.num_test]),
            test_labels=np.asarray(test.labels[: settings.num_test]),
        )
    np.save(folder / "labels.partial.npy", labels[mine])
    os.replace(folder / "labels.partial.npy", folder / "labels.npy")


def _owner(
    folder: pathlib.Path, seed: int, settings: Settings, originals: np.ndarray
) -> np.ndarray:
    """Write originals, key, commitment and published PNG files; return what was published."""
    photos = folder / "originals"
    photos.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(originals):
        (photos / f"{number:03}.png").write_bytes(data.png_of(image))
    if not (folder / "owner.key").exists():
        MarkKey.for_experiment(seed, "adapters").save(folder / "owner.key")
    if not (folder / "marked" / "published").exists():
        choices = Choices(mark="hue", statistic=settings.statistic, alpha=settings.alpha)
        commit_folder(photos, folder / "owner.key", folder / "marked", choices)
        publish_folder(photos, folder / "owner.key", folder / "marked")
    return _read_all(folder / "marked" / "published")


def _read_all(folder: pathlib.Path) -> np.ndarray:
    """Read uint8 `[n, H, W, 3]`, in the order of the manifest, which is that of the names."""
    return np.stack([data.read_photo(file) for file in data.list_photos(folder)])


def _start(
    folder: pathlib.Path, seed: int, settings: Settings
) -> tuple[subprocess.Popen, pathlib.Path]:
    command = [sys.executable, str(LEARNER), str(folder / "photos.npz"), str(folder)]
    for name in ("epochs", "batch", "rate", "width"):
        command += [f"--{name}", str(getattr(settings, name))]
    log = folder / "log.txt"
    print(f"training in {folder.parent.name}/{folder.name}; progress: {log}", flush=True)
    # The learner is a separate program, with none of this project's settings of Python.
    environment = {name: os.environ[name] for name in os.environ if name != "PYTHONPATH"}
    with log.open("w") as file:
        process = subprocess.Popen(
            [*command, "--seed", str(seed)],
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment,
        )
    return process, log


def _wait_for(running: list[tuple[subprocess.Popen, pathlib.Path]]) -> None:
    try:
        for process, log in running:
            if process.wait():
                raise RuntimeError(f"the learner failed: {log.read_text()[-2000:]}")
    finally:
        for process, _ in running:
            process.kill()
            process.wait()
