"""Run any training from its first step, or from a checkpoint, to its last.

Steps are taken in segments: loops on the devices, between which a training reports, saves and
may stop. Their length is fixed at the start and stored in the checkpoints, so that a resumed
training runs the same programs.
"""

import contextlib
import dataclasses
import functools
import hashlib
import math
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import _check
from anw_jax.errors import CheckpointError, DivergenceError
from anw_jax.train.batches import Batches, replicated, settings_of_jax
from anw_jax.train.checkpoints import Checkpoints, digest
from anw_jax.train.segments import Run, prepare
from anw_jax.train.step import Step, TrainState

# A person who presses Ctrl-C waits for the end of a segment.
_SEGMENT_SECONDS = 5.0

_MEASURED_SECONDS = 0.2


@dataclasses.dataclass(frozen=True)
class StartReport:
    """The start of a training, once its first step has been compiled and timed.

    Attributes:
      first_step: optimizer steps taken before; 0 unless resumed.
      num_steps: optimizer steps of the whole training.
      segment_steps: optimizer steps between two reports.
      num_devices: devices that share each batch.
      compile_seconds: time to compile and time the first step.
      step_seconds: time of one optimizer step.
      remaining_seconds: estimated time of the remaining steps.
    """

    first_step: int
    num_steps: int
    segment_steps: int
    num_devices: int
    compile_seconds: float
    step_seconds: float
    remaining_seconds: float


@dataclasses.dataclass(frozen=True)
class SegmentReport:
    """The metrics and the speed of a segment of steps.

    Attributes:
      step: optimizer steps taken so far.
      num_steps: optimizer steps of the whole training.
      metrics: means over the segment's steps (and models): "loss", and what the loss names.
      examples_per_second: over the segment, of all models together.
      seconds: the segment's wall time.
    """

    step: int
    num_steps: int
    metrics: Mapping[str, float]
    examples_per_second: float
    seconds: float

    @property
    def loss(self) -> float:
        """Mean training loss over the segment."""
        return self.metrics["loss"]


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """The end of a training.

    Attributes:
      state: the last state.
      completed: whether all steps were taken.
      reports: one per segment of this call, oldest first.
    """

    state: TrainState
    completed: bool
    reports: tuple[SegmentReport, ...]


