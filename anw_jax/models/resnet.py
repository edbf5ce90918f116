"""Residual networks in Linen; one module for every size.

He et al. 2016, https://arxiv.org/abs/1512.03385, in the form torchvision calls v1.5: the
bottleneck's stride sits on its 3x3 convolution. Wide-ResNet-50-2 is one of them, with twice
the channels inside each bottleneck (Zagoruyko and Komodakis 2016,
https://arxiv.org/abs/1605.07146, section 3.5); the pre-activation form is in
`wide_resnet.py`.
"""

import dataclasses
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from anw_jax.models import layers
from anw_jax.models.design import NORMS, Design, residual_stem


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    width: int
    stride: int
    dtype: DTypeLike
    norm: str = "batch"
    widening: int = 1
    expansion = 1

    @nn.compact
    def __call__(self, x_bhwc: jax.Array, train: bool) -> jax.Array:
        """Map features `[b, H, W, c]` to `[b, H / stride, W / stride, width]`."""
        conv, norm = _layers(self, train)
        y = nn.relu(norm(conv(self.widening * self.width, 3, self.stride)(x_bhwc)))
        y = norm(conv(self.width, 3)(y))
        return nn.relu(y + _shortcut(x_bhwc, y.shape, self.stride, conv, norm))


class BottleneckBlock(nn.Module):
    """1x1, 3x3 (strided), 1x1 convolutions beside a shortcut."""

    width: int
    stride: int
    dtype: DTypeLike
    norm: str = "batch"
    widening: int = 1
    expansion = 4

    @nn.compact
    def __call__(self, x_bhwc: jax.Array, train: bool) -> jax.Array:
        """Map features `[b, H, W, c]` to `[b, H / stride, W / stride, 4 width]`."""
        conv, norm = _layers(self, train)
        inner = self.widening * self.width
        y = nn.relu(norm(conv(inner, 1)(x_bhwc)))
        y = nn.relu(norm(conv(inner, 3, self.stride)(y)))
        y = norm(conv(self.expansion * self.width, 1)(y))
        return nn.relu(y + _shortcut(x_bhwc, y.shape, self.stride, conv, norm))


def _layers(block: BasicBlock | BottleneckBlock, train: bool) -> tuple[Any, Any]:
    conv = partial(layers.conv, dtype=block.dtype)
    return conv, partial(layers.norm, train=train, kind=block.norm)


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
      widening: channels inside a block over those of its stage.
      norm: "batch" or "group".
      dtype: what convolutions compute in; parameters and logits are float32.
    """

    num_classes: int
    block: str
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    stem_size: int
    stem_stride: int
    stem_pool: bool
    widening: int = 1
    norm: str = "batch"
    dtype: DTypeLike = jnp.float32
    head = "Dense_0"

    @nn.compact
    def __call__(
        self, x_bhwc: jax.Array, train: bool, features_only: bool = False
    ) -> jax.Array:
        """Map normalised images `[b, H, W, 3]` to float32 logits or features `[b, ...]`."""
        x = x_bhwc.astype(self.dtype)
        stem = layers.conv(self.widths[0], self.stem_size, self.stem_stride, dtype=self.dtype)
        x = nn.relu(layers.norm(stem(x), train, self.norm))
        if self.stem_pool:
            x = layers.stem_max_pool(x)
        block = partial(
            BLOCKS[self.block], dtype=self.dtype, norm=self.norm, widening=self.widening
        )
        for stage, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True)):
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                x = block(width, stride)(x, train)
        features_bd = layers.global_mean(x)
        return features_bd if features_only else nn.Dense(self.num_classes)(features_bd)


@dataclasses.dataclass(frozen=True)
class _Size:
    block: str
    depths: tuple[int, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512)
    cifar_stem_stride: int = 1
    widening: int = 1
    norms = NORMS

    def default_dropout(self, stem: str) -> None:
        """Return None: there is no such layer."""

    def build(self, design: Design) -> ResNet:
        """Build the module of this size."""
        stem = residual_stem(design.stem, self.cifar_stem_stride)
        return ResNet(
            num_classes=design.num_classes,
            block=self.block,
            depths=self.depths,
            widths=design.widths,
            stem_size=stem.size,
            stem_stride=stem.stride,
            stem_pool=stem.pool,
            widening=self.widening,
            norm=design.norm,
            dtype=design.dtype,
        )


# "small" was chosen by measurement: 4,000 CIFAR-10 images, crops and mirror images, batch
# 64, cosine from 0.1, one seed, two CPU cores (images/s at batch 128, others running).
#
#   depths   widths       images/s   epochs   train acc   test acc
#   0 1 1    32  96 192        470       24       0.808      0.655   <- "small", 0.63 M
#   1 1 1    32  64 128        500       25       0.799      0.659   (299 s against 187 s)
#   0 1 1    32 128 256        290       14       0.699      0.607
#   1 1 1    32 128 256        240      speed only
#   1 1 1    64 128 256        130      speed only
#   0 1 1    32  96 192        470       60       0.984      0.678   "small", longer
#
# Blocks begin at 8x8 because resolution is what costs: a 3x3 convolution with its gradients
# ran at 31 GFLOP/s at 16x16x64, at 58 at 8x8x128 and at 69 at 4x4x256.
SIZES = {
    "resnet18": _Size("basic", (2, 2, 2, 2)),
    "resnet34": _Size("basic", (3, 4, 6, 3)),
    "resnet50": _Size("bottleneck", (3, 4, 6, 3)),
    "resnet101": _Size("bottleneck", (3, 4, 23, 3)),
    "resnet152": _Size("bottleneck", (3, 8, 36, 3)),
    "wide_resnet50_2": _Size("bottleneck", (3, 4, 6, 3), widening=2),
    "small": _Size("basic", (0, 1, 1), (32, 96, 192), cifar_stem_stride=2),
    "testing": _Size("basic", (1, 1), (8, 16), cifar_stem_stride=2),
}
