"""Radioactive data with networks: mark images, and test trained networks (Table 1)."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from anw_jax import _check, data
from anw_jax.baselines.radioactive import white_box_test
from anw_jax.models import Model
from anw_jax.train import TrainSettings
from anw_jax.train.recipe import augment

FeaturesFn = Callable[[jax.Array], jax.Array]
Variables = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class RadioactiveSettings:
    """How images are marked; radius and weights follow the authors' published command.

    Attributes:
      radius_levels: largest change of a value, in grey levels of 255 (L-infinity).
      num_steps: gradient steps.
      step_levels: size of the first steps in grey levels; it decays to 0 along a cosine. Adam
        makes it independent of the scale of the features (the authors use plain SGD, tuned
        to one network).
      feature_penalty: weight of the length of the features' displacement.
      pixel_penalty: weight of the squared length of the change of pixels, in [0, 1].
      crop_padding: pixels of padding of each step's random crop, as expected of the learner.
      flip: whether each step mirrors half the images at random.

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
        """Check the numbers."""
        _check.integer_at_least(1, radius_levels=self.radius_levels)
        _check.integer_at_least(1, num_steps=self.num_steps)
        _check.positive(step_levels=self.step_levels)
        _check.in_interval(0.0, 1e6, feature_penalty=self.feature_penalty)
        _check.in_interval(0.0, 1e6, pixel_penalty=self.pixel_penalty)
        _check.integer_at_least(0, crop_padding=self.crop_padding)
        _check.is_instance(bool, flip=self.flip)


def mark_images(
    key: jax.Array,
    features_fn: FeaturesFn,
    images: np.ndarray,
    labels: np.ndarray,
    carriers: np.ndarray,
    settings: RadioactiveSettings = RadioactiveSettings(),
    *,
    batch_size: int = 64,
) -> np.ndarray:
    """Mark images so that their features move along the carrier of their class.

    Minimises, over images within the radius, - (φ(F(x')) - φ(x)) · u + feature_penalty
    |φ(F(x')) - φ(x)| + pixel_penalty |x' - x|² (Sablayrolles et al. 2020,
    https://arxiv.org/abs/2002.00937), F a fresh random crop and mirror image at each step.

    Args:
      key: typed PRNG key for the crops.
      features_fn: the marking network: float32 images `[b, H, W, 3]` in [0, 1] to `[b, d]`,
        differentiable; a `jax.tree_util.Partial` compiles once for all weights.
      images: uint8 `[n, H, W, 3]`.
      labels: integers `[n]`, each a row of `carriers`.
      carriers: float `[c, d]`, unit rows.
      settings: how the images are marked.
      batch_size: images marked together.

    Returns:
      uint8 `[n, H, W, 3]`, no value further than `radius_levels` from the original.

    Raises:
      ValueError: if shapes do not fit.
      TypeError: if an argument has the wrong type.
    """
    images = _check.uint8_images(images=images)
    labels = _check.class_labels(len(images), len(carriers), labels=labels)
    _check.is_instance(RadioactiveSettings, settings=settings)
    _check.integer_at_least(1, batch_size=batch_size)
    if not isinstance(features_fn, jax.tree_util.Partial):
        features_fn = jax.tree_util.Partial(features_fn)
    directions = np.asarray(carriers, np.float32)[labels]
    _check_width(features_fn, images, directions)
    marked = [images[:0]]
    for number, rows in enumerate(data.padded_rows(len(images), batch_size)):
        batch_key = jax.random.fold_in(key, number)
        batch = _mark_batch(settings, batch_key, features_fn, images[rows], directions[rows])
        marked.append(np.asarray(batch))
    return np.concatenate(marked)[: len(images)]


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
        # The smallest float keeps the gradient finite where nothing has moved yet.
        lengths = jnp.sqrt((moved**2).sum(axis=1) + jnp.finfo(jnp.float32).tiny).sum()
        pixels = (change**2).sum()
        return settings.feature_penalty * lengths + settings.pixel_penalty * pixels - along

    def body(
        step: jax.Array, carry: tuple[jax.Array, optax.OptState]
    ) -> tuple[jax.Array, optax.OptState]:
        change, state = carry
        slope = jax.grad(loss_fn)(change, jax.random.fold_in(key, step))
        # Optax's bias correction raises a Python float to an int32 power.
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(slope, state)
        change = jnp.clip(optax.apply_updates(change, updates), -radius, radius)
        return jnp.clip(originals + change, 0.0, 1.0) - originals, state

    start = (jnp.zeros_like(originals), optimizer.init(jnp.zeros_like(originals)))
    change, _ = jax.lax.fori_loop(0, settings.num_steps, body, start)
    levels = jnp.round((originals + change) * 255.0)
    return jnp.clip(levels, 0.0, 255.0).astype(jnp.uint8)