def fit(
    step: Step,
    state: TrainState,
    batches: Batches,
    *,
    num_steps: int,
    key: chex.PRNGKey,
    over_models: str | None = None,
    identity: Mapping[str, Any] | None = None,
    checkpoint_dir: str | pathlib.Path | None = None,
    on_start: Callable[[StartReport], None] = lambda report: None,
    on_segment: Callable[[SegmentReport], None] = lambda report: None,
    should_stop: Callable[[], bool] = lambda: False,
    num_devices: int | None = None,
    segment_steps: int | None = None,
    checkpoint_seconds: float = 30.0,
    max_seconds: float = math.inf,
) -> TrainResult:
    """Train with any step; resume where the newest checkpoint left off.

    On CPU, a training that is killed and resumed gives the same bits as one that never
    stopped, with the same JAX, number and kind of devices and segment length; a checkpoint
    that differs in one of them is refused. Several devices may share a batch; whatever is
    computed over a batch (BatchNorm) is computed over all of it.

    Args:
      step: what `make_step` or `chain` returns.
      state: what `step.init` returns; stays unchanged.
      batches: the source of batches; its columns are held on the devices or streamed.
      num_steps: optimizer steps of the whole training.
      key: PRNG key of the training; each step folds its number into it.
      over_models: trains many models at once, whose states (but for `state.step`) and keys
        have a leading axis, as have the rows of a step: by `jax.vmap`, or one after another
        in one program by `jax.lax.map`. On one device. None = one model.
      identity: plain values that a resumed training must agree on; None = digests of the
        first state, the key and the columns. Code (loss, optimizer) is not compared unless
        it is named here.
      checkpoint_dir: folder for checkpoints; None = none are kept. Trees are made of dicts,
        lists, tuples and arrays.
      on_start: called once, when the first step has been compiled and timed.
      on_segment: called after each segment.
      should_stop: called after each segment; True saves a checkpoint and returns.
      num_devices: devices that share each batch, at most; lowered until it divides the
        batch; None = all.
      segment_steps: optimizer steps per segment; None = about 5 s of them.
      checkpoint_seconds: least time between two checkpoints; the state of the last step and
        of a stop is always saved.
      max_seconds: a segment that would end later than this is not started.

    Returns:
      The last state, and whether training is complete.

    Raises:
      ValueError: if arguments do not fit each other, or, before the first step, if the loss
        is no float scalar, changes the shapes of the model state, or does not depend on a
        trained parameter.
      CheckpointError: if the newest checkpoint is damaged or of another training, or if one
        cannot be written.
      DivergenceError: if the loss is not finite at the first step, or the loss or a
        parameter later; the newest checkpoint is from before.
    """
    deadline = time.monotonic() + max_seconds
    _check.integer_at_least(1, num_steps=num_steps)
    run = prepare(step, batches, num_steps, key, over_models, num_devices)
    identity = identity_of(batches, state, key) if identity is None else identity
    with contextlib.closing(run.feed), _open(checkpoint_dir, run, identity) as checkpoints:
        state, saved_steps = _first_state(run, state, checkpoints)
        segment_steps = _agreed_segment_steps(segment_steps, saved_steps, run)
        begun = _begin(run, state, segment_steps)
        on_start(begun)
        reports, saved_at = [], time.monotonic()
        for first in range(begun.first_step, num_steps, begun.segment_steps):
            count = min(begun.segment_steps, num_steps - first)
            is_late = time.monotonic() + count * begun.step_seconds > deadline
            if is_late or (reports and should_stop()):
                if checkpoints is not None:
                    checkpoints.save(state, begun.segment_steps)
                return TrainResult(state, False, tuple(reports))
            state, report = _take_segment(run, state, first, count, checkpoints)
            reports.append(report)
            on_segment(report)
            is_due = time.monotonic() - saved_at >= checkpoint_seconds
            if checkpoints is not None and (is_due or report.step == num_steps):
                checkpoints.save(state, begun.segment_steps)
                saved_at = time.monotonic()
    return TrainResult(state, True, tuple(reports))


def identity_of(batches: Batches, state: TrainState, key: chex.PRNGKey) -> dict[str, Any]:
    """Return what a resumed training agrees on if nothing else is named: digests."""
    return {
        "state": digest(state),
        "key": digest(jax.random.key_data(key)),
        "dataset": batches.digest(),
    }


def _open(
    checkpoint_dir: str | pathlib.Path | None, run: Run, identity: Mapping[str, Any]
) -> contextlib.AbstractContextManager[Checkpoints | None]:
    if checkpoint_dir is None:
        return contextlib.nullcontext()
    plan = hashlib.sha256(run.batches.rows(0, 1).tobytes()).hexdigest()[:16]
    fingerprint = {
        "batch_plan": plan,
        "num_devices": run.mesh.size,
        "backend": jax.default_backend(),
        # Another version or chip may sum in another order.
        "jax_version": jax.__version__,
        "device_kind": run.mesh.devices.flat[0].device_kind,
        "jax": settings_of_jax(),
        **identity,
    }
    return Checkpoints(checkpoint_dir, fingerprint)


def _first_state(
    run: Run, state: TrainState, checkpoints: Checkpoints | None
) -> tuple[TrainState, int | None]:
    # Segments donate their state: the caller's must stay.
    state = jax.tree.map(jnp.copy, jax.device_put(state, replicated(run.mesh)))
    if checkpoints is None or checkpoints.latest_step is None:
        return state, None
    return checkpoints.restore(state, num_steps=run.num_steps)


def _agreed_segment_steps(wanted: int | None, saved: int | None, run: Run) -> int | None:
    if wanted is not None:
        _check.integer_at_least(1, segment_steps=wanted)
        most = run.feed.max_steps
        if wanted > most:
            raise ValueError(f"segment_steps must be at most {most}, got {wanted}")
    if None not in (wanted, saved) and wanted != saved:
        raise CheckpointError(
            f"segment_steps is {saved} in the checkpoint and {wanted} here: "
            f"resume with segment_steps={saved}, or None for the saved number"
        )
    return wanted if saved is None else saved


