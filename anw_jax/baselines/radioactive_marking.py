"""Marking photos for radioactive data: a small change of pixels that moves their features."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from anw_jax import _check
from anw_jax.baselines.radioactive_tracing import FeaturesFn
from anw_jax.train import TrainSettings
from anw_jax.train.augment import augment


@dataclasses.dataclass(frozen=True)
class RadioactiveSettings:
    """How photos are marked; radius and weights follow the authors' published command.

    Attributes:
      radius_levels: most that a value may change, in grey levels of 255 (L-infinity).
      num_steps: gradient steps.
      step_levels: size of the first steps in grey levels; it falls to 0 along a cosine. They
        are Adam's, so that their size does not depend on the scale of the features (the
        authors use plain SGD, tuned to one network).
      feature_penalty: weight of the length of the features' displacement.
      pixel_penalty: weight of the squared length of the change of pixels, in [0, 1].
      crop_padding: as the learner is expected to crop; each step sees another crop.
      flip: whether each step mirrors half the photos at random.

    Raises:
      ValueError: if a number is out of range.
      TypeError: if a number is not a number.
    """

    radius_levels: int = 10
    num_steps: int = 90
    step_levels: float = 1.0
    feature_penalty: float = 0.01
    pixel_penalty: float = 0.01
    crop_padding: int = 4
    flip: bool = True

    def __post_init__(self) -> None:
        """Refuses settings that cannot be meant."""
        _check.integer_at_least(1, radius_levels=self.radius_levels)
        _check.integer_at_least(1, num_steps=self.num_steps)
        _check.positive(step_levels=self.step_levels)
        _check.in_interval(0.0, 1e6, feature_penalty=self.feature_penalty)
        _check.in_interval(0.0, 1e6, pixel_penalty=self.pixel_penalty)
        _check.integer_at_least(0, crop_padding=self.crop_padding)
        _check.is_instance(bool, flip=self.flip)


def mark_photos(
    key: jax.Array,
    features_fn: FeaturesFn,
    images: np.ndarray,
    labels: np.ndarray,
    carriers: np.ndarray,
    settings: RadioactiveSettings = RadioactiveSettings(),
    *,
    batch_size: int = 64,
) -> np.ndarray:
    """Marks photos so that their features move along the carrier of their class.

    Minimises, over photos within the radius, - (φ(F(x')) - φ(x)) · u + feature_penalty
    |φ(F(x')) - φ(x)| + pixel_penalty |x' - x|² (Sablayrolles et al. 2020,
    https://arxiv.org/abs/2002.00937), F a fresh random crop and mirror image at each step.

    Args:
      key: typed PRNG key, of the crops.
      features_fn: the marking network: float32 images `[b, H, W, 3]` in [0, 1] to `[b, d]`,
        differentiable; a `jax.tree_util.Partial` compiles once whatever its weights.
      images: uint8 `[n, H, W, 3]`.
      labels: integers `[n]`, each a row of `carriers`.
      carriers: float `[c, d]`, unit rows.
      settings: how.
      batch_size: photos marked together.

    Returns:
      uint8 `[n, H, W, 3]`, no value further than `radius_levels` from the original.

    Raises:
      ValueError: if shapes do not fit.
      TypeError: if an argument is of the wrong kind.
    """
    images = _check.uint8_images(images=images)
    labels = _check.class_labels(len(images), len(carriers), labels=labels)
    _check.is_instance(RadioactiveSettings, settings=settings)
    _check.integer_at_least(1, batch_size=batch_size)
    if not isinstance(features_fn, jax.tree_util.Partial):
        features_fn = jax.tree_util.Partial(features_fn)
    directions = np.asarray(carriers, np.float32)[labels]
    _check_width(features_fn, images, directions)
    marked = np.empty_like(images)
    for number, start in enumerate(range(0, len(images), batch_size)):
        # The last batch is padded by repeating its last image, to keep one trace.
        rows = np.minimum(np.arange(start, start + batch_size), len(images) - 1)
        batch_key = jax.random.fold_in(key, number)
        part = _mark_batch(settings, batch_key, features_fn, images[rows], directions[rows])
        stop = min(start + batch_size, len(images))
        marked[start:stop] = np.asarray(part)[: stop - start]
    return marked


def _check_width(
    features_fn: jax.tree_util.Partial, images: np.ndarray, directions: np.ndarray
) -> None:
    one = jax.ShapeDtypeStruct((1, *images.shape[1:]), jnp.float32)
    shape = jax.eval_shape(features_fn, one).shape
    if shape != (1, directions.shape[-1]):
        raise ValueError(
            f"carriers must have rows as long as features, {shape[-1]}, "
            f"got {directions.shape[-1]}"
        )


@functools.partial(jax.jit, static_argnums=0)
def _mark_batch(
    settings: RadioactiveSettings,
    key: jax.Array,
    features_fn: jax.tree_util.Partial,
    images: jax.Array,
    directions: jax.Array,
) -> jax.Array:
    originals = images.astype(jnp.float32) / jnp.float32(255.0)
    features = features_fn(originals)
    crops = TrainSettings(crop_padding=settings.crop_padding, flip=settings.flip)
    level = 1.0 / 255.0
    radius = settings.radius_levels * level
    rate = optax.cosine_decay_schedule(settings.step_levels * level, settings.num_steps)
    optimizer = optax.adam(lambda step: rate(jnp.asarray(step, jnp.float32)))

    def loss_fn(change: jax.Array, key: jax.Array) -> jax.Array:
        seen = augment(key, originals + change, crops)
        moved = features_fn(seen) - features
        along = (moved * directions).sum()
        # The smallest float keeps the slope finite where nothing has moved yet.
        lengths = jnp.sqrt((moved**2).sum(axis=1) + jnp.finfo(jnp.float32).tiny).sum()
        pixels = (change**2).sum()
        return settings.feature_penalty * lengths + settings.pixel_penalty * pixels - along

    def body(
        step: jax.Array, carry: tuple[jax.Array, optax.OptState]
    ) -> tuple[jax.Array, optax.OptState]:
        change, state = carry
        slope = jax.grad(loss_fn)(change, jax.random.fold_in(key, step))
        # Optax's bias correction raises a Python float to an int32.
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(slope, state)
        change = jnp.clip(optax.apply_updates(change, updates), -radius, radius)
        return jnp.clip(originals + change, 0.0, 1.0) - originals, state

    start = (jnp.zeros_like(originals), optimizer.init(jnp.zeros_like(originals)))
    change, _ = jax.lax.fori_loop(0, settings.num_steps, body, start)
    levels = jnp.round((originals + change) * 255.0)
    return jnp.clip(levels, 0.0, 255.0).astype(jnp.uint8)
