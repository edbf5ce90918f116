"""Stage "train": train the learner's model without any key, and record seconds and code."""

import dataclasses
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from anw_jax import _jax_settings, attacks, data, models, train
from anw_jax.attacks import Material, TrainedModel
from anw_jax.errors import SettingsError
from anw_jax.lab.journal import Journal, TrainingLog
from anw_jax.lab.owners import Prepared
from anw_jax.lab.provenance import provenance
from anw_jax.lab.settings import AttackSettings, ModelSettings
from anw_jax.lab.workdir import Workdir
from anw_jax.models import Model, Variables
from anw_jax.progress import format_seconds
from anw_jax.train import Recipe, TrainSettings

# Folded into the seed's key for a head that pretrained weights lack.
_HEAD_STREAM = 0x68656164

_RECORD_FILE = "training.json"
# Each update of the record waits for the disk.
_SECONDS_BETWEEN_UPDATES = 10.0


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedRun:
    """A trained or changed model, and its numbers.

    Attributes:
      trained: the model that is queried.
      numbers: losses, accuracies, size, speed; plain values for the results.
    """

    trained: TrainedModel
    numbers: dict[str, Any]

    @property
    def predict(self) -> jax.tree_util.Partial:
        """[0, 1] images → logits, with its weights as arguments."""
        return self.trained.predict


def train_model(
    settings: TrainSettings,
    network: ModelSettings,
    recipe: Recipe,
    prepared: Prepared,
    workdir: Workdir,
    journal: Journal,
    should_stop: Callable[[], bool],
) -> TrainedRun | None:
    """Train, resume, or load the finished model; return None if it was stopped."""
    learner = prepared.learner
    model, initial_variables = make_model(network, learner, settings.seed)
    plan = data.BatchPlan(len(learner), settings.batch_size, settings.seed)
    image_shape = learner.images.shape[1:]
    parameters = models.count_parameters(model, image_shape)
    journal.say(
        f"{network.name}, {parameters:,} parameters, {len(learner):,} photos of "
        f"{learner.num_classes} classes, {settings.num_epochs} epochs"
    )
    guess = train.forecast_seconds(model, settings, len(learner), image_shape)
    about = f"estimate from FLOPs: {format_seconds(guess)}; " if guess else ""
    journal.say(f"{about}compiling and timing one step …")
    record = TrainingRecord(workdir)
    result = train.train(
        model,
        settings,
        learner.images,
        learner.labels,
        plan.rows,
        recipe=recipe,
        initial_variables=initial_variables,
        checkpoint_dir=workdir.path / "checkpoints",
        **callbacks_of(TrainingLog(journal), record),
        should_stop=should_stop,
    )
    record.end(is_completed=result.completed)
    if not result.completed:
        return None
    trained = TrainedModel.of(model, result.state.variables)
    numbers: dict[str, Any] = {"num_parameters": parameters, "num_train": len(learner)}
    numbers |= _evaluated("train_", trained, learner)
    numbers |= _evaluated("test_", trained, prepared.splits.test)
    return TrainedRun(trained, numbers)


def make_model(
    network: ModelSettings, learner: data.Dataset, seed: int
) -> tuple[Model, Variables | None]:
    """Make the network, and load its initial weights if the settings name them.

    It normalises by the learner's own photos, or as its pretrained weights require.
    """
    if network.pretrained is not None:
        path = os.path.expandvars(network.pretrained)
        key = jax.random.fold_in(jax.random.key(seed), _HEAD_STREAM)
        try:
            loaded = models.load_pretrained(path, learner.num_classes, key=key)
        except (OSError, ValueError) as error:
            raise SettingsError(f"config.model.pretrained: {error}") from None
        return loaded.model, loaded.variables
    mean, std = data.channel_statistics(learner)
    model = network.create(
        learner.num_classes,
        mean=tuple(np.round(mean, 4).tolist()),
        std=tuple(np.round(np.maximum(std, 1e-3), 4).tolist()),
    )
    return model, None


def recipe_of(chosen_attacks: Iterable[AttackSettings]) -> Recipe:
    """Collect the attacks on batches and steps, which act during training."""
    recipe = Recipe()
    for chosen in chosen_attacks:
        attack = chosen.create()
        if isinstance(attack, attacks.BatchAttack):
            recipe = dataclasses.replace(recipe, transforms=(*recipe.transforms, attack))
        elif isinstance(attack, attacks.StepAttack):
            recipe = attack.add_to(recipe)
    return recipe


def change_model(
    chosen: AttackSettings, settings: TrainSettings, prepared: Prepared, trained_run: TrainedRun
) -> TrainedRun:
    """Apply an attack on the trained model, pruning or fine-tuning for instance."""
    learned = prepared.learner.in_memory()
    material = Material(
        settings=settings,
        images=learned.images,
        labels=learned.labels,
        clean_images=prepared.clean.in_memory().images,
        clean_labels=prepared.clean.labels,
        seed=settings.seed,
    )
    changed = chosen.create().change(trained_run.trained, material)
    numbers: dict[str, Any] = {"details": dict(changed.details)}
    numbers |= _evaluated("test_", changed, prepared.unseen)
    numbers |= _evaluated("unchanged_test_", trained_run.trained, prepared.unseen)
    return TrainedRun(changed, numbers)


