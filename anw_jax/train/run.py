"""A training run made ready: data on the devices, compiled steps, checked batch plan."""

import dataclasses
import functools
import hashlib
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from anw_jax import _check, data, verify
from anw_jax.models import Model
from anw_jax.train.devices import data_mesh, replicated, settings_of_jax
from anw_jax.train.drivers import AdvanceFn, make_advance_fn, resolve_driver
from anw_jax.train.recipe import PLAIN, Recipe
from anw_jax.train.settings import TrainSettings
from anw_jax.train.state import Metrics, TrainState, augment_key, init_state
from anw_jax.train.step import Batch
from anw_jax.train.streaming import HostFeed, StreamAdvanceFn, make_stream_advance_fn
from anw_jax.train.trees import TRAINABLE, check_variables, digest

IndicesFn = Callable[[int, int], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Run:
    """Everything about a run that does not change from step to step."""

    model: Model
    settings: TrainSettings
    num_images: int
    image_shape: tuple[int, int, int]
    dataset: Batch
    dataset_digest: str
    indices_fn: IndicesFn
    driver: str
    mesh: Mesh
    advance_fn: AdvanceFn | StreamAdvanceFn
    key: jax.Array
    recipe: Recipe
    trainable: str
    initial_variables: Any

    @property
    def num_steps(self) -> int:
        """Optimizer steps of the whole training."""
        return self.settings.num_steps(self.num_images)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of one epoch."""
        return self.settings.steps_per_epoch(self.num_images)

    def init_state(self) -> TrainState:
        """The state before the first step, on the devices."""
        state = init_state(
            self.model,
            self.settings,
            self.image_shape,
            self.steps_per_epoch,
            initial_variables=self.initial_variables,
            trainable=self.trainable,
        )
        return jax.device_put(state, replicated(self.mesh))

    def advance(
        self, state: TrainState, first_step: int, num_steps: int
    ) -> tuple[TrainState, Metrics]:
        """Takes steps `first_step` to `first_step + num_steps - 1`; donates `state`."""
        if self.driver == "stream":
            batches = self._feed.batches(first_step, num_steps)
            return self.advance_fn(state, batches, self.key)
        rows = self._rows(first_step, num_steps)
        return self.advance_fn(state, self.dataset, rows, self.key)

    def close(self) -> None:
        """Ends the reading ahead of streamed images."""
        if self.driver == "stream":
            self._feed.close()

    @functools.cached_property
    def _feed(self) -> HostFeed:
        return HostFeed(self.dataset, self._rows, self.num_steps, self.mesh)

    def _rows(self, first_step: int, num_steps: int) -> np.ndarray:
        rows = np.asarray(self.indices_fn(first_step, num_steps))
        shape = (num_steps, self.settings.batch_size)
        if rows.shape != shape or not np.issubdtype(rows.dtype, np.integer):
            raise ValueError(
                f"indices_fn must return integers of shape {shape}, "
                f"got {rows.dtype} of shape {rows.shape}"
            )
        # A gather would clamp such a row in silence.
        if rows.min() < 0 or rows.max() >= self.num_images:
            raise ValueError(
                f"indices_fn must return rows in [0, {self.num_images}), "
                f"got [{rows.min()}, {rows.max()}]"
            )
        return rows.astype(np.int32)

    def fingerprint(self) -> dict[str, Any]:
        """What must be equal for a resumed run to go on as if never stopped."""
        plan = hashlib.sha256(self._rows(0, 1).tobytes()).hexdigest()[:16]
        return {
            "model": _plain(dataclasses.asdict(self.model)),
            "settings": _plain(dataclasses.asdict(self.settings)),
            "dataset": self.dataset_digest,
            "batch_plan": plan,
            "driver": self.driver,
            "num_devices": self.mesh.size,
            "backend": jax.default_backend(),
            # Another version or chip may sum in another order.
            "jax_version": jax.__version__,
            "device_kind": self.mesh.devices.flat[0].device_kind,
            "jax": settings_of_jax(),
            **self._unusual(),
        }

    def _unusual(self) -> dict[str, Any]:
        """What a plain training from the labels has not; named only where it is there."""
        unusual: dict[str, Any] = {}
        if self.recipe != PLAIN:
            unusual["recipe"] = self.recipe.plain()
        if self.dataset.targets is not None:
            unusual["targets"] = digest(self.dataset.targets)
        if self.initial_variables is not None:
            unusual["initial_variables"] = digest(self.initial_variables)
        if self.trainable != "all":
            unusual["trainable"] = self.trainable
        return unusual


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def prepare(
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
) -> Run:
    """Checks everything and puts the images on the devices; compiles nothing yet.

    Streamed images stay where they are, and go to the devices batch by batch.

    Raises:
      ValueError: if shapes, labels or settings do not fit each other.
      TypeError: if an argument is of the wrong kind.
      JaxError: if jax computes wrong numbers; see `verify.check_jax`.
    """
    verify.check_jax()
    _check.is_instance(Model, model=model)
    _check.is_instance(TrainSettings, settings=settings)
    is_streamed = isinstance(images, data.StreamedImages)
    if not is_streamed:
        images = _check.uint8_images(images=images)
    labels = _check.class_labels(len(images), model.num_classes, labels=labels)
    check_changes(model, images.shape[1:], recipe, initial_variables, trainable)
    if targets is not None:
        targets = _soft_targets(targets, (len(images), model.num_classes))
    mesh = data_mesh(settings.batch_size, num_devices)
    driver = resolve_driver(driver, is_streamed)
    steps_per_epoch = settings.steps_per_epoch(len(images))
    whole = replicated(mesh)
    dataset = Batch(images, labels, targets)
    make_fn = (
        make_stream_advance_fn if is_streamed else functools.partial(make_advance_fn, driver)
    )
    return Run(
        model=model,
        settings=settings,
        num_images=len(images),
        image_shape=images.shape[1:],
        dataset=dataset if is_streamed else jax.device_put(dataset, whole),
        dataset_digest=_digest(images, labels),
        indices_fn=indices_fn,
        driver=driver,
        mesh=mesh,
        advance_fn=make_fn(model, settings, steps_per_epoch, mesh, recipe, trainable),
        key=jax.device_put(augment_key(settings), whole),
        recipe=recipe,
        trainable=trainable,
        initial_variables=initial_variables,
    )


def check_changes(
    model: Model,
    image_shape: tuple[int, int, int],
    recipe: Recipe,
    initial_variables: Any,
    trainable: str,
) -> None:
    """Refuses what cannot be done to this model's training.

    Raises:
      ValueError: if weights are of another model, or BatchNorm would break privacy.
      TypeError: if an argument is of the wrong kind.
    """
    _check.is_instance(Recipe, recipe=recipe)
    _check.one_of(TRAINABLE, trainable=trainable)
    if initial_variables is not None:
        check_variables(model, image_shape, initial_variables)
    if recipe.privacy is None or trainable == "head":
        return
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), image_shape))
    if jax.tree.leaves(shapes["batch_stats"]):
        raise ValueError(
            f"model must have no BatchNorm under privacy, got {model.name!r} with norm="
            f"{model.norm!r}: its statistics mix the examples of a batch; create it with "
            "norm='group'"
        )


def _soft_targets(targets: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    targets = _check.unit_range(targets=targets).astype(np.float32)
    if targets.shape != shape:
        raise ValueError(f"targets must have shape {shape}, got {targets.shape}")
    sums = targets.sum(axis=1, dtype=np.float64)
    worst = sums[np.abs(sums - 1.0).argmax()]
    if abs(worst - 1.0) > 1e-3:
        raise ValueError(f"targets must sum to 1 in each row, got a row that sums to {worst:g}")
    return targets


def _digest(images: np.ndarray | data.StreamedImages, labels: np.ndarray) -> str:
    digest = hashlib.sha256(repr(images.shape).encode())
    if isinstance(images, data.StreamedImages):
        digest.update(images.identity().encode())  # its pixels would take long to read
    else:
        digest.update(np.ascontiguousarray(images))
    digest.update(np.ascontiguousarray(labels))
    return digest.hexdigest()[:16]


def time_step(run: Run, state: TrainState, first_step: int) -> float:
    """Seconds per step once compiled; works on copies, so no step is lost or doubled.

    Compiles the step if that has not happened yet.
    """
    copy = jax.block_until_ready(run.advance(_copy(state), first_step, 1))[0]
    count = 1
    while True:
        start = time.perf_counter()
        copy = jax.block_until_ready(run.advance(copy, first_step, count))[0]
        seconds = time.perf_counter() - start
        # Short steps are timed in a row: one alone would measure its dispatch.
        if seconds > 0.2 or count >= 64:
            return seconds / count
        count *= 4


def _copy(state: TrainState) -> TrainState:
    return jax.tree.map(jnp.copy, state)