@dataclasses.dataclass(frozen=True)
class _ModelFeatures:
    """`Model.features` as a callable that compares by value, so that it compiles once."""

    model: Model

    def __call__(self, variables: Variables, images: jax.Array) -> jax.Array:
        return self.model.features(variables, images)


def features_fn(model: Model, variables: Variables) -> jax.tree_util.Partial:
    """Return the input of a network's last dense layer as a traceable function of images.

    Args:
      model: the architecture.
      variables: its weights.

    Returns:
      float32 images `[b, H, W, 3]` in [0, 1] to float32 features `[b, d]`.
    """
    return jax.tree_util.Partial(
        _ModelFeatures(_check.is_instance(Model, model=model)), variables
    )


def class_weights(model: Model, variables: Variables) -> np.ndarray:
    """Return the kernel of a network's last dense layer, float64 `[d, c]`.

    Its logits are `features @ class_weights + bias`.
    """
    return np.asarray(variables["params"][model.head]["kernel"], np.float64)


def features_of(fun: FeaturesFn, images: np.ndarray, *, batch_size: int = 256) -> np.ndarray:
    """Compute the features of all images, in batches of one shape.

    Args:
      fun: float32 images `[b, H, W, 3]` in [0, 1] to `[b, d]`; a `jax.tree_util.Partial`
        compiles once for all weights.
      images: uint8 `[n, H, W, 3]`, at least one.
      batch_size: images per call.

    Returns:
      float64 `[n, d]`.

    Raises:
      ValueError: if there are no images.
    """
    images = _check.uint8_images(images=images)
    _check.integer_at_least(1, num_images=len(images))
    _check.integer_at_least(1, batch_size=batch_size)
    if not isinstance(fun, jax.tree_util.Partial):
        fun = jax.tree_util.Partial(fun)
    batches = data.padded_rows(len(images), batch_size)
    features = [np.asarray(_batch_features(fun, images[rows]), np.float64) for rows in batches]
    return np.concatenate(features)[: len(images)]


@jax.jit
def _batch_features(fun: jax.tree_util.Partial, images: jax.Array) -> jax.Array:
    return fun(images.astype(jnp.float32) / jnp.float32(255.0))


def trace(
    carriers: np.ndarray,
    marking: tuple[Model, Variables],
    suspects: dict[str, tuple[Model, Variables]],
    heldout_images: np.ndarray,
    *,
    batch_size: int = 256,
) -> dict[str, dict[str, Any]]:
    """Test several networks (the row of Table 1 on dataset tracing).

    Args:
      carriers: float `[c, d]`, unit rows, d the features of the marking network.
      marking: the network that the images were marked with, and its weights.
      suspects: name ("before", "after", "control", ...) to a network and its weights.
      heldout_images: uint8 `[n, H, W, 3]`, images that no network was trained on; n well above
        d, so that the alignment is determined.
      batch_size: images per call.

    Returns:
      For each suspect, `RadioactiveTest.plain()`: `cosine_mean` and `cosine_std` over classes
      (the paper: -.005 ± .030 before training, -.005 ± .015 after), `cosines`, `log10_p`,
      `p_value`, `num_features`, `residual`.

    Raises:
      ValueError: if shapes do not fit.
    """
    own = features_of(features_fn(*marking), heldout_images, batch_size=batch_size)
    return {
        name: white_box_test(
            carriers,
            class_weights(*suspect),
            own,
            features_of(features_fn(*suspect), heldout_images, batch_size=batch_size),
        ).plain()
        for name, suspect in suspects.items()
    }
