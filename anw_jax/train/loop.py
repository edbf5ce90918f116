"""Training from the first step, or from a checkpoint, to the last."""

import contextlib
import dataclasses
import math
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import _check, data
from anw_jax.errors import CheckpointError, DivergenceError
from anw_jax.models import Model
from anw_jax.train.checkpoints import Checkpoints
from anw_jax.train.drivers import MAX_SEGMENT_STEPS
from anw_jax.train.recipe import PLAIN, Recipe
from anw_jax.train.run import IndicesFn, Run, prepare, time_step
from anw_jax.train.schedule import learning_rate_fn
from anw_jax.train.settings import TrainSettings
from anw_jax.train.state import Metrics, TrainState

# A person who presses Ctrl-C waits for the end of a segment.
_SEGMENT_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class StartReport:
    """What is known once the first step has been compiled and timed.

    Attributes:
      first_step: optimizer steps taken before, 0 unless resumed.
      num_steps: optimizer steps of the whole training.
      segment_steps: optimizer steps between two reports.
      driver: "loop", "scan" or "stream".
      num_devices: devices that share each batch.
      compile_seconds: until the first step could be timed.
      step_seconds: of one optimizer step.
      remaining_seconds: estimate for the steps still to take.
    """

    first_step: int
    num_steps: int
    segment_steps: int
    driver: str
    num_devices: int
    compile_seconds: float
    step_seconds: float
    remaining_seconds: float


@dataclasses.dataclass(frozen=True)
class SegmentReport:
    """What a segment of steps was like.

    Attributes:
      step: optimizer steps taken so far.
      num_steps: optimizer steps of the whole training.
      loss: mean training loss over the segment, nats, on augmented batches.
      accuracy: mean training accuracy over the segment, a fraction.
      learning_rate: of the segment's last step.
      images_per_second: over the segment.
      seconds: the segment's wall time.
    """

    step: int
    num_steps: int
    loss: float
    accuracy: float
    learning_rate: float
    images_per_second: float
    seconds: float


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """How a training ended.

    Attributes:
      state: the last state.
      completed: whether all steps were taken.
      reports: one per segment of this call, oldest first.
    """

    state: TrainState
    completed: bool
    reports: tuple[SegmentReport, ...]