def _evaluated(prefix: str, model: TrainedModel, photos: data.Dataset) -> dict[str, float]:
    loss, accuracy = train.evaluate(model.predict, photos.images, photos.labels)
    return {f"{prefix}loss": loss, f"{prefix}accuracy": accuracy}


def callbacks_of(*watchers: Any) -> dict[str, Callable[[Any], None]]:
    """Return the arguments `on_start` and `on_segment` of a training that call each watcher's.

    Args:
      *watchers: objects with both methods, such as `TrainingLog` and `TrainingRecord`.
    """

    def on_start(report: train.StartReport) -> None:
        for watcher in watchers:
            watcher.on_start(report)

    def on_segment(report: train.SegmentReport) -> None:
        for watcher in watchers:
            watcher.on_segment(report)

    return {"on_start": on_start, "on_segment": on_segment}


class TrainingRecord:
    """Callbacks of `train.train` that keep `training.json`: seconds and code of a training.

    Several experiments may share one training. Only processes that take steps count, and the
    file is updated while they train, so that a kill loses a few seconds of the sum at most.
    Create it just before training.

    Args:
      workdir: of the training.
    """

    def __init__(self, workdir: Workdir):
        self._workdir = workdir
        self._before = workdir.read_json(_RECORD_FILE) if workdir.exists(_RECORD_FILE) else None
        self._start = self._last_update = time.monotonic()
        self._origin: dict[str, Any] | None = None
        self._seconds_before: float | None = 0.0

    def on_start(self, start: train.StartReport) -> None:
        """Record code and machine, if any steps are left."""
        if start.first_step >= start.num_steps:
            return
        self._origin = provenance()
        if self._before is not None:
            self._seconds_before = self._before["seconds"]
        elif start.first_step:
            self._seconds_before = None  # begun by a version without this record
        self._update(is_completed=False)

    def on_segment(self, _: train.SegmentReport) -> None:
        """Update the seconds from time to time."""
        if time.monotonic() - self._last_update >= _SECONDS_BETWEEN_UPDATES:
            self._update(is_completed=False)

    def end(self, *, is_completed: bool) -> None:
        """Write the final seconds; a process that only loads the model adds none."""
        if self._origin is not None:
            self._update(is_completed=is_completed)
        elif is_completed:
            record = self._before or self._without_record()
            self._workdir.write_json(_RECORD_FILE, record | {"completed": True})

    def _without_record(self) -> dict[str, Any]:
        """Describe a training by a version without records, by the workdir's provenance."""
        name = "provenance.json"
        origin = self._workdir.read_json(name) if self._workdir.exists(name) else None
        return {"seconds": None, "provenance": origin, "earlier_commits": []}

    def _update(self, *, is_completed: bool) -> None:
        self._last_update = time.monotonic()
        seconds, earlier = self._seconds_before, []
        if seconds is not None:
            seconds += self._last_update - self._start
        if self._before is not None:
            earlier = [*self._before["earlier_commits"], self._before["provenance"]["commit"]]
        record = {
            "completed": is_completed,
            "seconds": seconds,
            "provenance": self._origin,
            "earlier_commits": [
                commit for commit in dict.fromkeys(earlier) if commit != self._origin["commit"]
            ],
        }
        self._workdir.write_json(_RECORD_FILE, record)


def check_same_jax(workdir: Workdir, settings: dict[str, Any]) -> str | None:
    """Raise an error if jax settings have changed since the training began.

    Args:
      workdir: of the training.
      settings: `verify.jax_record()["settings"]` of this process.

    Returns:
      A note if the training was begun by a version that did not record them, else None.

    Raises:
      SettingsError: names the settings that differ, and both values.
    """
    if not workdir.exists(_RECORD_FILE):
        return None
    before = jax_settings_in(workdir.read_json(_RECORD_FILE)["provenance"])
    if before is None:
        return "the training here was begun before settings of jax were recorded: not compared"
    names = _jax_settings.differing(before, settings)
    if names:
        raise SettingsError(
            f"{workdir.path} holds a training under other settings of jax "
            f"({', '.join(names)}): set them as they were, or choose another --workdir"
        )
    return None


def jax_settings_in(origin: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the settings of jax in a provenance; None if it has none."""
    return ((origin or {}).get("jax") or {}).get("settings")


def training_of(workdir: Workdir) -> dict[str, Any]:
    """Return seconds (None: unknown) and provenance of the finished training.

    `earlier_commits` are those that took its first steps, if it was resumed with another.
    """
    record = workdir.read_json(_RECORD_FILE)
    return {name: record[name] for name in ("seconds", "provenance", "earlier_commits")}
