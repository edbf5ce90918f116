"""A training run made ready: data on the devices, compiled steps, checked batch plan."""

import dataclasses
import hashlib
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from anw_jax import _check
from anw_jax.models import Model
from anw_jax.train.devices import data_mesh, replicated
from anw_jax.train.drivers import AdvanceFn, make_advance_fn, resolve_driver
from anw_jax.train.settings import TrainSettings
from anw_jax.train.state import Metrics, TrainState, augment_key, init_state
from anw_jax.train.step import Batch

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
    advance_fn: AdvanceFn
    key: jax.Array

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
        state = init_state(self.model, self.settings, self.image_shape, self.steps_per_epoch)
        return jax.device_put(state, replicated(self.mesh))

    def advance(
        self, state: TrainState, first_step: int, num_steps: int
    ) -> tuple[TrainState, Metrics]:
        """Takes steps `first_step` to `first_step + num_steps - 1`; donates `state`."""
        rows = self._rows(first_step, num_steps)
        return self.advance_fn(state, self.dataset, rows, self.key)

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
        }


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def prepare(
    model: Model,
    settings: TrainSettings,
    images: np.ndarray,
    labels: np.ndarray,
    indices_fn: IndicesFn,
    *,
    driver: str = "auto",
    num_devices: int | None = None,
) -> Run:
    """Checks everything and puts the images on the devices; compiles nothing yet.

    Raises:
      ValueError: if shapes, labels or settings do not fit each other.
      TypeError: if an argument is of the wrong kind.
    """
    _check.is_instance(Model, model=model)
    _check.is_instance(TrainSettings, settings=settings)
    images = _check.uint8_images(images=images)
    labels = _check.class_labels(len(images), model.num_classes, labels=labels)
    mesh = data_mesh(settings.batch_size, num_devices)
    driver = resolve_driver(driver)
    steps_per_epoch = settings.steps_per_epoch(len(images))
    whole = replicated(mesh)
    return Run(
        model=model,
        settings=settings,
        num_images=len(images),
        image_shape=images.shape[1:],
        dataset=jax.device_put(Batch(images, labels), whole),
        dataset_digest=_digest(images, labels),
        indices_fn=indices_fn,
        driver=driver,
        mesh=mesh,
        advance_fn=make_advance_fn(driver, model, settings, steps_per_epoch, mesh),
        key=jax.device_put(augment_key(settings), whole),
    )


def _digest(images: np.ndarray, labels: np.ndarray) -> str:
    digest = hashlib.sha256(repr(images.shape).encode())
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
