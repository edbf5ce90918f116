"""Train a network from images to images on pairs, by a distance between images."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from anw_jax import _check, data
from anw_jax.models import ImageToImage
from anw_jax.models.diffusion import Variables
from anw_jax.train.batches import Batches
from anw_jax.train.diffusion import adam
from anw_jax.train.runner import TrainResult, fit
from anw_jax.train.step import LossFn, Metrics, Step, chain, make_step

DISTANCES = ("l1", "l2", "perceptual")

# The fixed feature net of "perceptual": random 3x3 convolutions with ReLU, drawn from a fixed
# seed. Random features keep edges and textures apart, and need no download.
_FEATURE_SEED = 20210603
_FEATURE_WIDTHS = (16, 32)
_WARMUP_SHARE = 0.05

# Judges every pixel from the 7x7 around it, by the mean of its three outputs.
_DISCRIMINATOR = ImageToImage("plain", width=16, depth=2)
_DISCRIMINATOR_STREAM = 1


class Pairs(NamedTuple):
    """Inputs and wanted outputs, uint8 `[n, H, W, 3]`; float32 in [0, 1] once prepared."""

    inputs: Any
    outputs: Any


@dataclasses.dataclass(frozen=True)
class PairSettings:
    """A training on pairs: Adam, a short warm-up, then a cosine to 0.

    Attributes:
      num_epochs: how often each pair is seen.
      learning_rate: its peak.
      batch_size: pairs per step; fewer where there are fewer pairs.
      distance: one of `DISTANCES`: mean absolute error, mean squared error, or that of the
        features of a fixed random network plus the absolute error.
      flips: whether half of the pairs are mirrored left-right, both images of a pair alike.
      adversarial: weight of the loss against a discriminator of patches, trained in turn
        (LSGAN, Mao et al. 2017, eq. 9, https://arxiv.org/abs/1611.04076); 0 = none.

    Raises:
      TypeError, ValueError: a field out of its range.
    """

    num_epochs: int
    learning_rate: float = 1e-3
    batch_size: int = 32
    distance: str = "l2"
    flips: bool = False
    adversarial: float = 0.0

    def __post_init__(self):
        _check.integer_at_least(1, num_epochs=self.num_epochs)
        _check.positive(learning_rate=self.learning_rate)
        _check.integer_at_least(1, batch_size=self.batch_size)
        _check.one_of(DISTANCES, distance=self.distance)
        _check.is_instance(bool, flips=self.flips)
        _check.in_interval(0.0, float("inf"), adversarial=self.adversarial)

    def num_steps(self, num_pairs: int) -> int:
        """Return the optimizer steps for a number of pairs.

        Example:
          >>> PairSettings(num_epochs=8).num_steps(3000)
          750
        """
        seen = self.num_epochs * num_pairs
        return max(1, round(seen / min(self.batch_size, num_pairs)))


def image_distance(name: str) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Return the mean distance of two batches of images, a float scalar.

    Args:
      name: one of `DISTANCES`.

    Example:
      >>> float(image_distance("l1")(jnp.zeros((1, 4, 4, 3)), jnp.ones((1, 4, 4, 3))))
      1.0
    """
    return {"l1": _l1, "l2": _l2, "perceptual": _perceptual}[
        _check.one_of(DISTANCES, distance=name)
    ]


def pair_loss(model: ImageToImage, distance: str) -> LossFn:
    """Make the loss of a network on prepared `Pairs`.

    Args:
      model: the network.
      distance: one of `DISTANCES`.
    """
    distance_fn = image_distance(distance)

    def loss_fn(
        params: chex.ArrayTree, model_state: chex.ArrayTree, batch: Pairs, rng: chex.PRNGKey
    ) -> tuple[jax.Array, tuple[Any, Metrics]]:
        inputs, outputs = batch
        chex.assert_equal_shape([inputs, outputs])
        return distance_fn(model.apply({"params": params}, inputs), outputs), (model_state, {})

    return loss_fn


def train_pairs(
    model: ImageToImage,
    params: chex.ArrayTree,
    pairs: Pairs,
    settings: PairSettings,
    *,
    seed: int,
    **runner: Any,
) -> TrainResult:
    """Train on pairs, from given parameters; resume as `fit` does.

    Args:
      model: the network.
      params: of `model.init` or of an earlier training.
      pairs: uint8 images.
      settings: of this training.
      seed: of the order of pairs and of flips.
      **runner: of `fit`: `checkpoint_dir`, `on_segment`, `should_stop` …

    Raises:
      ValueError: images that are not uint8, or inputs and outputs of other shapes.
      CheckpointError, DivergenceError: as `fit`.
    """
    inputs = _check.uint8_images(inputs=pairs.inputs)
    outputs = _check.uint8_images(outputs=pairs.outputs)
    if inputs.shape != outputs.shape:
        raise ValueError(
            f"inputs and outputs must have one shape, got {inputs.shape} and {outputs.shape}"
        )
    num_steps = settings.num_steps(len(inputs))
    if settings.adversarial:
        seeded = jax.random.fold_in(jax.random.key(seed), _DISCRIMINATOR_STREAM)
        judge = _DISCRIMINATOR.init(seeded, inputs.shape[1:])["params"]
        params = {"network": params, "discriminator": judge}
    step = _step(model, settings, num_steps)
    plan = data.BatchPlan(len(inputs), min(settings.batch_size, len(inputs)), seed)
    batches = Batches(Pairs(inputs, outputs), plan.rows)
    key = jax.random.key(seed)
    result = fit(step, step.init(params), batches, num_steps=num_steps, key=key, **runner)
    if not settings.adversarial:
        return result
    state = result.state.replace(params=result.state.params["network"])
    return dataclasses.replace(result, state=state)


def restore(
    model: ImageToImage, variables: Variables, images: np.ndarray, batch_size: int = 250
) -> np.ndarray:
    """Return a network's outputs as a service sends them: clipped and rounded to uint8.

    Args:
      model: the network.
      variables: of `model.init` or a training.
      images: uint8 `[n, H, W, 3]`.
      batch_size: images per call.
    """
    images = _check.uint8_images(images=images)
    predict_fn = model.predict_fn(variables)
    chunks = [
        jax.device_get(_rounded(predict_fn, jnp.asarray(images[start : start + batch_size])))
        for start in range(0, len(images), batch_size)
    ]
    return np.concatenate(chunks) if chunks else images.copy()


@jax.jit
def _rounded(predict_fn: jax.tree_util.Partial, images: jax.Array) -> jax.Array:
    outputs = predict_fn(images.astype(jnp.float32) / 255.0)
    return jnp.rint(jnp.clip(outputs, 0.0, 1.0) * 255.0).astype(jnp.uint8)


@functools.lru_cache(maxsize=32)
def _step(model: ImageToImage, settings: PairSettings, num_steps: int) -> Step:
    """Make the step; trainings with equal arguments share its compilation."""
    warmup = max(1, round(_WARMUP_SHARE * num_steps))
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, settings.learning_rate, warmup, max(num_steps, warmup + 1)
    )

    def optimizer() -> optax.GradientTransformation:
        return optax.chain(optax.clip_by_global_norm(1.0), adam(schedule))

    def prepare(params: Any, model_state: Any, batch: Pairs, rng: chex.PRNGKey) -> Pairs:
        floats = Pairs(*(images.astype(jnp.float32) / 255.0 for images in batch))
        if not settings.flips:
            return floats
        mirrored = jax.random.bernoulli(rng, 0.5, (len(batch.inputs), 1, 1, 1))
        return Pairs(*(jnp.where(mirrored, images[:, :, ::-1], images) for images in floats))

    loss_fn = pair_loss(model, settings.distance)
    if not settings.adversarial:
        return make_step(loss_fn, optimizer(), prepare_fn=prepare)
    losses = _adversarial_losses(model, loss_fn, settings.adversarial)
    return chain(
        **{
            name: make_step(losses[name], optimizer(), trained=(name,), prepare_fn=prepare)
            for name in ("discriminator", "network")
        }
    )


