"""Many models that differ in seed, members and marks, and in nothing else."""

import dataclasses
import math
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from anw_jax import _check
from anw_jax.models import Model
from anw_jax.progress import ProgressFn, silent
from anw_jax.train.cohort import Cohort, make_cohort
from anw_jax.train.evaluate import evaluate
from anw_jax.train.loop import SegmentReport, train
from anw_jax.train.many_vmap import train_group
from anw_jax.train.recipe import PLAIN, Recipe
from anw_jax.train.settings import TrainSettings

EXECUTIONS = ("auto", "sequence", "vmap")

Variables = dict[str, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class ManyResult:
    """The models that are trained to the end; the first `num_completed` of those asked for.

    Attributes:
      model: the architecture they share.
      seeds: of all models asked for.
      variables: float32 trees on the host, each leaf `[num_completed, ...]`.
      losses: float64 `[num_completed]`, mean cross-entropy in nats of each model on its own
        photos as it saw them, without augmentation.
      accuracies: float64 `[num_completed]`, fractions, on the same photos.
      execution: "sequence" or "vmap".
      seconds: wall time of this call.
    """

    model: Model
    seeds: tuple[int, ...]
    variables: Variables
    losses: np.ndarray
    accuracies: np.ndarray
    execution: str
    seconds: float

    @property
    def num_completed(self) -> int:
        """How many models are trained."""
        return len(self.losses)

    @property
    def completed(self) -> bool:
        """Whether all are."""
        return self.num_completed == len(self.seeds)

    def variables_of(self, index: int) -> Variables:
        """One model's variables, on this process's first device.

        Raises:
          ValueError: if there is no such model, or it is not trained yet.
        """
        _check.integer_at_least(0, index=index)
        if index >= self.num_completed:
            raise ValueError(
                f"index must be below the number of trained models {self.num_completed}, "
                f"got {index}"
            )
        one = jax.tree.map(lambda leaf: leaf[index], self.variables)
        return jax.device_put(one, jax.local_devices()[0])

    def predict_fn(self, index: int) -> jax.tree_util.Partial:
        """One model as a traced function from images to logits."""
        return self.model.predict_fn(self.variables_of(index))


def train_many(
    model: Model,
    settings: TrainSettings,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    seeds: Sequence[int],
    membership: np.ndarray | None = None,
    replaced_rows: np.ndarray | None = None,
    replacements: np.ndarray | None = None,
    recipe: Recipe = PLAIN,
    execution: str = "auto",
    group_size: int | None = None,
    checkpoint_dir: str | pathlib.Path | None = None,
    on_progress: ProgressFn = silent,
    on_model: Callable[[int, float, float], None] = lambda index, loss, accuracy: None,
    should_stop: Callable[[], bool] = lambda: False,
    driver: str = "auto",
    segment_steps: int | None = None,
    checkpoint_seconds: float = 30.0,
    max_seconds: float = math.inf,
) -> ManyResult:
    """Trains models that differ only in seed, in who is a member, and in their photos.

    Model `k` begins and augments with `seeds[k]`, and takes its batches from its own members
    alone, in the order of `data.BatchPlan(num_members, batch_size, seeds[k])`. Models that
    share a seed share the first weights and, where they have the same members, the batches.

    Every model must have the same number of members: then all take the same steps at the same
    learning rates, and no difference between two models comes from the amount of data. To
    leave a user out, give the models without it spare photos instead.

    "sequence" calls `train` for one model after another, and is that call bit for bit. "vmap"
    trains a group of models in one program on one device; losses agree with those of "sequence"
    to rounding, which training amplifies. What "auto" takes was chosen by measurement
    (`benchmarks/train_many.py`): vmap over convolution weights is slower per model than one
    after another on CPU.

    With `checkpoint_dir`, each model ("sequence") or group ("vmap") has a folder there and
    goes on from its newest checkpoint, finished ones at once. The two executions do not take
    up each other's checkpoints.

    Args:
      model: what to train.
      settings: how; `settings.seed` is not used.
      images: uint8 `[n, H, W, 3]`, shared by all models.
      labels: integers `[n]`, each in [0, model.num_classes).
      seeds: one per model, at least one; a seed may occur twice.
      membership: bool `[num_models, n]`, which rows each model trains on; None = all.
      replaced_rows: integers `[k]`, rows of which each model sees its own version (marked
        under another key, say); None = none.
      replacements: uint8 `[num_models, k, H, W, 3]`, those versions.
      recipe: what is done to batches and gradients besides, as for `train`.
      execution: "sequence", "vmap", or "auto" (vmap where there is an accelerator and more
        than one model).
      group_size: models in one vmapped program; None = all. Memory grows with it.
      checkpoint_dir: folder for checkpoints; None = none are kept.
      on_progress: called with (optimizer steps taken, optimizer steps in all), over all
        models together.
      on_model: called with (index, loss, accuracy) when a model is trained.
      should_stop: asked between segments; True saves a checkpoint and returns.
      driver: "loop", "scan", or "auto", as for `train`.
      segment_steps: optimizer steps between two reports, of which "vmap" takes 256 at most;
        None = about 5 s of them.
      checkpoint_seconds: least time between two checkpoints.
      max_seconds: a segment that would end later than this is not begun.

    Returns:
      The trained models, stacked.

    Raises:
      ValueError: if arguments do not fit each other.
      TypeError: if an argument is of the wrong kind.
      CheckpointError: if a checkpoint is damaged or of another run.
      DivergenceError: if a loss or a parameter is no longer finite.
    """
    start = time.monotonic()
    cohort = make_cohort(
        model, settings, images, labels, seeds, membership, replaced_rows, replacements, recipe
    )
    execution = resolve_execution(execution, cohort.num_models)
    options = {
        "should_stop": should_stop,
        "driver": driver,
        "segment_steps": segment_steps,
        "checkpoint_seconds": checkpoint_seconds,
        "deadline": start + max_seconds,
    }
    folder = None if checkpoint_dir is None else pathlib.Path(checkpoint_dir)
    if execution == "sequence":
        trained = _one_by_one(cohort, folder, on_progress, options)
    else:
        groups = _groups(cohort.num_models, group_size)
        trained = _in_groups(cohort, groups, folder, on_progress, options)
    kept = []
    for index, variables in enumerate(trained):
        loss, accuracy = evaluate(model.predict_fn(variables), *cohort.photos_of(index))
        kept.append((jax.device_get(variables), loss, accuracy))
        on_model(index, loss, accuracy)
    return ManyResult(
        model=model,
        seeds=cohort.seeds,
        variables=_stack(cohort, [variables for variables, _, _ in kept]),
        losses=np.array([loss for _, loss, _ in kept], np.float64),
        accuracies=np.array([accuracy for _, _, accuracy in kept], np.float64),
        execution=execution,
        seconds=time.monotonic() - start,
    )


def resolve_execution(execution: str, num_models: int) -> str:
    """The execution that "auto" stands for on this machine."""
    _check.one_of(EXECUTIONS, execution=execution)
    if execution != "auto":
        return execution
    return "sequence" if num_models == 1 or jax.default_backend() == "cpu" else "vmap"


def _groups(num_models: int, group_size: int | None) -> list[range]:
    size = num_models if group_size is None else group_size
    _check.integer_at_least(1, group_size=size)
    return [range(first, min(first + size, num_models)) for first in range(0, num_models, size)]


def _one_by_one(
    cohort: Cohort, folder: pathlib.Path | None, on_progress: ProgressFn, options: dict
) -> Iterator[Variables]:
    """Trained variables, one model after another; ends early if stopped."""
    here = jax.local_devices()[0]
    total = cohort.num_models * cohort.num_steps
    deadline = options.pop("deadline")
    for index in range(cohort.num_models):
        if index and options["should_stop"]():
            return
        done = index * cohort.num_steps

        def report(segment: SegmentReport, done: int = done) -> None:
            on_progress(done + segment.step, total)

        result = train(
            cohort.model,
            cohort.settings_of(index),
            *cohort.photos_of(index),
            cohort.plan_of(index),
            recipe=cohort.recipe,
            checkpoint_dir=None if folder is None else folder / str(index),
            on_segment=report,
            max_seconds=deadline - time.monotonic(),
            **options,
        )
        if not result.completed:
            return
        if not result.reports:  # it was finished before this call
            on_progress(done + cohort.num_steps, total)
        yield jax.device_put(result.state.variables, here)


def _in_groups(
    cohort: Cohort,
    groups: list[range],
    folder: pathlib.Path | None,
    on_progress: ProgressFn,
    options: dict,
) -> Iterator[Variables]:
    """Trained variables, one model after another, each group trained together."""
    total = cohort.num_models * cohort.num_steps
    for group in groups:
        done, size = group.start * cohort.num_steps, len(group)

        def report(step: int, num_steps: int, done: int = done, size: int = size) -> None:
            on_progress(done + size * step, total)

        name = f"{group.start}-{group.stop - 1}"
        stacked = train_group(
            cohort,
            group,
            folder=None if folder is None else folder / name,
            on_progress=report,
            **options,
        )
        if stacked is None:
            return
        for place in range(size):
            yield jax.tree.map(lambda leaf, place=place: leaf[place], stacked)


def _stack(cohort: Cohort, trees: list[Variables]) -> Variables:
    if trees:
        return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
    shape = cohort.images.shape[1:]
    abstract = jax.eval_shape(lambda: cohort.model.init(jax.random.key(0), shape))
    return jax.tree.map(lambda leaf: np.zeros((0, *leaf.shape), leaf.dtype), abstract)
