"""A classifier in two halves, and a network that rebuilds images from what lies between."""

import dataclasses
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from anw_jax import _check
from anw_jax.models.drawing import drawn
from anw_jax.models.layers import KEEP_SIGNAL, conv, half_mean, norm

Params = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class SplitNet:
    """A classifier that is cut after its fourth convolution.

    The bottom half turns images into activations of half their side; the top half turns those
    into logits. Group normalisation: nothing depends on other images of a batch. With only two
    convolutions in the bottom half, the same defence cost the task far more
    (docs/joint_training.md).

    Attributes:
      num_classes: at least 2.
      channels: of the activations.
      width: channels of the first convolution; later ones have up to four times as many.
    """

    num_classes: int
    channels: int = 8
    width: int = 16

    def __post_init__(self):
        _check.integer_at_least(2, num_classes=self.num_classes)
        _check.integer_at_least(1, channels=self.channels)
        _check.integer_at_least(1, width=self.width)

    def init(self, key: jax.Array, image_shape: tuple[int, int, int]) -> Params:
        """Draw the parameters: `{"bottom": ..., "top": ...}`, float32."""
        return drawn(_draw, key, self, tuple(image_shape))

    def bottom(self, params: Params, images: jax.Array) -> jax.Array:
        """Return the activations at the cut.

        Args:
          params: the entry "bottom" of `init`.
          images: float32 `[b, H, W, 3]` in [0, 1].

        Returns:
          float32 `[b, ceil(H / 2), ceil(W / 2), channels]`.
        """
        chex.assert_type(images, jnp.float32)
        return self._bottom.apply({"params": params}, images)

    def top(self, params: Params, activations: jax.Array) -> jax.Array:
        """Return the logits float32 `[b, num_classes]` of activations."""
        return self._top.apply({"params": params}, activations)

    @property
    def _bottom(self) -> nn.Module:
        return _Bottom(self.width, self.channels)

    @property
    def _top(self) -> nn.Module:
        return _Top(self.width, self.num_classes)


@dataclasses.dataclass(frozen=True)
class Inverter:
    """A network that rebuilds images from activations of half their side.

    Attributes:
      width: channels of its inner convolutions.
    """

    width: int = 16

    def init(self, key: jax.Array, activation_shape: tuple[int, int, int]) -> Params:
        """Draw the parameters for activations of a shape."""
        return drawn(_draw_inverter, key, self.width, tuple(activation_shape))

    def __call__(self, params: Params, activations: jax.Array) -> jax.Array:
        """Return images `[b, 2 H, 2 W, 3]` in (0, 1) of activations `[b, H, W, c]`."""
        return _Inverter(self.width).apply({"params": params}, activations)


def _draw(key: jax.Array, net: SplitNet, image_shape: tuple[int, int, int]) -> Params:
    images = jnp.zeros((1, *image_shape), jnp.float32)
    first, second = jax.random.split(key)
    bottom = net._bottom.init(first, images)
    activations = net._bottom.apply(bottom, images)
    return {"bottom": bottom["params"], "top": net._top.init(second, activations)["params"]}


def _draw_inverter(
    key: jax.Array, width: int, activation_shape: tuple[int, int, int]
) -> Params:
    activations = jnp.zeros((1, *activation_shape), jnp.float32)
    return _Inverter(width).init(key, activations)["params"]


def doubled(x_bhwc: jax.Array) -> jax.Array:
    """Repeat each pixel twice along both sides; a convolution after it smooths the blocks."""
    batch, height, width, channels = x_bhwc.shape
    blocks = jnp.broadcast_to(
        x_bhwc[:, :, None, :, None], (batch, height, 2, width, 2, channels)
    )
    return blocks.reshape(batch, 2 * height, 2 * width, channels)


def _conv(width: int, stride: int = 1) -> nn.Conv:
    return conv(width, 3, stride, use_bias=True, kernel_init=KEEP_SIGNAL)


class _Bottom(nn.Module):
    width: int
    channels: int

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        x = nn.relu(_conv(self.width)((images - 0.5) / 0.25))
        for stride in (2, 1):
            x = nn.relu(norm(_conv(2 * self.width, stride)(x), False, "group"))
        return norm(_conv(self.channels)(x), False, "group")


class _Top(nn.Module):
    width: int
    num_classes: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for scale in (2, 4):
            x = nn.relu(norm(_conv(scale * self.width)(x), False, "group"))
            x = half_mean(x)
        x = nn.relu(norm(_conv(4 * self.width)(x), False, "group"))
        return nn.Dense(self.num_classes)(x.mean(axis=(1, 2)))


class _Inverter(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(_conv(self.width)(x))
        x = nn.relu(_conv(self.width)(x))
        x = nn.relu(_conv(self.width)(doubled(x)))
        return nn.sigmoid(_conv(3)(x))