def _adversarial_losses(
    model: ImageToImage, loss_fn: LossFn, weight: float
) -> dict[str, LossFn]:
    """Return the losses of the discriminator, and of the network against it."""

    def says(params: Any, images: jax.Array) -> jax.Array:
        return _DISCRIMINATOR.apply({"params": params["discriminator"]}, images).mean(-1)

    def made(params: Any, batch: Pairs) -> jax.Array:
        return model.apply({"params": params["network"]}, batch.inputs)

    def discriminator_loss(params: Any, model_state: Any, batch: Pairs, rng: Any) -> Any:
        true, false = says(params, batch.outputs), says(params, made(params, batch))
        return (jnp.square(true - 1.0).mean() + jnp.square(false).mean()) / 2, (model_state, {})

    def network_loss(params: Any, model_state: Any, batch: Pairs, rng: Any) -> Any:
        loss, aux = loss_fn(params["network"], model_state, batch, rng)
        fooled = jnp.square(says(params, made(params, batch)) - 1.0).mean() / 2
        return loss + weight * fooled, aux

    return {"discriminator": discriminator_loss, "network": network_loss}


def _l1(one: jax.Array, other: jax.Array) -> jax.Array:
    return jnp.abs(one - other).mean()


def _l2(one: jax.Array, other: jax.Array) -> jax.Array:
    return jnp.square(one - other).mean()


def _perceptual(one: jax.Array, other: jax.Array) -> jax.Array:
    total = _l1(one, other)
    for kernel in _feature_kernels():
        one, other = (_features(images, kernel) for images in (one, other))
        total = total + jnp.abs(one - other).mean()
    return total


def _features(images: jax.Array, kernel: np.ndarray) -> jax.Array:
    made = jax.lax.conv_general_dilated(
        images, jnp.asarray(kernel), (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return jax.nn.relu(made)


@functools.cache
def _feature_kernels() -> tuple[np.ndarray, ...]:
    rng, channels, kernels = np.random.default_rng(_FEATURE_SEED), 3, []
    for width in _FEATURE_WIDTHS:
        scale = np.sqrt(2.0 / (9 * channels))
        kernel = rng.normal(scale=scale, size=(3, 3, channels, width))
        kernels.append(kernel.astype(np.float32))
        channels = width
    return tuple(kernels)
