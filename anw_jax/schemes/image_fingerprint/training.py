"""Train encoder and decoder together, through the noise of an image's way."""

import dataclasses
import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from anw_jax import _check, data, train
from anw_jax.keys import Bits
from anw_jax.models import ImageFingerprint
from anw_jax.schemes.image_fingerprint.lattice import checked_signs
from anw_jax.schemes.image_fingerprint.noise import any_noise

Params = dict[str, Any]

_BATCH = 256


@dataclasses.dataclass(frozen=True)
class FingerprintTraining:
    """The training of encoder and decoder, with fresh random bits in each step.

    Attributes:
      num_steps: of Adam.
      batch_size: images of a step.
      learning_rate: at the start; it falls to 0 as a half cosine.
      psnr: decibels above which the change of an image costs nothing.
      weight: of the mean squared error beyond that, on the scale of [0, 1].
      seed: of bits, batches and noise.
    """

    num_steps: int = 600
    batch_size: int = 32
    learning_rate: float = 1e-3
    psnr: float = 33.0
    weight: float = 2000.0
    seed: int = 0

    def __post_init__(self):
        for name in ("num_steps", "batch_size"):
            _check.integer_at_least(1, **{name: getattr(self, name)})
        for name in ("learning_rate", "psnr", "weight"):
            _check.positive(**{name: getattr(self, name)})
        _check.integer_at_least(0, seed=self.seed)


def train_fingerprint(
    net: ImageFingerprint, images: np.ndarray, settings: FingerprintTraining, **runner: Any
) -> train.TrainResult:
    """Train encoder and decoder on images; resume as `train.fit` does.

    The bits are drawn afresh for each image and step, so the networks know no key. Fix and
    commit them before the bits of a key are drawn: then `stats.bit_test` of an image's logits
    is exact.

    Args:
      net: the networks.
      images: uint8 `[n, H, W, 3]`, sides multiples of 16 (that JPEG halves colours).
      settings: of the training.
      **runner: of `train.fit`: `checkpoint_dir`, `on_start`, `on_segment`, `should_stop`.

    Returns:
      The last state, whose `params` are those of `net`.

    Raises:
      ValueError: images of other sizes.
      CheckpointError, DivergenceError: as `train.fit`.
    """
    images = _check.uint8_images(images=images)
    net.num_bits(images.shape[1:])
    if images.shape[1] % 16 or images.shape[2] % 16:
        raise ValueError(f"images must have sides that 16 divides, got {images.shape[1:3]}")
    size = min(settings.batch_size, len(images))
    batches = train.Batches(
        {"images": images}, data.BatchPlan(len(images), size, settings.seed).rows
    )
    step, key = _step(net, settings), jax.random.key(settings.seed)
    params = net.init(jax.random.fold_in(key, 1))
    state = step.init(params)
    return train.fit(step, state, batches, num_steps=settings.num_steps, key=key, **runner)


@functools.lru_cache(maxsize=4)
def _step(net: ImageFingerprint, settings: FingerprintTraining) -> train.Step:
    most = 10.0 ** (-settings.psnr / 10.0)

    def loss_fn(params: Params, state: Any, batch: Any, key: chex.PRNGKey) -> Any:
        images = batch["images"].astype(jnp.float32) / 255.0
        bits_key, noise_key = jax.random.split(key)
        shape = (len(images), net.num_bits(images.shape[1:]))
        signs = jnp.where(jax.random.bernoulli(bits_key, shape=shape), 1.0, -1.0)
        marked = net.encode(params, images, signs)
        logits = net.decode(params, any_noise(marked, noise_key))
        entropy = jax.nn.softplus(-signs * logits).mean()
        error = jnp.square(marked - images).mean()
        metrics = {"accuracy": (signs * logits > 0.0).astype(jnp.float32).mean(), "mse": error}
        return entropy + settings.weight * jnp.maximum(error - most, 0.0), (state, metrics)

    rate = optax.cosine_decay_schedule(settings.learning_rate, settings.num_steps)
    return train.make_step(loss_fn, train.adam(rate))


def mark_images(
    net: ImageFingerprint, params: Params, images: np.ndarray, bits: Bits | np.ndarray
) -> np.ndarray:
    """Return images with bits hidden in them, rounded to 8 bits.

    Args:
      net: the networks.
      params: as `train_fingerprint` trained them.
      images: uint8 `[n, H, W, 3]`.
      bits: of all images (`keys.Bits`), or signs `[n, num_bits]`, each -1 or +1.

    Raises:
      ValueError: bits of another number than the images hold.

    Example:
      >>> net = ImageFingerprint()
      >>> params = net.init(jax.random.key(0))
      >>> images = np.full((1, 32, 32, 3), 120, np.uint8)
      >>> signs = np.where(np.arange(304) % 2, 1, -1)[None]
      >>> marked = mark_images(net, params, images, signs)
      >>> int((np.sign(read_images(net, params, marked)) == signs).sum())
      304
    """
    images = _check.uint8_images(images=images)
    count = net.num_bits(images.shape[1:])
    signs = checked_signs(bits, len(images), count).astype(np.float32)
    marked = [
        _encode(net, params, images[start : start + _BATCH], signs[start : start + _BATCH])
        for start in range(0, len(images), _BATCH)
    ]
    return np.concatenate(marked) if marked else images


def read_images(net: ImageFingerprint, params: Params, images: np.ndarray) -> np.ndarray:
    """Return the decoder's logits of images uint8 `[n, H, W, 3]`: float32 `[n, num_bits]`."""
    images = _check.uint8_images(images=images)
    net.num_bits(images.shape[1:])
    starts = range(0, len(images), _BATCH)
    return np.concatenate([_decode(net, params, images[s : s + _BATCH]) for s in starts])


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of uint8 images in decibels; infinity if equal.

    Example:
      >>> grey = np.full((1, 8, 8, 3), 100, np.uint8)
      >>> round(psnr(grey, grey + np.uint8(5)), 2)
      34.15
    """
    difference = first.astype(np.float64) - second.astype(np.float64)
    error = float(np.square(difference).mean())
    return float("inf") if error == 0.0 else float(10.0 * np.log10(255.0**2 / error))


@functools.partial(jax.jit, static_argnums=0)
def _encode(
    net: ImageFingerprint, params: Params, images: jax.Array, signs: jax.Array
) -> jax.Array:
    marked = net.encode(params, images.astype(jnp.float32) / 255.0, signs)
    return jnp.round(255.0 * marked).astype(jnp.uint8)


@functools.partial(jax.jit, static_argnums=0)
def _decode(net: ImageFingerprint, params: Params, images: jax.Array) -> jax.Array:
    return net.decode(params, images.astype(jnp.float32) / 255.0)
