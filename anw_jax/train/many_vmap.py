"""Several models in one program: the training step under `vmap`, on one device."""

import contextlib
import dataclasses
import functools
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import _check
from anw_jax.errors import DivergenceError
from anw_jax.models import Model
from anw_jax.progress import ProgressFn
from anw_jax.train.checkpoints import Checkpoints
from anw_jax.train.cohort import Cohort
from anw_jax.train.devices import settings_of_jax
from anw_jax.train.drivers import resolve_driver
from anw_jax.train.recipe import Recipe
from anw_jax.train.settings import TrainSettings
from anw_jax.train.state import Metrics, TrainState, augment_key, init_state
from anw_jax.train.step import Batch, make_step_fn

# The loop on the device has one shape, and holds the rows of all its models and steps.
_MAX_SEGMENT_STEPS = 256
_SEGMENT_SECONDS = 5.0

# All models share the number of the step; the rest of a state has a leading axis.
_STATE_AXES = TrainState(step=None, params=0, batch_stats=0, opt_state=0)


@dataclasses.dataclass(frozen=True)
class _Photos:
    """What the steps read, on the device.

    Attributes:
      batch: all images and labels, shared.
      place: int32 `[n]`, where a row stands among the replacements, or -1.
      replacements: uint8 `[num_models, k, H, W, 3]`.
    """

    batch: Batch
    place: jax.Array
    replacements: jax.Array


jax.tree_util.register_dataclass(_Photos)
AdvanceFn = Callable[..., tuple[TrainState, Metrics]]


def train_group(
    cohort: Cohort,
    indices: Sequence[int],
    *,
    folder: pathlib.Path | None,
    on_progress: ProgressFn,
    should_stop: Callable[[], bool],
    driver: str,
    segment_steps: int | None,
    checkpoint_seconds: float,
    deadline: float,
) -> dict[str, Any] | None:
    """Trains the models `indices` of a cohort together.

    Returns:
      Their variables, each leaf with a leading axis over the models, on the device; None if
      it was stopped before the end.
    """
    driver = resolve_driver(driver)
    device = jax.local_devices()[0]
    photos = jax.device_put(_photos(cohort, indices), device)
    keys = jnp.stack([augment_key(cohort.settings_of(index)) for index in indices])
    advance = _advance_fn(driver, cohort)
    state = jax.device_put(_first_state(cohort, indices), device)
    with _open(folder, cohort, indices, driver) as checkpoints:
        if checkpoints is not None and checkpoints.latest_step is not None:
            state, _ = checkpoints.restore(state)
        saved_at = time.monotonic()
        lengths = _Lengths(segment_steps)
        while (first := int(state.step)) < cohort.num_steps:
            count = lengths.next(cohort.num_steps - first)
            is_late = time.monotonic() + lengths.forecast(count) > deadline
            if is_late or (lengths.any_taken and should_stop()):
                _save(checkpoints, state)
                return None
            rows = _rows(cohort, indices, first, count)
            state, metrics = lengths.timed(count, advance, state, photos, rows, keys)
            _refuse_divergence(state, metrics, indices, first, count)
            on_progress(first + count, cohort.num_steps)
            is_last = first + count == cohort.num_steps
            if is_last or time.monotonic() - saved_at >= checkpoint_seconds:
                _save(checkpoints, state)
                saved_at = time.monotonic()
    return state.variables


class _Lengths:
    """Chooses how many steps to take between two looks at the clock."""

    def __init__(self, asked: int | None) -> None:
        if asked is not None:
            _check.integer_at_least(1, segment_steps=asked)
        self._asked, self._next = asked, 1
        self._step_seconds, self.any_taken = 0.0, False

    def next(self, remaining: int) -> int:
        return min(self._asked or self._next, remaining, _MAX_SEGMENT_STEPS)

    def forecast(self, count: int) -> float:
        """Seconds that so many steps will take, as far as is known."""
        return count * self._step_seconds

    def timed(
        self, count: int, advance: AdvanceFn, *arguments: Any
    ) -> tuple[TrainState, Metrics]:
        start = time.monotonic()
        result = jax.block_until_ready(advance(*arguments))
        # The first segment compiles: its length says nothing of the next one's.
        seconds = time.monotonic() - start if self.any_taken else 0.0
        self._step_seconds = seconds / count
        if seconds < _SEGMENT_SECONDS / 2:
            self._next = min(2 * self._next, _MAX_SEGMENT_STEPS)
        self.any_taken = True
        return result


def _photos(cohort: Cohort, indices: Sequence[int]) -> _Photos:
    own = cohort.replacements[list(indices)]
    return _Photos(Batch(cohort.images, cohort.labels), cohort.place_of_row(), own)


def _first_state(cohort: Cohort, indices: Sequence[int]) -> TrainState:
    shape, per_epoch = cohort.images.shape[1:], cohort.steps_per_epoch
    states = [
        init_state(cohort.model, cohort.settings_of(index), shape, per_epoch)
        for index in indices
    ]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    return dataclasses.replace(stacked, step=states[0].step)


def _rows(cohort: Cohort, indices: Sequence[int], first: int, count: int) -> np.ndarray:
    """Int32 `[count, num_models, batch_size]`."""
    return np.stack([cohort.rows_of(index, first, count) for index in indices], axis=1)


def _advance_fn(driver: str, cohort: Cohort) -> AdvanceFn:
    seedless = dataclasses.replace(cohort.settings, seed=0)
    return _cached_advance_fn(
        driver, cohort.model, seedless, cohort.steps_per_epoch, cohort.recipe
    )


