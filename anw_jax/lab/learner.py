"""Stage "train": the learner, who knows of no mark."""

import dataclasses
import os
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np

from anw_jax import attacks, data, models, train
from anw_jax.attacks import Material, TrainedModel
from anw_jax.errors import SettingsError
from anw_jax.lab.case import Case
from anw_jax.lab.journal import Journal
from anw_jax.lab.settings import Settings
from anw_jax.lab.training_log import TrainingLog
from anw_jax.lab.training_record import TrainingRecord
from anw_jax.lab.workdir import Workdir
from anw_jax.models import Model, Variables
from anw_jax.progress import format_seconds

T = TypeVar("T")

# Folded into the seed's key for a head that pretrained weights lack.
_HEAD_STREAM = 0x68656164


@dataclasses.dataclass(frozen=True, eq=False)
class Suspect:
    """A model that is asked, and how well it does.

    Attributes:
      trained: the model as it stands online.
      numbers: losses, accuracies, size, speed; plain values for the results.
    """

    trained: TrainedModel
    numbers: dict[str, Any]

    @property
    def predict(self) -> jax.tree_util.Partial:
        """[0, 1] images → logits, with its weights as arguments."""
        return self.trained.predict


def make_model(settings: Settings, learner: data.Dataset) -> tuple[Model, Variables | None]:
    """The network of the settings, and the weights it begins with where these are given.

    It normalises by the learner's own photos, or as its pretrained weights want it.
    """
    if settings.model.pretrained is not None:
        path = os.path.expandvars(settings.model.pretrained)
        key = jax.random.fold_in(jax.random.key(settings.seed), _HEAD_STREAM)
        try:
            loaded = models.load_pretrained(path, learner.num_classes, key=key)
        except (OSError, ValueError) as error:
            raise SettingsError(f"config.model.pretrained: {error}") from None
        return loaded.model, loaded.variables
    mean, std = data.channel_statistics(learner)
    model = settings.model.create(
        learner.num_classes,
        mean=tuple(np.round(mean, 4).tolist()),
        std=tuple(np.round(np.maximum(std, 1e-3), 4).tolist()),
    )
    return model, None


def recipe_of(settings: Settings) -> train.Recipe:
    """What the learner's attacks on batches and steps add to plain training."""
    recipe = train.Recipe()
    for chosen in settings.attacks.values():
        attack = chosen.create()
        if isinstance(attack, attacks.BatchAttack):
            recipe = dataclasses.replace(recipe, transforms=(*recipe.transforms, attack))
        elif isinstance(attack, attacks.StepAttack):
            recipe = attack.add_to(recipe)
    return recipe


def train_suspect(
    settings: Settings,
    case: Case,
    workdir: Workdir,
    journal: Journal,
    should_stop: Callable[[], bool],
) -> Suspect | None:
    """Trains, or resumes, or takes up the finished model; None if asked to stop."""
    learner = case.learner
    model, initial_variables = make_model(settings, learner)
    plan = data.BatchPlan(len(learner), settings.train.batch_size, settings.seed)
    parameters = models.count_parameters(model, learner.images.shape[1:])
    journal.say(
        f"{settings.model.name}, {parameters:,} parameters, {len(learner):,} photos of "
        f"{learner.num_classes} classes, {settings.train.num_epochs} epochs"
    )
    guess = train.forecast_seconds(
        model, settings.train, len(learner), learner.images.shape[1:]
    )
    about = f"very roughly {format_seconds(guess)} by FLOPs; " if guess else ""
    journal.say(f"{about}compiling and timing a step …")
    log, record = TrainingLog(journal), TrainingRecord(workdir)
    result = train.train(
        model,
        settings.train,
        learner.images,
        learner.labels,
        plan.rows,
        recipe=recipe_of(settings),
        initial_variables=initial_variables,
        checkpoint_dir=workdir.path / "checkpoints",
        on_start=_both(log.on_start, record.on_start),
        on_segment=_both(log.on_segment, record.on_segment),
        should_stop=should_stop,
    )
    record.end(is_completed=result.completed)
    if not result.completed:
        return None
    trained = TrainedModel.of(model, result.state.variables)
    return Suspect(trained, _numbers(trained.predict, parameters, case))


def _both(first: Callable[[T], None], second: Callable[[T], None]) -> Callable[[T], None]:
    """Tells both of what happens."""

    def tell(report: T) -> None:
        first(report)
        second(report)

    return tell


def _numbers(predict: jax.tree_util.Partial, parameters: int, case: Case) -> dict[str, Any]:
    numbers: dict[str, Any] = {"num_parameters": parameters, "num_train": len(case.learner)}
    for split, photos in (("train", case.learner), ("test", case.splits.test)):
        loss, accuracy = train.evaluate(predict, photos.images, photos.labels)
        numbers |= {f"{split}_loss": loss, f"{split}_accuracy": accuracy}
    return numbers


def changed(
    settings: Settings, name: str, case: Case, suspect: Suspect, journal: Journal
) -> Suspect:
    """The suspect of that name: the trained model after what the learner did to it."""
    chosen, learned, clean = settings.suspects[name], case.learner.in_memory(), case.clean
    journal.say(f"{name}: {chosen.attack} {dict(chosen.parameters) or ''}".rstrip())
    material = Material(
        settings=settings.train,
        images=learned.images,
        labels=learned.labels,
        clean_images=clean.in_memory().images,
        clean_labels=clean.labels,
        seed=settings.seed,
    )
    after = chosen.create().change(suspect.trained, material)
    numbers: dict[str, Any] = {"details": dict(after.details)}
    for prefix, predict in (("", after.predict), ("unchanged_", suspect.predict)):
        loss, accuracy = train.evaluate(predict, case.unseen.images, case.unseen.labels)
        numbers |= {f"{prefix}test_loss": loss, f"{prefix}test_accuracy": accuracy}
    return Suspect(after, numbers)
