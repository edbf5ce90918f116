"""A training with several data owners, with and without their defence, and a fresh attacker.

The experiment plays all parties, so it writes each owner's file of images first. From then on
only the owner's process reads that file; the server gets messages, which are logged, and the
attacker gets images that no owner has.
"""

import dataclasses
import functools
import multiprocessing
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from anw_jax import _check, data, partition, train
from anw_jax.errors import SettingsError
from anw_jax.lab.journal import Journal, StoppedError, TrainingLog, stop_on_interrupt
from anw_jax.lab.settings import DataSettings
from anw_jax.lab.training import callbacks_of
from anw_jax.lab.workdir import Workdir
from anw_jax.models import SplitNet
from anw_jax.partition import (
    DEFAULT_ATTACKER,
    AttackerSettings,
    Defence,
    RoundReport,
    SplitSettings,
)
from anw_jax.report import write_picture_rows

FOLDER = "split"
_PICTURED = 8


@dataclasses.dataclass(frozen=True)
class SplitRunSettings:
    """A split training without a defence, one with it, and an attacker on each.

    Attributes:
      data: the owners share its training images, `data.num_train` in all, evenly.
      defence: of the defended training.
      seed: of data order, first weights and attackers; noise is never reproducible.
      classes: names of the classes that the task has; () for all.
      num_owners: at least 3.
      num_rounds: each ends with an average of the bottom halves.
      steps_per_round: optimizer steps of a round.
      batch_size: images of each owner in a step.
      learning_rate: of the first round.
      channels: of the activations that are sent.
      width: of the network.
      attacker: of both trainings.
      num_targets: owners' images that the attacker rebuilds.
    """

    data: DataSettings
    defence: Defence
    seed: int = 0
    classes: tuple[str, ...] = ()
    num_owners: int = 3
    num_rounds: int = 12
    steps_per_round: int = 20
    batch_size: int = 32
    learning_rate: float = 3e-3
    channels: int = 8
    width: int = 16
    attacker: AttackerSettings = DEFAULT_ATTACKER
    num_targets: int = 100

    def __post_init__(self):
        _check.integer_at_least(_PICTURED, num_targets=self.num_targets)
        self.training(2, (2, 2, 3), self.defence)

    def training(
        self, num_classes: int, image_shape: tuple[int, int, int], defence: Defence
    ) -> SplitSettings:
        """Return the settings of a training that all parties know."""
        return SplitSettings(
            SplitNet(num_classes, self.channels, self.width),
            num_owners=self.num_owners,
            image_shape=image_shape,
            num_rounds=self.num_rounds,
            steps_per_round=self.steps_per_round,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            defence=defence,
            seed=self.seed,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class _Run:
    """What the trainings of one run share."""

    settings: SplitRunSettings
    folder: Workdir
    journal: Journal
    should_stop: Callable[[], bool]
    files: list[pathlib.Path]
    targets: np.ndarray
    attacker: data.Dataset
    unseen: data.Dataset

    def training(self, defence: Defence) -> SplitSettings:
        shape = tuple(self.targets.shape[1:])
        return self.settings.training(self.unseen.num_classes, shape, defence)


def measure_split(
    settings: SplitRunSettings, folder: Workdir, journal: Journal
) -> dict[str, Any]:
    """Train with and without the defence, attack both, and search messages for images.

    Returns:
      Plain numbers: of "undefended" and "defended" each `test_accuracy`, `ssim`, `mse`,
      `attribute_accuracy`, `attribute_chance`, `epsilon_of_message` (None: no bound), `lost`;
      `task_drop`; and of "trace" what was found in kept messages. Pictures are in
      `figures/inversion.png`.

    Raises:
      StoppedError: Ctrl-C was pressed; the same call goes on.
      SettingsError: fewer images than the owners need, or an unknown class.
    """
    with stop_on_interrupt(journal) as stop:
        run = _prepare(settings, folder, journal, stop)
        arms = {"undefended": Defence(), "defended": settings.defence}
        found: dict[str, Any] = {}
        for name, defence in arms.items():
            with journal.stage("split"):
                found[name] = folder.once(
                    f"{FOLDER}/{name}.json",
                    dataclasses.asdict(settings),
                    functools.partial(_arm, run, name, defence),
                )
                journal.say(_line(name, found[name]))
        found["task_drop"] = (
            found["undefended"]["test_accuracy"] - found["defended"]["test_accuracy"]
        )
        with journal.stage("trace"):
            found["trace"] = folder.once(
                f"{FOLDER}/trace.json",
                dataclasses.asdict(settings),
                functools.partial(_trace, run),
            )
        pictures = {"the owners' images": run.targets[:_PICTURED]}
        for name in arms:
            rebuilt = folder.read_arrays(f"{FOLDER}/{name}/rebuilt.npz")["images"]
            ssim = found[name]["ssim"]
            pictures[f"rebuilt from activations, {name}: SSIM {ssim:.2f}"] = rebuilt
        write_picture_rows(folder.file("figures/inversion.png"), pictures)
    return found


def load_images(settings: DataSettings, classes: tuple[str, ...]) -> data.Splits:
    """Load images of some classes, in memory; () for all classes.

    Raises:
      SettingsError: an unknown class, or fewer images than `num_train`.
    """
    source = os.path.expandvars(settings.source)
    splits = data.load(source, image_size=settings.image_size)
    train_set, test = (_chosen(s.in_memory(), classes) for s in (splits.train, splits.test))
    if settings.num_train is not None:
        if settings.num_train > len(train_set):
            raise SettingsError(
                f"data.num_train must be at most {len(train_set)}, got {settings.num_train}"
            )
        train_set = train_set.take(np.arange(settings.num_train))
    return data.Splits(train_set, test)


def _chosen(dataset: data.Dataset, classes: tuple[str, ...]) -> data.Dataset:
    if not classes:
        return dataset
    for name in classes:
        if name not in dataset.class_names:
            hint = _check.did_you_mean(name, dataset.class_names)
            raise SettingsError(f"classes: {dataset.name} has no class {name!r}{hint}")
    numbers = [dataset.class_names.index(name) for name in classes]
    rows = np.flatnonzero(np.isin(dataset.labels, numbers))
    labels = np.searchsorted(np.sort(numbers), dataset.labels[rows])
    names = tuple(dataset.class_names[number] for number in sorted(numbers))
    return data.Dataset(dataset.images[rows], labels, names, dataset.name)


def _prepare(
    settings: SplitRunSettings, folder: Workdir, journal: Journal, stop: Callable[[], bool]
) -> _Run:
    splits = load_images(settings.data, settings.classes)
    images, labels = splits.train.images, splits.train.labels
    share, half = len(images) // settings.num_owners, len(splits.test) // 2
    if share < max(settings.batch_size, 1) or half < 1:
        raise SettingsError(
            f"data.num_train must give each of {settings.num_owners} owners a batch of "
            f"{settings.batch_size} images, got {len(images)} images"
        )
    files, targets = [], []
    for number in range(settings.num_owners):
        rows = slice(number * share, (number + 1) * share)
        name = f"{FOLDER}/owners/{number + 1}.npz"
        folder.write_arrays(name, images=images[rows], labels=labels[rows])
        files.append(folder.path / name)
        targets.append(images[rows][: -(-settings.num_targets // settings.num_owners)])
    return _Run(
        settings,
        folder,
        journal,
        stop,
        files,
        np.concatenate(targets)[: settings.num_targets],
        splits.test.take(np.arange(half)),
        splits.test.take(np.arange(half, len(splits.test))),
    )


def _arm(run: _Run, name: str, defence: Defence) -> dict[str, Any]:
    """Train with one defence, and attack what came of it."""
    training = run.training(defence)

    def on_round(report: RoundReport) -> None:
        run.journal.say(
            f"{name}: round {report.number}/{training.num_rounds}   loss {report.loss:6.3f}   "
            f"accuracy {report.accuracy:6.1%}   {report.num_owners} owners",
            **dataclasses.asdict(report),
        )

    result = partition.train_split(
        run.files,
        training,
        run.folder.path / FOLDER / name,
        on_round=on_round,
        should_stop=run.should_stop,
    )
    if not result.completed:
        raise StoppedError
    predict_fn = training.predict_fn(result.bottom, result.top)
    accuracy = train.evaluate(predict_fn, run.unseen.images, run.unseen.labels)[1]
    seen = partition.invert(
        training.net,
        defence,
        result.bottom,
        run.attacker.images,
        run.targets,
        run.settings.attacker,
        **callbacks_of(TrainingLog(run.journal, f"attacker, {name}: ")),
    )
    run.folder.write_arrays(f"{FOLDER}/{name}/rebuilt.npz", images=seen.images[:_PICTURED])
    return {
        "test_accuracy": accuracy,
        "ssim": seen.ssim,
        "mse": seen.mse,
        "attribute_accuracy": seen.attribute_accuracy,
        "attribute_chance": seen.attribute_chance,
        "epsilon_of_message": partition.epsilon_of_message(defence),
        "lost": {str(number): reason for number, reason in result.lost.items()},
    }


def _trace(run: _Run) -> dict[str, Any]:
    """Keep all messages of a short training, search them for images, then plant one."""
    short = dataclasses.replace(
        run.training(run.settings.defence), num_rounds=1, steps_per_round=2
    )
    folder = run.folder.path / FOLDER / "short"
    trace = folder / "trace"
    (folder / "split.npz").unlink(missing_ok=True)
    for left in trace.glob("*"):
        left.unlink()
    partition.train_split(run.files, short, folder, keeps_bodies=True)
    images = np.concatenate([np.load(file)["images"] for file in run.files])
    num_messages = len(list(trace.glob("*.npz")))
    leaks = partition.find_images(trace, images)
    ours, _theirs = multiprocessing.Pipe()
    planted = partition.Channel(ours, "leak", "server", trace=trace, keeps_bodies=True)
    planted.send("share", activations=images[:1].astype(np.float32) / np.float32(255.0))
    found = partition.find_images(trace, images)
    return {
        "num_messages": num_messages,
        "num_images": len(images),
        "images_found": len(leaks),
        "planted_found": len({leak.image for leak in found} & {0}),
    }


def _line(name: str, numbers: dict[str, Any]) -> str:
    return (
        f"{name:<11} test {numbers['test_accuracy']:6.1%}   SSIM {numbers['ssim']:.3f}   "
        f"attribute {numbers['attribute_accuracy']:6.1%} "
        f"(chance {numbers['attribute_chance']:.1%})"
    )