@functools.lru_cache(maxsize=16)
def _cached_advance_fn(
    driver: str, model: Model, settings: TrainSettings, steps_per_epoch: int, recipe: Recipe
) -> AdvanceFn:
    """`(state, photos, rows, keys) -> (state, summed metrics [num_models])`."""
    step_fn = make_step_fn(model, settings, steps_per_epoch, recipe)

    def one(
        state: TrainState, own: jax.Array, row: jax.Array, key: jax.Array, photos: _Photos
    ) -> tuple[TrainState, Metrics]:
        images = _see(photos, own, row)
        batch = Batch(images, photos.batch.labels[row])
        return step_fn(state, batch, jax.random.fold_in(key, state.step))

    # The photos that are shared are closed over by each model's step, not copied for it.
    many = jax.vmap(one, in_axes=(_STATE_AXES, 0, 0, 0, None), out_axes=(_STATE_AXES, 0))

    def step(
        state: TrainState, metrics: Metrics, photos: _Photos, row: jax.Array, keys: jax.Array
    ) -> tuple[TrainState, Metrics]:
        shared = dataclasses.replace(photos, replacements=photos.replacements[:0])
        state, new = many(state, photos.replacements, row, keys, shared)
        return state, jax.tree.map(jnp.add, metrics, new)

    return _python_loop(step) if driver == "loop" else _device_loop(step)


def _see(photos: _Photos, own: jax.Array, row: jax.Array) -> jax.Array:
    """The images of one model's batch, its own versions where it has some."""
    images = photos.batch.images[row]
    if own.shape[0] == 0:
        return images
    place = photos.place[row]
    replaced = own[jnp.maximum(place, 0)]
    return jnp.where((place >= 0)[:, None, None, None], replaced, images)


def _zeros(num_models: int) -> Metrics:
    return Metrics(loss=jnp.zeros(num_models), accuracy=jnp.zeros(num_models))


def _python_loop(step: Callable[..., tuple[TrainState, Metrics]]) -> AdvanceFn:
    jitted = jax.jit(step, donate_argnums=(0, 1))

    def advance(
        state: TrainState, photos: _Photos, rows: np.ndarray, keys: jax.Array
    ) -> tuple[TrainState, Metrics]:
        metrics = _zeros(len(keys))
        for row in rows:
            state, metrics = jitted(state, metrics, photos, row, keys)
        return state, metrics

    return advance


def _device_loop(step: Callable[..., tuple[TrainState, Metrics]]) -> AdvanceFn:
    @functools.partial(jax.jit, donate_argnums=0)
    def many(
        state: TrainState, photos: _Photos, rows: jax.Array, count: jax.Array, keys: jax.Array
    ) -> tuple[TrainState, Metrics]:
        def body(
            index: jax.Array, carry: tuple[TrainState, Metrics]
        ) -> tuple[TrainState, Metrics]:
            return step(*carry, photos, rows[index], keys)

        return jax.lax.fori_loop(0, count, body, (state, _zeros(len(keys))))

    def advance(
        state: TrainState, photos: _Photos, rows: np.ndarray, keys: jax.Array
    ) -> tuple[TrainState, Metrics]:
        padding = ((0, _MAX_SEGMENT_STEPS - len(rows)), (0, 0), (0, 0))
        return many(state, photos, np.pad(rows, padding), np.int32(len(rows)), keys)

    return advance


def _refuse_divergence(
    state: TrainState, metrics: Metrics, indices: Sequence[int], first: int, count: int
) -> None:
    is_finite = np.asarray(_finite(state.params) & jnp.isfinite(metrics.loss))
    if is_finite.all():
        return
    lost = [index for index, is_well in zip(indices, is_finite, strict=True) if not is_well]
    raise DivergenceError(
        f"the loss or a parameter of model(s) {', '.join(map(str, lost))} became infinite or "
        f"NaN in steps {first} to {first + count - 1}; lower learning_rate or add warmup_epochs"
    )


@jax.jit
def _finite(params: Any) -> jax.Array:
    """Bool `[num_models]`."""
    leaves = jax.tree.leaves(params)
    finite = [jnp.isfinite(leaf).all(axis=tuple(range(1, leaf.ndim))) for leaf in leaves]
    return jnp.stack(finite).all(axis=0)


def _open(
    folder: pathlib.Path | None, cohort: Cohort, indices: Sequence[int], driver: str
) -> contextlib.AbstractContextManager[Checkpoints | None]:
    if folder is None:
        return contextlib.nullcontext()
    plain = {
        "model": dataclasses.asdict(cohort.model),
        "settings": dataclasses.asdict(dataclasses.replace(cohort.settings, seed=0)),
    }
    fingerprint = {
        group: {name: _plain(value) for name, value in values.items()}
        for group, values in plain.items()
    }
    fingerprint |= cohort.fingerprint(indices)
    fingerprint |= {
        "recipe": cohort.recipe.plain(),
        "execution": "vmap",
        "driver": driver,
        "backend": jax.default_backend(),
        "jax_version": jax.__version__,
        "device_kind": jax.local_devices()[0].device_kind,
        "jax": settings_of_jax(),
    }
    return Checkpoints(folder, fingerprint)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _save(checkpoints: Checkpoints | None, state: TrainState) -> None:
    if checkpoints is not None:
        checkpoints.save(state, _MAX_SEGMENT_STEPS)
