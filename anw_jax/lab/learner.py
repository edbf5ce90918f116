"""Stage "train": the learner, who knows of no mark."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from anw_jax import data, models, train
from anw_jax.lab.case import Case
from anw_jax.lab.journal import Journal
from anw_jax.lab.settings import Settings
from anw_jax.lab.workdir import Workdir
from anw_jax.models import Model
from anw_jax.progress import Estimator, format_seconds


@dataclasses.dataclass(frozen=True, eq=False)
class Suspect:
    """A trained model, and how well it does.

    Attributes:
      predict: [0, 1] images → logits, with its weights as arguments.
      numbers: losses, accuracies, size, speed; plain values for the results.
    """

    predict: jax.tree_util.Partial
    numbers: dict[str, Any]


def make_model(settings: Settings, learner: data.Dataset) -> Model:
    """The network of the settings, normalising by the learner's own photos."""
    mean, std = _channel_statistics(learner.images)
    return models.create(
        settings.model.name,
        learner.num_classes,
        stem=settings.model.stem,
        widths=settings.model.widths,
        dtype=settings.model.dtype,
        mean=tuple(np.round(mean, 4).tolist()),
        std=tuple(np.round(np.maximum(std, 1e-3), 4).tolist()),
    )


def _channel_statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation per channel, from counts of the 256 levels."""
    counts = np.stack([np.bincount(images[..., c].ravel(), minlength=256) for c in range(3)])
    levels = np.arange(256) / 255.0
    weights = counts / counts.sum(axis=1, keepdims=True)
    mean = weights @ levels
    return mean, np.sqrt(np.maximum(weights @ levels**2 - mean**2, 0.0))


def train_suspect(
    settings: Settings,
    case: Case,
    workdir: Workdir,
    journal: Journal,
    should_stop: Callable[[], bool],
) -> Suspect | None:
    """Trains, or resumes, or takes up the finished model; None if asked to stop."""
    learner = case.learner
    model = make_model(settings, learner)
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
    estimator = Estimator()

    def on_start(start: train.StartReport) -> None:
        what = "resumed at" if start.first_step else "starts at"
        estimator.update(start.first_step, start.num_steps)
        journal.say(
            f"{what} step {start.first_step} of {start.num_steps}; about "
            f"{format_seconds(start.remaining_seconds)} of training on this machine "
            f"({start.driver} driver, {start.num_devices} device(s))",
            **dataclasses.asdict(start),
        )

    def on_segment(report: train.SegmentReport) -> None:
        text = (
            f"step {report.step:>5}/{report.num_steps}   loss {report.loss:6.3f}   "
            f"accuracy {report.accuracy:6.1%}   {report.images_per_second:5.0f} images/s"
        )
        journal.beat(
            report.step, report.num_steps, estimator, text, **dataclasses.asdict(report)
        )

    result = train.train(
        model,
        settings.train,
        learner.images,
        learner.labels,
        plan.rows,
        checkpoint_dir=workdir.path / "checkpoints",
        on_start=on_start,
        on_segment=on_segment,
        should_stop=should_stop,
    )
    if not result.completed:
        return None
    state = result.state
    predict = model.predict_fn({"params": state.params, "batch_stats": state.batch_stats})
    return Suspect(predict, _numbers(predict, parameters, case))


def _numbers(predict: jax.tree_util.Partial, parameters: int, case: Case) -> dict[str, Any]:
    numbers: dict[str, Any] = {"num_parameters": parameters, "num_train": len(case.learner)}
    for split, photos in (("train", case.learner), ("test", case.splits.test)):
        loss, accuracy = train.evaluate(predict, photos.images, photos.labels)
        numbers |= {f"{split}_loss": loss, f"{split}_accuracy": accuracy}
    return numbers
