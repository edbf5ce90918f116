"""A small denoising diffusion model: a U-Net that predicts the noise in an image.

Ho, Jain, Abbeel, "Denoising Diffusion Probabilistic Models" (2020), eq. 14,
https://arxiv.org/abs/2006.11239, with the cosine schedule of Nichol and Dhariwal (2021),
eq. 17, https://arxiv.org/abs/2102.09672.
"""

import dataclasses
import functools
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import _check
from anw_jax.models import layers
from anw_jax.models.drawing import drawn

Variables = dict[str, Any]

_OFFSET = 0.008  # of the cosine schedule: keeps the first steps from being without noise
_LARGEST_BETA = 0.999


class _Block(nn.Module):
    """Two 3x3 convolutions with GroupNorm, a shortcut, and the time added between them."""

    width: int

    @nn.compact
    def __call__(self, x_bhwc: jax.Array, time_bd: jax.Array) -> jax.Array:
        y = layers.conv(self.width, 3)(nn.silu(_norm()(x_bhwc)))
        y = y + nn.Dense(self.width)(nn.silu(time_bd))[:, None, None]
        # The last layer of each block starts at 0, so that the block starts as its shortcut.
        y = layers.conv(self.width, 3, kernel_init=nn.initializers.zeros)(nn.silu(_norm()(y)))
        if x_bhwc.shape[-1] != self.width:
            x_bhwc = layers.conv(self.width, 1)(x_bhwc)
        return x_bhwc + y


def _norm() -> nn.GroupNorm:
    return nn.GroupNorm(num_groups=8)


class _UNet(nn.Module):
    """Blocks on the way down, one at the bottom, blocks on the way up with what was kept."""

    widths: tuple[int, ...]
    num_classes: int | None
    patch: int

    @nn.compact
    def __call__(
        self, image_bhwc: jax.Array, steps_b: jax.Array, labels_b: jax.Array | None
    ) -> jax.Array:
        x_bhwc = _to_patches(image_bhwc, self.patch)
        size = 4 * self.widths[0]
        time = nn.Dense(size)(nn.silu(nn.Dense(size)(_waves(steps_b, self.widths[0]))))
        if self.num_classes is not None:
            time = time + nn.Embed(self.num_classes, size)(labels_b)
        x = layers.conv(self.widths[0], 3)(x_bhwc)
        kept = []
        for depth, width in enumerate(self.widths):
            if depth:
                x = layers.conv(width, 3, stride=2)(x)
            x = _Block(width)(x, time)
            kept.append(x)
        x = _Block(self.widths[-1])(x, time)
        for depth, width in reversed(list(enumerate(self.widths))):
            x = _Block(width)(jnp.concatenate([x, kept[depth]], axis=-1), time)
            if depth:
                x = layers.conv(width, 3)(x.repeat(2, axis=1).repeat(2, axis=2))
        out = layers.conv(x_bhwc.shape[-1], 3, kernel_init=nn.initializers.zeros)
        return _from_patches(out(nn.silu(_norm()(x))), self.patch)