def train(
    model: Model,
    settings: TrainSettings,
    images: np.ndarray | data.StreamedImages,
    labels: np.ndarray,
    indices_fn: IndicesFn,
    *,
    recipe: Recipe = PLAIN,
    targets: np.ndarray | None = None,
    initial_variables: Any = None,
    trainable: str = "all",
    checkpoint_dir: str | pathlib.Path | None = None,
    on_start: Callable[[StartReport], None] = lambda report: None,
    on_segment: Callable[[SegmentReport], None] = lambda report: None,
    should_stop: Callable[[], bool] = lambda: False,
    driver: str = "auto",
    num_devices: int | None = None,
    segment_steps: int | None = None,
    checkpoint_seconds: float = 30.0,
    max_seconds: float = math.inf,
) -> TrainResult:
    """Trains a network; resumes where the newest checkpoint left off.

    A run that is killed and resumed gives the same bits on CPU as one that never stopped,
    with the same JAX, number and kind of devices, driver and segment length; a checkpoint
    that differs in one of them is refused. BatchNorm sees the whole
    batch, however many devices share it.

    Args:
      model: what to train.
      settings: how.
      images: uint8 `[n, H, W, 3]`; kept on the devices. Or a `data.StreamedImages`, whose
        batches are read as they are needed; on CPU that changes no bit of the result.
      labels: integers `[n]`, each in [0, model.num_classes).
      indices_fn: the batch plan, `(first_step, num_steps)` to int32
        `[num_steps, batch_size]` rows of `images`; must be a pure function.
      recipe: what is done to batches and gradients besides.
      targets: float32 `[n, c]`, rows that sum to 1: distributions over the classes to learn in
        place of the labels (distillation); None = the labels. Accuracy then counts the classes
        that targets make likeliest.
      initial_variables: weights to start from, of the shapes that `model.init` gives, left as
        they are; None = drawn from `settings.seed`.
      trainable: "all" parameters, or those of the last dense layer ("head") only; the rest of
        the network then stays as it is, BatchNorm's averages too, and drops no units.
      checkpoint_dir: folder for checkpoints; None = none are kept.
      on_start: called once, when the first step is compiled and timed.
      on_segment: called at the end of each segment.
      should_stop: asked at the end of each segment; True saves a checkpoint and returns.
      driver: "loop", "scan", or "auto" (loop on CPU, scan elsewhere); for streamed images
        "stream" or "auto".
      num_devices: devices to share each batch, at most; lowered until it divides the
        batch; None = all.
      segment_steps: optimizer steps per segment; None = about 5 s of them.
      checkpoint_seconds: least time between two checkpoints; the last step and a stop are
        always saved.
      max_seconds: a segment that would end later than this is not begun.

    Returns:
      The last state, and whether training is complete.

    Raises:
      ValueError: if arguments do not fit each other.
      TypeError: if an argument is of the wrong kind.
      SettingsError: in a run of several processes.
      CheckpointError: if the newest checkpoint is damaged or of another run, or if one cannot
        be written.
      DivergenceError: if the loss or a parameter is no longer finite; the newest
        checkpoint is from before.
    """
    deadline = time.monotonic() + max_seconds
    run = prepare(
        model,
        settings,
        images,
        labels,
        indices_fn,
        recipe=recipe,
        targets=targets,
        initial_variables=initial_variables,
        trainable=trainable,
        driver=driver,
        num_devices=num_devices,
    )
    with contextlib.closing(run), _open_checkpoints(checkpoint_dir, run) as checkpoints:
        state, saved_steps = _first_state(run, checkpoints)
        segment_steps = _agreed_segment_steps(segment_steps, saved_steps)
        begun = _begin(run, state, segment_steps)
        on_start(begun)
        saver = _Saver(checkpoints, begun.segment_steps, checkpoint_seconds)
        reports = []
        for first, count in _segments(begun):
            is_late = time.monotonic() + count * begun.step_seconds > deadline
            if is_late or (reports and should_stop()):
                saver.save(state)
                return TrainResult(state, False, tuple(reports))
            state, report = _take_segment(run, state, first, count, checkpoints)
            reports.append(report)
            on_segment(report)
            saver.save_if_due(state, is_last=report.step == run.num_steps)
    return TrainResult(state, True, tuple(reports))


def estimate(
    model: Model,
    settings: TrainSettings,
    images: np.ndarray | data.StreamedImages,
    labels: np.ndarray,
    indices_fn: IndicesFn,
    *,
    recipe: Recipe = PLAIN,
    targets: np.ndarray | None = None,
    initial_variables: Any = None,
    trainable: str = "all",
    driver: str = "auto",
    num_devices: int | None = None,
) -> StartReport:
    """How long a training will take on this machine, from one compiled, timed step.

    A later `train` with the same model, settings, recipe and shapes does not compile again.

    Raises:
      ValueError: if arguments do not fit each other.
      TypeError: if an argument is of the wrong kind.
    """
    run = prepare(
        model,
        settings,
        images,
        labels,
        indices_fn,
        recipe=recipe,
        targets=targets,
        initial_variables=initial_variables,
        trainable=trainable,
        driver=driver,
        num_devices=num_devices,
    )
    with contextlib.closing(run):
        return _begin(run, run.init_state(), None)


def _open_checkpoints(
    checkpoint_dir: str | pathlib.Path | None, run: Run
) -> contextlib.AbstractContextManager[Checkpoints | None]:
    if checkpoint_dir is None:
        return contextlib.nullcontext()
    return Checkpoints(checkpoint_dir, run.fingerprint())


def _first_state(run: Run, checkpoints: Checkpoints | None) -> tuple[TrainState, int | None]:
    state = run.init_state()
    if checkpoints is None or checkpoints.latest_step is None:
        return state, None
    return checkpoints.restore(state)


