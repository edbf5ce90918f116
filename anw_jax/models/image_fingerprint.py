"""An encoder that hides bits in an image, and the decoder that reads them."""

import dataclasses
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import _check
from anw_jax.models.drawing import drawn
from anw_jax.models.layers import KEEP_SIGNAL, conv

Params = dict[str, Any]

# The sides of a block, and the bits that each one holds.
BLOCK = 8
BITS_PER_BLOCK = 19

# Axes of colour: luminance, red against blue, green against both; orthonormal.
_COLOURS = np.array([[1, 1, 1], [1, 0, -1], [-1, 2, -1]]) / np.sqrt([[3], [2], [6]])
# First patterns: axis of colour, vertical and horizontal frequency of the cosine transform.
# Of low frequency, where blur and JPEG spare them, and of colours in which photos vary little.
_FIRST = (
    (2, 0, 1), (2, 1, 0), (2, 1, 1), (2, 0, 2), (2, 2, 0), (2, 1, 2), (2, 2, 1), (2, 0, 3),
    (2, 3, 0), (2, 2, 2), (2, 1, 3), (1, 1, 1), (1, 0, 2), (1, 2, 0), (1, 1, 2), (1, 2, 1),
    (1, 0, 3), (1, 3, 0), (1, 2, 2),
)  # fmt: skip
_FIRST_MARGIN = 0.05


@dataclasses.dataclass(frozen=True)
class ImageFingerprint:
    """Encoder and decoder of 19 bits in each block of 8 x 8 pixels: 304 in 32 x 32.

    The encoder measures each block along 19 patterns (a convolution of stride 8), moves the
    values to the side of 0 that the bits say, each by a learned margin and only if needed, and
    adds the change as patterns; a small convolution then shapes it to the image. The decoder
    sharpens the image by a small convolution, and measures along patterns of its own. At the
    start all patterns are waves of the cosine transform, and training moves them.

    Attributes:
      width: channels of the two small convolutions.
    """

    width: int = 12

    def __post_init__(self):
        _check.integer_at_least(1, width=self.width)

    def num_bits(self, image_shape: tuple[int, int, int]) -> int:
        """Return how many bits an image holds.

        Raises:
          ValueError: sides that are no multiples of 8.

        Example:
          >>> ImageFingerprint().num_bits((32, 32, 3))
          304
        """
        height, width, channels = image_shape
        if height % BLOCK or width % BLOCK or channels != 3:
            raise ValueError(f"image_shape must be (8 m, 8 n, 3), got {image_shape}")
        return height // BLOCK * (width // BLOCK) * BITS_PER_BLOCK

    def init(self, key: jax.Array) -> Params:
        """Draw the parameters: `{"encoder": ..., "decoder": ...}`; they fit any image size."""
        return drawn(_draw, key, self)

    def encode(self, params: Params, images: jax.Array, signs: jax.Array) -> jax.Array:
        """Hide bits in images.

        Args:
          params: of `init`.
          images: float32 `[b, H, W, 3]` in [0, 1].
          signs: float32 `[b, num_bits]`, each -1 or +1; in rows of blocks, from the top left.

        Returns:
          float32 images in [0, 1].
        """
        batch, height, width, _ = images.shape
        blocks = (batch, height // BLOCK, width // BLOCK, BITS_PER_BLOCK)
        chex.assert_shape(signs, (batch, self.num_bits(images.shape[1:])))
        return self._encoder.apply({"params": params["encoder"]}, images, signs.reshape(blocks))

    def decode(self, params: Params, images: jax.Array) -> jax.Array:
        """Return logits `[b, num_bits]` of the bits: above 0 for +1."""
        logits = self._decoder.apply({"params": params["decoder"]}, images)
        return logits.reshape(len(images), -1)

    @property
    def _encoder(self) -> nn.Module:
        return _Encoder(self.width)

    @property
    def _decoder(self) -> nn.Module:
        return _Decoder(self.width)


def _draw(key: jax.Array, net: ImageFingerprint) -> Params:
    images = jnp.zeros((1, BLOCK, BLOCK, 3), jnp.float32)
    signs = jnp.zeros((1, 1, 1, BITS_PER_BLOCK), jnp.float32)
    first, second = jax.random.split(key)
    return {
        "encoder": net._encoder.init(first, images, signs)["params"],
        "decoder": net._decoder.init(second, images)["params"],
    }


def first_patterns() -> np.ndarray:
    """Return the patterns before training: float32 `[8, 8, 3, 19]`, orthonormal."""
    places = np.arange(BLOCK) + 0.5
    waves = np.stack([np.cos(np.pi * k * places / BLOCK) for k in range(BLOCK)])
    waves /= np.linalg.norm(waves, axis=1, keepdims=True)
    patterns = [
        waves[u][:, None, None] * waves[v][None, :, None] * _COLOURS[c] for c, u, v in _FIRST
    ]
    return np.stack(patterns, -1).astype(np.float32)


def _first_kernel(
    key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32
) -> jax.Array:
    return jnp.asarray(first_patterns(), dtype)


def _measure(name: str) -> nn.Conv:
    """Return the convolution that measures each block along 19 patterns."""
    return conv(
        BITS_PER_BLOCK, BLOCK, BLOCK, padding=((0, 0), (0, 0)), kernel_init=_first_kernel,
        name=name,
    )  # fmt: skip


def _shaped(x: jax.Array, width: int) -> jax.Array:
    """Return a change of 3 channels by a small convolution that is 0 before training."""
    hidden = nn.relu(conv(width, 3, use_bias=True, kernel_init=KEEP_SIGNAL)(x))
    return conv(3, 3, use_bias=True, kernel_init=nn.initializers.zeros)(hidden)


class _Encoder(nn.Module):
    width: int

    @nn.compact
    def __call__(self, images: jax.Array, signs: jax.Array) -> jax.Array:
        centred = images - 0.5
        found = _measure("measure")(centred)
        margin = self.param(
            "margin", nn.initializers.constant(_FIRST_MARGIN), (1, 1, 1, BITS_PER_BLOCK)
        )
        moved = signs * nn.relu(margin - signs * found)
        patterns = self.param("patterns", _first_kernel, (BLOCK, BLOCK, 3, BITS_PER_BLOCK))
        change = jnp.einsum("bijk,hwck->bihjwc", moved, patterns).reshape(images.shape)
        change = change + _shaped(jnp.concatenate([centred, change], -1), self.width)
        return jnp.clip(images + change, 0.0, 1.0)


class _Decoder(nn.Module):
    width: int

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        centred = images - 0.5
        scale = self.param("scale", nn.initializers.constant(40.0), (1, 1, 1, BITS_PER_BLOCK))
        return scale * _measure("measure")(centred + _shaped(centred, self.width))
