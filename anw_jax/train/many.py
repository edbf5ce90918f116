"""Train many models that differ only in seed, members and photos."""

import dataclasses
import functools
import math
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import _check
from anw_jax.errors import DivergenceError
from anw_jax.models import Model
from anw_jax.progress import ProgressFn, silent
from anw_jax.train.batches import Batches
from anw_jax.train.classifier import (
    classification_step,
    first_state,
    step_key,
    train,
)
from anw_jax.train.cohort import Cohort, make_cohort
from anw_jax.train.losses import evaluate
from anw_jax.train.recipe import PLAIN, Recipe, plain_values
from anw_jax.train.runner import TrainResult, fit
from anw_jax.train.segments import OVER_MODELS
from anw_jax.train.settings import TrainSettings

EXECUTIONS = ("auto", "sequence", *OVER_MODELS)

Variables = dict[str, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class ManyResult:
    """The trained models: the first `num_completed` of all.

    Attributes:
      model: the architecture that they share.
      seeds: of all models, trained or not.
      variables: float32 trees on the host, each leaf `[num_completed, ...]`.
      losses: float64 `[num_completed]`, mean cross-entropy in nats of each model on the
        photos that it was trained on, without augmentation.
      accuracies: float64 `[num_completed]`, fractions, on the same photos.
      execution: "sequence", "map" or "vmap".
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
        """Number of models that are trained."""
        return len(self.losses)

    @property
    def completed(self) -> bool:
        """Whether all models are trained."""
        return self.num_completed == len(self.seeds)

    def variables_of(self, index: int) -> Variables:
        """Return one model's variables, on this process's first device.

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
        """Return one model as a traced function from images to logits."""
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
    max_seconds: float = math.inf,
    **options: Any,
) -> ManyResult:
    """Train models that differ only in seed, in their members, and in their photos.

    Model `k` is initialised and augmented with `seeds[k]`, and takes its batches only from its
    own members, in the order of `data.BatchPlan(num_members, batch_size, seeds[k])`. Models
    with equal seeds have equal first weights and, if their members are equal, equal batches.

    Every model must have the same number of members: then all take the same steps at the same
    learning rates, and no difference between two models is due to the amount of data. To
    leave a user out, give the models without that user spare photos instead.

    "sequence" calls `train` for one model after another, with the same bits. "map" and "vmap"
    train a group of models in one program on one device, one after another or all at once;
    their losses agree with those of "sequence" up to rounding, which training amplifies. The
    choice of "auto" is by measurement (`benchmarks/train_many.py`): on CPU, vmap over
    convolution weights is slower per model than one after another.

    With `checkpoint_dir`, each model ("sequence") or group has a folder there and resumes from
    its newest checkpoint. An execution does not resume checkpoints of another.

    Args:
      model: the network.
      settings: how it is trained; `settings.seed` is not used.
      images: uint8 `[n, H, W, 3]`, shared by all models.
      labels: integers `[n]`, each in [0, model.num_classes).
      seeds: one per model, at least one; a seed may occur twice.
      membership: bool `[num_models, n]`, which rows each model trains on; None = all.
      replaced_rows: integers `[k]`, rows of which each model has its own version (marked
        with another key, say); None = none.
      replacements: uint8 `[num_models, k, H, W, 3]`, those versions.
      recipe: further changes of batches and gradients, as for `train`.
      execution: "sequence", "map", "vmap", or "auto" (vmap where there is an accelerator and
        more than one model, otherwise sequence).
      group_size: models in one program; None = all. Memory grows with it.
      checkpoint_dir: folder for checkpoints; None = none are kept.
      on_progress: called with (optimizer steps taken, optimizer steps in all), over all
        models together.
      on_model: called with (index, loss, accuracy) when a model is trained.
      should_stop: called between segments; True saves a checkpoint and returns.
      max_seconds: a segment that would end later than this is not started.
      **options: of `fit`: `segment_steps`, `checkpoint_seconds`.

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
    group_size = cohort.num_models if group_size is None else group_size
    _check.integer_at_least(1, group_size=group_size)
    if execution == "sequence":
        group_size = 1
    folder = None if checkpoint_dir is None else pathlib.Path(checkpoint_dir)
    options["should_stop"] = should_stop
    deadline = start + max_seconds
    trees, losses, accuracies = [], [], []
    for variables in _trained(
        cohort, execution, group_size, folder, on_progress, deadline, options
    ):
        index = len(trees)
        loss, accuracy = evaluate(model.predict_fn(variables), *cohort.photos_of(index))
        trees.append(jax.device_get(variables))
        losses.append(loss)
        accuracies.append(accuracy)
        on_model(index, loss, accuracy)
    return ManyResult(
        model=model,
        seeds=cohort.seeds,
        variables=_stack(cohort, trees),
        losses=np.array(losses, np.float64),
        accuracies=np.array(accuracies, np.float64),
        execution=execution,
        seconds=time.monotonic() - start,
    )


def resolve_execution(execution: str, num_models: int) -> str:
    """Return the execution that "auto" selects on this machine."""
    _check.one_of(EXECUTIONS, execution=execution)
    if execution != "auto":
        return execution
    return "sequence" if num_models == 1 or jax.default_backend() == "cpu" else "vmap"


def _trained(
    cohort: Cohort,
    execution: str,
    group_size: int,
    folder: pathlib.Path | None,
    on_progress: ProgressFn,
    deadline: float,
    options: dict[str, Any],
) -> Iterator[Variables]:
    """Yield trained variables, one model after another; end early if stopped."""
    total = cohort.num_models * cohort.num_steps
    for first in range(0, cohort.num_models, group_size):
        group = range(first, min(first + group_size, cohort.num_models))
        if first > 0 and options["should_stop"]():
            return

        def report(step: int, group: range = group) -> None:
            on_progress(group.start * cohort.num_steps + len(group) * step, total)

        is_sequence = execution == "sequence"
        name = f"{first}" if is_sequence else f"{first}-{group.stop - 1}"
        train_fn = _train_one if is_sequence else functools.partial(_train_group, execution)
        try:
            result = train_fn(
                cohort,
                group,
                checkpoint_dir=None if folder is None else folder / name,
                on_segment=lambda segment, report=report: report(segment.step),
                max_seconds=deadline - time.monotonic(),
                **options,
            )
        except DivergenceError as error:
            raise DivergenceError(f"models {name}, counted from 0: {error}") from None
        if not result.completed:
            return
        if not result.reports:  # it was finished before this call
            report(cohort.num_steps)
        variables = jax.device_put(result.state.variables, jax.local_devices()[0])
        for place in range(len(group)):
            yield (
                variables
                if is_sequence
                else jax.tree.map(lambda leaf, place=place: leaf[place], variables)
            )


def _train_one(cohort: Cohort, group: range, **options: Any) -> TrainResult:
    (index,) = group
    return train(
        cohort.model,
        cohort.settings_of(index),
        *cohort.photos_of(index),
        cohort.plan_of(index),
        recipe=cohort.recipe,
        **options,
    )


def _train_group(execution: str, cohort: Cohort, group: range, **options: Any) -> TrainResult:
    """Train some models in one program; the leaves of its state have a leading axis."""
    step = classification_step(
        cohort.model, cohort.settings, cohort.steps_per_epoch, cohort.recipe
    )
    shape = cohort.images.shape[1:]
    states = [
        first_state(step, cohort.model, cohort.settings_of(index), shape) for index in group
    ]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    rows_fn = functools.partial(cohort.rows_of, group)
    batch_shape = (len(group), cohort.settings.batch_size)
    return fit(
        step,
        stacked.replace(step=states[0].step),
        Batches(cohort.columns_of(group), rows_fn, batch_shape),
        num_steps=cohort.num_steps,
        key=jnp.stack([step_key(cohort.settings_of(index)) for index in group]),
        over_models=execution,
        identity={
            "model": plain_values(cohort.model),
            "settings": plain_values(cohort.settings_of(0)) | {"seed": 0},
            "recipe": cohort.recipe.plain(),
            "execution": execution,
            **cohort.fingerprint(group),
        },
        **options,
    )


def _stack(cohort: Cohort, trees: list[Variables]) -> Variables:
    if trees:
        return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
    shape = cohort.images.shape[1:]
    abstract = jax.eval_shape(lambda: cohort.model.init(jax.random.key(0), shape))
    return jax.tree.map(lambda leaf: np.zeros((0, *leaf.shape), leaf.dtype), abstract)
