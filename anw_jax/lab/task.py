"""The task of runs with watermarks in models: images, a network, what an attacker has."""

import dataclasses
import hashlib
import os
from collections.abc import Callable
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import data, train
from anw_jax.attacks import Material
from anw_jax.errors import SettingsError
from anw_jax.lab.journal import Journal, StoppedError, TrainingLog
from anw_jax.lab.settings import DataSettings, ModelSettings
from anw_jax.lab.training import callbacks_of, make_model
from anw_jax.lab.workdir import Workdir
from anw_jax.models import Model, Variables
from anw_jax.train import TrainSettings

# Of experiment keys, which are never evidence.
BEACON = "arbitrator:experiment"


def beacon_value(seed: int) -> bytes:
    """Return the value of `BEACON` in runs of a seed: what follows the commitment."""
    return hashlib.sha256(f"beacon of seed {seed}".encode()).digest()


class TaskSettings(Protocol):
    """The settings that all such runs have."""

    @property
    def seed(self) -> int:
        """Of the data and trainings."""

    @property
    def data(self) -> DataSettings:
        """The task's images."""

    @property
    def model(self) -> ModelSettings:
        """The network."""

    @property
    def train(self) -> TrainSettings:
        """How it is trained."""


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """What all stages of one run share; `attacker` and `unseen` are halves of the test set."""

    settings: TaskSettings
    folder: Workdir
    journal: Journal
    model: Model
    learner: data.Dataset
    attacker: data.Dataset
    unseen: data.Dataset
    should_stop: Callable[[], bool]

    def material(self) -> Material:
        """Return what an attacker has."""
        settings = dataclasses.replace(self.settings.train, seed=self.settings.seed)
        return Material(
            settings,
            self.learner.images,
            self.learner.labels,
            self.attacker.images,
            self.attacker.labels,
            seed=self.settings.seed,
        )

    def accuracy(self, predict: jax.tree_util.Partial) -> float:
        """Return the share of unseen images that are classified correctly."""
        return train.evaluate(predict, self.unseen.images, self.unseen.labels)[1]


def load_task(
    settings: TaskSettings, folder: Workdir, journal: Journal, stop: Callable[[], bool]
) -> Task:
    """Load the images of a task and describe its network.

    Raises:
      SettingsError: more images are wanted than there are.
    """
    source = os.path.expandvars(settings.data.source)
    # Streamed, so that only the images that are used are read and resized.
    splits = data.load(source, image_size=settings.data.image_size, in_memory=False)
    learner, test = splits.train, splits.test.in_memory()
    if settings.data.num_train is not None:
        if settings.data.num_train > len(learner):
            raise SettingsError(
                f"config.data.num_train must be at most {len(learner)}, got "
                f"{settings.data.num_train}"
            )
        learner = learner.take(np.arange(settings.data.num_train))
    learner = learner.in_memory()
    half = len(test) // 2
    model, _ = make_model(settings.model, learner, settings.seed)
    return Task(
        settings,
        folder,
        journal,
        model,
        learner,
        test.take(np.arange(half)),
        test.take(np.arange(half, len(test))),
        stop,
    )


def train_network(run: Task, seed: int, name: str) -> Variables:
    """Train a network from scratch, resume it, or load it."""
    learner = run.learner
    settings = dataclasses.replace(run.settings.train, seed=seed)
    plan = data.BatchPlan(len(learner), settings.batch_size, seed)
    result = train.train(
        run.model,
        settings,
        learner.images,
        learner.labels,
        plan.rows,
        checkpoint_dir=run.folder.path / "networks" / name,
        **callbacks_of(TrainingLog(run.journal, f"{name}: ")),
        should_stop=run.should_stop,
    )
    if not result.completed or run.should_stop():
        raise StoppedError
    return jax.tree.map(jnp.asarray, jax.device_get(result.state.variables))