def _to_patches(image_bhwc: jax.Array, patch: int) -> jax.Array:
    """Move squares of pixels into channels, `[b, H/patch, W/patch, patch² channels]`."""
    b, h, w, c = image_bhwc.shape
    x = image_bhwc.reshape(b, h // patch, patch, w // patch, patch, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, h // patch, w // patch, patch**2 * c)


def _from_patches(x_bhwc: jax.Array, patch: int) -> jax.Array:
    """Undo `_to_patches`."""
    b, h, w, c = x_bhwc.shape
    x = x_bhwc.reshape(b, h, w, patch, patch, c // patch**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, h * patch, w * patch, c // patch**2)


def _waves(steps_b: jax.Array, size: int) -> jax.Array:
    """Sines and cosines of the step, float32 `[b, size]`, of periods from 2π to 10,000 · 2π."""
    rates = jnp.exp(-np.log(1e4) * jnp.arange(size // 2, dtype=jnp.float32) / (size // 2))
    angles = steps_b.astype(jnp.float32)[:, None] * rates[None]
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


@dataclasses.dataclass(frozen=True)
class Diffusion:
    """A denoising diffusion model as plain values: equal settings make interchangeable models.

    Attributes:
      widths: channels of each resolution; each halves the one before. Multiples of 8.
      num_steps: T, the number of noise levels.
      num_classes: where the model is conditioned on a class; None for no condition.
      patch: side in pixels of the squares that the first layer sees as one position, which
        makes large images cheap (Peebles and Xie 2023, https://arxiv.org/abs/2212.09748).

    Raises:
      TypeError, ValueError: no widths, widths that are no multiples of 8, numbers below 1.

    Example:
      >>> model = Diffusion(widths=(8,))
      >>> variables = model.init(jax.random.key(0), (8, 8, 3))
      >>> predict = jax.jit(model.predict_noise)
      >>> predict(variables, jnp.zeros((2, 8, 8, 3)), jnp.array([0, 999])).shape
      (2, 8, 8, 3)
    """

    widths: tuple[int, ...] = (8, 32, 64, 64)
    num_steps: int = 1000
    num_classes: int | None = None
    patch: int = 1

    def __post_init__(self):
        _check.integer_at_least(1, num_widths=len(self.widths))
        for width in self.widths:
            if _check.integer_at_least(8, widths=width) % 8:
                raise ValueError(f"widths must be multiples of 8, got {self.widths}")
        _check.integer_at_least(1, num_steps=self.num_steps)
        _check.integer_at_least(1, patch=self.patch)
        if self.num_classes is not None:
            _check.integer_at_least(2, num_classes=self.num_classes)

    @property
    def _net(self) -> _UNet:
        return _UNet(self.widths, self.num_classes, self.patch)

    @property
    def signal_shares(self) -> np.ndarray:
        """ᾱ of each step, float32 `[num_steps]`, falling from about 1 to about 0.

        A noisy image is sqrt(ᾱ) · image + sqrt(1 - ᾱ) · noise, with the image in [-1, 1].
        """
        return _cosine_schedule(self.num_steps)

    def init(self, key: jax.Array, image_shape: tuple[int, int, int]) -> Variables:
        """Draw parameters.

        Args:
          key: typed PRNG key.
          image_shape: `(H, W, channels)`; sides are multiples of patch · 2^(len(widths) - 1).

        Returns:
          `{'params': ...}`, a float32 tree of plain dicts.

        Raises:
          ValueError: sides that cannot be halved as often.
        """
        factor = self.patch * 2 ** (len(self.widths) - 1)
        if any(side % factor for side in image_shape[:2]):
            raise ValueError(
                f"image_shape must have sides that are multiples of {factor}, got {image_shape}"
            )
        return drawn(_init, key, self, tuple(image_shape))

    def predict_noise(
        self,
        variables: Variables,
        noisy: jax.Array,
        steps: jax.Array,
        labels: jax.Array | None = None,
    ) -> jax.Array:
        """Return the noise that the model sees in images.

        Args:
          variables: what `init` returns, or what training made of it.
          noisy: float32 `[b, H, W, channels]`, see `signal_shares`.
          steps: integers `[b]` in [0, num_steps).
          labels: integers `[b]`; only with `num_classes`.

        Returns:
          float32 `[b, H, W, channels]`, standard normal where the model is right.
        """
        chex.assert_rank([noisy, steps], [4, 1])
        chex.assert_equal_shape_prefix([noisy, steps], 1)
        return self._net.apply(variables, noisy, steps, labels)

    def predict_fn(self, variables: Variables) -> jax.tree_util.Partial:
        """Return `predict_noise` of these variables, as `verify` wants a traced model.

        The function inside the `Partial` is the model itself, and models compare by value:
        equal models share a compilation. Bound methods do not.
        """
        return jax.tree_util.Partial(self, variables)

    def __call__(self, variables: Variables, *arguments: Any) -> jax.Array:
        """Return `predict_noise`."""
        return self.predict_noise(variables, *arguments)

    def add_noise(self, images: jax.Array, steps: jax.Array, noise: jax.Array) -> jax.Array:
        """Mix images with noise at given steps.

        Args:
          images: float32 `[b, H, W, channels]` in [0, 1].
          steps: integers `[b]`.
          noise: standard normal, of the shape of `images`.

        Returns:
          float32, of the shape of `images`.
        """
        chex.assert_equal_shape([images, noise])
        share = jnp.asarray(self.signal_shares)[steps][:, None, None, None]
        return jnp.sqrt(share) * (2 * images - 1) + jnp.sqrt(1 - share) * noise

    def sample(
        self, variables: Variables, key: jax.Array, shape: tuple[int, int, int, int]
    ) -> jax.Array:
        """Draw images by the ancestral sampler (algorithm 2), float32 in [0, 1] of `shape`."""
        shares = jnp.asarray(self.signal_shares)
        before = jnp.concatenate([jnp.ones(1, jnp.float32), shares[:-1]])
        first, rest = jax.random.split(key)

        def denoise(i: jax.Array, image: jax.Array) -> jax.Array:
            step = self.num_steps - 1 - i
            alpha = shares[step] / before[step]
            seen = self.predict_noise(variables, image, jnp.full(shape[0], step))
            mean = (image - (1 - alpha) / jnp.sqrt(1 - shares[step]) * seen) / jnp.sqrt(alpha)
            noise = jax.random.normal(jax.random.fold_in(rest, i), shape)
            return mean + jnp.where(step > 0, jnp.sqrt(1 - alpha), 0.0) * noise

        image = jax.lax.fori_loop(0, self.num_steps, denoise, jax.random.normal(first, shape))
        return jnp.clip((image + 1) / 2, 0, 1)


def _init(key: jax.Array, model: Diffusion, image_shape: tuple[int, int, int]) -> Variables:
    images, steps = jnp.zeros((1, *image_shape), jnp.float32), jnp.zeros(1, jnp.int32)
    labels = None if model.num_classes is None else steps
    return model._net.init(key, images, steps, labels)


@functools.cache
def _cosine_schedule(num_steps: int) -> np.ndarray:
    level = (np.arange(num_steps + 1) / num_steps + _OFFSET) / (1 + _OFFSET)
    shares = np.cos(level * np.pi / 2) ** 2
    betas = np.minimum(1 - shares[1:] / shares[:-1], _LARGEST_BETA)
    return np.cumprod(1 - betas).astype(np.float32)