def _agreed_segment_steps(asked: int | None, saved: int | None) -> int | None:
    if asked is not None:
        _check.integer_at_least(1, segment_steps=asked)
        if asked > MAX_SEGMENT_STEPS:
            raise ValueError(f"segment_steps must be at most {MAX_SEGMENT_STEPS}, got {asked}")
    if None not in (asked, saved) and asked != saved:
        raise CheckpointError(
            f"segment_steps is {saved} in the checkpoint and {asked} here: "
            f"resume with segment_steps={saved}, or None to take what was saved"
        )
    return asked if saved is None else saved


def _begin(run: Run, state: TrainState, segment_steps: int | None) -> StartReport:
    start = time.perf_counter()
    first = int(state.step)
    is_done = first >= run.num_steps
    step_seconds = 0.0 if is_done else time_step(run, state, first)
    if segment_steps is None:
        wanted = int(_SEGMENT_SECONDS / max(step_seconds, 1e-9))
        segment_steps = max(1, min(wanted, run.num_steps, MAX_SEGMENT_STEPS))
    return StartReport(
        first_step=first,
        num_steps=run.num_steps,
        segment_steps=segment_steps,
        driver=run.driver,
        num_devices=run.mesh.size,
        compile_seconds=time.perf_counter() - start,
        step_seconds=step_seconds,
        remaining_seconds=step_seconds * (run.num_steps - first),
    )


def _segments(begun: StartReport) -> Iterator[tuple[int, int]]:
    for first in range(begun.first_step, begun.num_steps, begun.segment_steps):
        yield first, min(begun.segment_steps, begun.num_steps - first)


def _take_segment(
    run: Run, state: TrainState, first: int, count: int, checkpoints: Checkpoints | None
) -> tuple[TrainState, SegmentReport]:
    start = time.perf_counter()
    state, metrics = run.advance(state, first, count)
    # Reading the sums is the only wait for the device in a segment.
    metrics, is_finite = jax.device_get((metrics, _all_finite(state.params)))
    seconds = time.perf_counter() - start
    if not (is_finite and math.isfinite(metrics.loss)):
        raise DivergenceError(_divergence_message(metrics, first, count, checkpoints))
    rate_fn = learning_rate_fn(run.settings, run.steps_per_epoch)
    report = SegmentReport(
        step=first + count,
        num_steps=run.num_steps,
        loss=float(metrics.loss) / count,
        accuracy=float(metrics.accuracy) / count,
        learning_rate=float(rate_fn(first + count - 1)),
        images_per_second=count * run.settings.batch_size / seconds,
        seconds=seconds,
    )
    return state, report


@jax.jit
def _all_finite(params: object) -> jax.Array:
    finite = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params)]
    return jnp.stack(finite).all()


def _divergence_message(
    metrics: Metrics, first: int, count: int, checkpoints: Checkpoints | None
) -> str:
    kept = "no checkpoint was kept"
    if checkpoints is not None and checkpoints.latest_step is not None:
        kept = f"the checkpoint of step {checkpoints.latest_step} is from before"
    return (
        f"the loss or a parameter became infinite or NaN in steps {first} to "
        f"{first + count - 1} (mean loss {float(metrics.loss) / count:g}); {kept}; "
        "lower learning_rate or add warmup_epochs"
    )


class _Saver:
    """Saves not more often than every `interval` seconds."""

    def __init__(
        self, checkpoints: Checkpoints | None, segment_steps: int, interval: float
    ) -> None:
        self._checkpoints, self._interval = checkpoints, interval
        self._segment_steps = segment_steps
        self._last = time.monotonic()

    def save_if_due(self, state: TrainState, is_last: bool) -> None:
        if is_last or time.monotonic() - self._last >= self._interval:
            self.save(state)

    def save(self, state: TrainState) -> None:
        if self._checkpoints is not None:
            self._checkpoints.save(state, self._segment_steps)
        self._last = time.monotonic()