def _begin(run: Run, state: TrainState, segment_steps: int | None) -> StartReport:
    start = time.perf_counter()
    first = int(state.step)
    step_seconds = 0.0 if first >= run.num_steps else _time_step(run, state, first)
    if segment_steps is None:
        wanted = int(_SEGMENT_SECONDS / max(step_seconds, 1e-9))
        segment_steps = max(1, min(wanted, run.num_steps, run.feed.max_steps))
    return StartReport(
        first_step=first,
        num_steps=run.num_steps,
        segment_steps=segment_steps,
        num_devices=run.mesh.size,
        compile_seconds=time.perf_counter() - start,
        step_seconds=step_seconds,
        remaining_seconds=step_seconds * (run.num_steps - first),
    )


def _time_step(run: Run, state: TrainState, first_step: int) -> float:
    """Return the seconds of a compiled step, taken on copies of the state."""
    copy, metrics = run.advance(jax.tree.map(jnp.copy, state), first_step, 1)
    if first_step == 0 and not np.isfinite(metrics["loss"]).all():
        raise DivergenceError(
            f"loss_fn must give a finite loss at step 0, got {metrics['loss']}: look for a "
            "logarithm or a division of 0 in the loss, and for NaN in the first batch"
        )

    def advance(count: int) -> TrainState:
        nonlocal copy
        copy = run.advance(copy, first_step, count)[0]
        return copy

    return seconds_each(advance, min(64, run.feed.max_steps))


def seconds_each(take: Callable[[int], Any], most: float = math.inf) -> float:
    """Return the seconds of one step, from enough steps in a row to measure.

    Args:
      take: takes that many steps; returns arrays to wait for.
      most: steps in a row.
    """
    count = 1
    while True:
        start = time.perf_counter()
        jax.block_until_ready(take(count))
        seconds = time.perf_counter() - start
        # A single short step would measure its dispatch.
        if seconds > _MEASURED_SECONDS or 4 * count > most:
            return seconds / count
        count *= 4


def _take_segment(
    run: Run, state: TrainState, first: int, count: int, checkpoints: Checkpoints | None
) -> tuple[TrainState, SegmentReport]:
    start = time.perf_counter()
    state, sums = run.advance(state, first, count)
    is_finite = np.isfinite(sums["loss"]) & np.asarray(_finite(state.params, sums["loss"].ndim))
    seconds = time.perf_counter() - start
    if not is_finite.all():
        raise DivergenceError(_divergence_message(sums, is_finite, first, count, checkpoints))
    report = SegmentReport(
        step=first + count,
        num_steps=run.num_steps,
        metrics={name: float(np.mean(value)) / count for name, value in sums.items()},
        examples_per_second=count * math.prod(run.batches.batch_shape) / seconds,
        seconds=seconds,
    )
    return state, report


@functools.partial(jax.jit, static_argnums=1)
def _finite(params: chex.ArrayTree, num_axes: int) -> jax.Array:
    """Return whether all parameters are finite, for each model if there are many."""
    leaves = jax.tree.leaves(params)
    finite = [jnp.isfinite(leaf).all(axis=tuple(range(num_axes, leaf.ndim))) for leaf in leaves]
    return jnp.stack(finite).all(axis=0)


def _divergence_message(
    sums: Mapping[str, np.ndarray],
    is_finite: np.ndarray,
    first: int,
    count: int,
    checkpoints: Checkpoints | None,
) -> str:
    kept = "no checkpoint was kept"
    if checkpoints is not None and checkpoints.latest_step is not None:
        kept = f"the checkpoint of step {checkpoints.latest_step} is from before"
    lost = f" of model(s) {', '.join(map(str, np.flatnonzero(~is_finite)))}"
    return (
        f"the loss or a parameter{lost if is_finite.ndim else ''} became infinite or NaN in "
        f"steps {first} to {first + count - 1} (mean loss {np.mean(sums['loss']) / count:g}); "
        f"{kept}; lower learning_rate or add warmup_epochs"
    )
