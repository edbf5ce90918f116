"""Train a diffusion model, or fine-tune one: wholly, or by low-rank adapters."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from anw_jax import _check, data
from anw_jax.models import Diffusion
from anw_jax.train.batches import Batches
from anw_jax.train.losses import denoising_loss
from anw_jax.train.low_rank import ADAPTERS, adapted_loss, merged, with_adapters
from anw_jax.train.recipe import Batch, mirror
from anw_jax.train.runner import TrainResult, fit
from anw_jax.train.step import Step, make_step

_WARMUP_SHARE = 0.05

# Folded into the seed's key, for the adapters; the key itself is the training's.
_ADAPTER_STREAM = 1


@dataclasses.dataclass(frozen=True)
class DenoisingSettings:
    """The training of a diffusion model: Adam, a short warm-up, then a cosine to 0.

    Attributes:
      num_epochs: how often each image is seen on average.
      learning_rate: its peak.
      batch_size: images per optimizer step; fewer where there are fewer images.
      rank: of low-rank adapters (LoRA); None trains all parameters.
    """

    num_epochs: int
    learning_rate: float = 1e-3
    batch_size: int = 64
    rank: int | None = None

    def __post_init__(self):
        _check.integer_at_least(1, num_epochs=self.num_epochs)
        _check.positive(learning_rate=self.learning_rate)
        _check.integer_at_least(1, batch_size=self.batch_size)
        if self.rank is not None:
            _check.integer_at_least(1, rank=self.rank)

    def num_steps(self, num_images: int) -> int:
        """Return the optimizer steps for a number of images.

        Example:
          >>> DenoisingSettings(num_epochs=150).num_steps(100)
          234
        """
        seen = self.num_epochs * num_images
        return max(1, round(seen / min(self.batch_size, num_images)))


def train_diffusion(
    model: Diffusion,
    params: Mapping[str, Any],
    images: np.ndarray,
    settings: DenoisingSettings,
    *,
    seed: int,
    **runner: Any,
) -> TrainResult:
    """Train on images and their mirror images; resume as `fit` does.

    Args:
      model: without a condition on classes.
      params: to start from, of `model.init` or of an earlier training.
      images: uint8 `[n, H, W, 3]`.
      settings: of this training.
      seed: of the order of images, noise and adapters.
      **runner: of `fit`: `checkpoint_dir`, `on_start`, `on_segment`, `should_stop`.

    Returns:
      The last state, whose parameters include what adapters have learned.

    Raises:
      ValueError: images that are not uint8 of the model's shape.
      CheckpointError, DivergenceError: as `fit`.
    """
    images = _check.uint8_images(images=images)
    num_steps, key = settings.num_steps(len(images)), jax.random.key(seed)
    if settings.rank is not None:
        adapter_key = jax.random.fold_in(key, _ADAPTER_STREAM)
        params = with_adapters(params, settings.rank, adapter_key)
    step = _step(model, settings, num_steps)
    plan = data.BatchPlan(len(images), min(settings.batch_size, len(images)), seed)
    batches = Batches(Batch(images, np.zeros(len(images), np.int32)), plan.rows)
    result = fit(step, step.init(params), batches, num_steps=num_steps, key=key, **runner)
    if settings.rank is None:
        return result
    state = result.state.replace(params=merged(result.state.params))
    return dataclasses.replace(result, state=state)


@functools.lru_cache(maxsize=16)
def _step(model: Diffusion, settings: DenoisingSettings, num_steps: int) -> Step:
    """Make the step; trainings with equal arguments share its compilation."""
    warmup = max(1, round(_WARMUP_SHARE * num_steps))
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, settings.learning_rate, warmup, max(num_steps, warmup + 1)
    )
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), adam(schedule))
    loss_fn, trained = denoising_loss(model), None
    if settings.rank is not None:
        loss_fn, trained = adapted_loss(loss_fn), (ADAPTERS,)
    return make_step(loss_fn, optimizer, trained=trained, prepare_fn=_prepare)


def adam(schedule: optax.Schedule | float) -> optax.GradientTransformation:
    """Return Adam; Optax takes floats to integer powers, which strict promotion rejects."""
    plain = optax.adam(schedule)

    def update(*arguments: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"):
            return plain.update(*arguments)

    return optax.GradientTransformation(plain.init, update)


def _prepare(params: Any, model_state: Any, batch: Batch, rng: chex.PRNGKey) -> Batch:
    """Convert to floats in [0, 1], and mirror half of the images."""
    images = batch.images.astype(jnp.float32) / 255.0
    is_mirrored = jax.random.bernoulli(rng, 0.5, (len(images),))
    return batch._replace(images=mirror(images, is_mirrored))
