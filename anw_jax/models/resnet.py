"""Residual networks in Linen; one module for every size.

He et al. 2016, https://arxiv.org/abs/1512.03385, in the form torchvision calls v1.5: the
bottleneck's stride sits on its 3x3 convolution.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

_CONV_INIT = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def _conv(width: int, size: int, stride: int = 1, **options: Any) -> nn.Conv:
    # Explicit padding: "SAME" pads a strided convolution on one side only.
    padding = ((size - 1) // 2, (size - 1) // 2)
    return nn.Conv(
        width,
        (size, size),
        (stride, stride),
        (padding, padding),
        use_bias=False,
        kernel_init=_CONV_INIT,
        **options,
    )


def _norm(x: jax.Array, train: bool, name: str | None = None) -> jax.Array:
    # In float32 whatever x is: Flax's own mixture breaks under strict promotion.
    norm = nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5, name=name)
    return norm(x.astype(jnp.float32)).astype(x.dtype)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    width: int
    stride: int
    dtype: DTypeLike
    expansion = 1

    @nn.compact
    def __call__(self, x_bhwc: jax.Array, train: bool) -> jax.Array:
        """Features `[b, H, W, c]` to `[b, H / stride, W / stride, width]`."""
        conv, norm = partial(_conv, dtype=self.dtype), partial(_norm, train=train)
        y = nn.relu(norm(conv(self.width, 3, self.stride)(x_bhwc)))
        y = norm(conv(self.width, 3)(y))
        return nn.relu(y + _shortcut(x_bhwc, y.shape, self.stride, conv, norm))


class BottleneckBlock(nn.Module):
    """1x1, 3x3 (strided), 1x1 convolutions beside a shortcut."""

    width: int
    stride: int
    dtype: DTypeLike
    expansion = 4

    @nn.compact
    def __call__(self, x_bhwc: jax.Array, train: bool) -> jax.Array:
        """Features `[b, H, W, c]` to `[b, H / stride, W / stride, 4 width]`."""
        conv, norm = partial(_conv, dtype=self.dtype), partial(_norm, train=train)
        y = nn.relu(norm(conv(self.width, 1)(x_bhwc)))
        y = nn.relu(norm(conv(self.width, 3, self.stride)(y)))
        y = norm(conv(self.expansion * self.width, 1)(y))
        return nn.relu(y + _shortcut(x_bhwc, y.shape, self.stride, conv, norm))


def _shortcut(
    x_bhwc: jax.Array, shape: tuple[int, ...], stride: int, conv: Any, norm: Any
) -> jax.Array:
    if x_bhwc.shape == shape:
        return x_bhwc
    projected = conv(shape[-1], 1, stride, name="shortcut_conv")(x_bhwc)
    return norm(projected, name="shortcut_norm")


BLOCKS = {"basic": BasicBlock, "bottleneck": BottleneckBlock}


class ResNet(nn.Module):
    """Stem, stages of residual blocks, global mean, one dense layer.

    Attributes:
      num_classes: width of the output.
      block: "basic" or "bottleneck".
      depths: blocks in each stage; every stage but the first halves the resolution.
      widths: channels of each stage (a bottleneck gives four times as many).
      stem_size: side of the stem's kernel in pixels.
      stem_stride: stride of the stem.
      stem_pool: whether a 3x3 max-pool of stride 2 follows the stem.
      dtype: what convolutions compute in; parameters and logits are float32.
    """

    num_classes: int
    block: str
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    stem_size: int
    stem_stride: int
    stem_pool: bool
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x_bhwc: jax.Array, train: bool) -> jax.Array:
        """Normalised images `[b, H, W, 3]` to float32 logits `[b, num_classes]`."""
        x = x_bhwc.astype(self.dtype)
        x = _conv(self.widths[0], self.stem_size, self.stem_stride, dtype=self.dtype)(x)
        x = nn.relu(_norm(x, train))
        if self.stem_pool:
            x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for stage, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True)):
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                x = BLOCKS[self.block](width, stride, self.dtype)(x, train)
        pooled_bc = x.astype(jnp.float32).mean(axis=(1, 2))
        return nn.Dense(self.num_classes)(pooled_bc)
