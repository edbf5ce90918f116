"""Residual networks in Linen: ResNet, its first form (v1), and Wide-ResNet.

* `ResNet`: He et al. 2016, https://arxiv.org/abs/1512.03385, in the form that torchvision calls
  v1.5: the bottleneck's stride is on its 3x3 convolution. Wide-ResNet-50-2 is one of them, with
  twice the channels inside each bottleneck (Zagoruyko and Komodakis 2016,
  https://arxiv.org/abs/1605.07146, section 3.5).
* `ResNetV1`: the same as Keras has it under the name ResNet50
  (https://keras.io/api/applications/resnet/), which published ImageNet weights fit. It differs
  in three ways: a stage's stride is on the first 1x1 convolution of its first block,
  convolutions have biases, and BatchNorm's epsilon is 1e-3.
* `WideResNet`: Zagoruyko and Komodakis 2016, WRN-28-10, for small images: three stages of four
  blocks, ten times as wide as a thin ResNet, in pre-activation form: normalisation and ReLU
  come before each convolution (He et al. 2016, https://arxiv.org/abs/1603.05027).
"""

import dataclasses
from collections.abc import Iterator
from functools import partial
from typing import Any

import flax.linen as nn
import jax

from anw_jax.models import layers
from anw_jax.models.design import Design, Size, residual_stem

# Channels that a bottleneck returns, over those of its stage.
_EXPANSION = 4


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut."""

    width: int
    stride: int
    design: Design
    widening: int = 1

    @nn.compact
    def __call__(self, x_bhwc: jax.Array, train: bool) -> jax.Array:
        """Map features `[b, H, W, c]` to `[b, H / stride, W / stride, width]`."""
        conv, norm = layers.conv_and_norm(self.design, train)
        y = nn.relu(norm(conv(self.widening * self.width, 3, self.stride)(x_bhwc)))
        y = norm(conv(self.width, 3)(y))
        return nn.relu(y + _shortcut(x_bhwc, y.shape, self.stride, conv, norm))


class BottleneckBlock(nn.Module):
    """1x1, 3x3 (strided), 1x1 convolutions with a shortcut."""

    width: int
    stride: int
    design: Design
    widening: int = 1

    @nn.compact
    def __call__(self, x_bhwc: jax.Array, train: bool) -> jax.Array:
        """Map features `[b, H, W, c]` to `[b, H / stride, W / stride, 4 width]`."""
        conv, norm = layers.conv_and_norm(self.design, train)
        inner = self.widening * self.width
        y = nn.relu(norm(conv(inner, 1)(x_bhwc)))
        y = nn.relu(norm(conv(inner, 3, self.stride)(y)))
        y = norm(conv(_EXPANSION * self.width, 1)(y))
        return nn.relu(y + _shortcut(x_bhwc, y.shape, self.stride, conv, norm))


def _shortcut(
    x_bhwc: jax.Array, shape: tuple[int, ...], stride: int, conv: Any, norm: Any
) -> jax.Array:
    if x_bhwc.shape == shape:
        return x_bhwc
    projected = conv(shape[-1], 1, stride, name="shortcut_conv")(x_bhwc)
    return norm(projected, name="shortcut_norm")


class BottleneckV1(nn.Module):
    """1x1 (strided), 3x3, 1x1 convolutions with a shortcut.

    Attributes:
      width: channels of the 3x3; the output has four times as many.
      stride: in pixels.
      projects: whether the shortcut is a strided 1x1 convolution, or x itself.
      design: the caller's choices.
    """

    width: int
    stride: int
    projects: bool
    design: Design

    @nn.compact
    def __call__(self, x_bhwc: jax.Array, train: bool) -> jax.Array:
        """Map features `[b, H, W, c]` to `[b, H / stride, W / stride, 4 width]`."""
        conv, norm = _layers_v1(self.design, train)
        wide = _EXPANSION * self.width
        y = conv(self.width, 1, self.stride, name="conv_a")(x_bhwc)
        y = conv(self.width, 3, name="conv_b")(nn.relu(norm(y, name="norm_a")))
        y = conv(wide, 1, name="conv_c")(nn.relu(norm(y, name="norm_b")))
        y = norm(y, name="norm_c")
        if not self.projects:
            return nn.relu(y + x_bhwc)
        projected = conv(wide, 1, self.stride, name="shortcut_conv")(x_bhwc)
        return nn.relu(y + norm(projected, name="shortcut_norm"))


def _layers_v1(design: Design, train: bool) -> tuple[Any, Any]:
    # Keras's momentum of 0.99 is not part of the weights: it would keep an eighth of
    # ImageNet's averages after 200 steps of fine-tuning.
    conv, norm = layers.conv_and_norm(design, train)
    return partial(conv, use_bias=True), partial(norm, batch_epsilon=1e-3)


class WideBlock(nn.Module):
    """Twice normalisation, ReLU and a 3x3 convolution, with a shortcut."""

    width: int
    stride: int
    design: Design

    @nn.compact
    def __call__(self, x_bhwc: jax.Array, train: bool) -> jax.Array:
        """Map features `[b, H, W, c]` to `[b, H / stride, W / stride, width]`."""
        conv, norm = layers.conv_and_norm(self.design, train)
        activated = nn.relu(norm(x_bhwc))
        y = nn.relu(norm(conv(self.width, 3, self.stride)(activated)))
        y = nn.Dropout(self.design.dropout, deterministic=not train)(y)
        y = conv(self.width, 3)(y)
        if x_bhwc.shape == y.shape:
            return x_bhwc + y
        # A projection starts from the activated features, as in the authors' code.
        return conv(self.width, 1, self.stride, name="shortcut_conv")(activated) + y


@dataclasses.dataclass(frozen=True)
class _Residual(Size):
    """Fields of all residual networks.

    Attributes:
      depths: blocks in each stage; every stage but the first halves the resolution.
      widths: channels of each stage (a bottleneck returns four times as many).
      cifar_stem_stride: stride of the "cifar" stem.
    """

    depths: tuple[int, ...] = (3, 4, 6, 3)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    cifar_stem_stride: int = 1

    def blocks(
        self, widths: tuple[int, ...], first_stride: int = 1
    ) -> Iterator[tuple[int, int, int, int]]:
        """Yield stage, place in it, width and stride of each block."""
        for stage, (depth, width) in enumerate(zip(self.depths, widths, strict=True)):
            for index in range(depth):
                stride = 1 if index > 0 else 2 if stage > 0 else first_stride
                yield stage, index, width, stride


class ResNet(nn.Module):
    """Stem, stages of residual blocks, global mean, one dense layer."""

    size: "_ResNetSize"
    design: Design
    head = "Dense_0"

    @nn.compact
    def __call__(
        self, x_bhwc: jax.Array, train: bool, features_only: bool = False
    ) -> jax.Array:
        """Map normalised images `[b, H, W, 3]` to float32 logits or features `[b, ...]`."""
        size, design = self.size, self.design
        conv, norm = layers.conv_and_norm(design, train)
        stem = residual_stem(design.stem, size.cifar_stem_stride)
        x = conv(design.widths[0], stem.size, stem.stride)(x_bhwc.astype(design.dtype))
        x = nn.relu(norm(x))
        x = layers.stem_max_pool(x) if stem.pool else x
        for _, _, width, stride in size.blocks(design.widths):
            x = size.block(width, stride, design, size.widening)(x, train)
        features_bd = layers.global_mean(x)
        return features_bd if features_only else nn.Dense(design.num_classes)(features_bd)


@dataclasses.dataclass(frozen=True)
class _ResNetSize(_Residual):
    """A size of `ResNet`.

    Attributes:
      block: class of its blocks.
      widening: channels inside a block, over those of its stage.
    """

    net = ResNet
    block: type[nn.Module] = BasicBlock
    widening: int = 1


class ResNetV1(nn.Module):
    """Stem, stages of v1 bottlenecks, global mean, one dense layer.

    Layers are named after those of the authors' release (stages 2, 3, ...; blocks a, b, ...),
    so that a published name finds its place by a pattern: `res2a_branch2b` is
    `block2a/conv_b`.
    """

    size: _Residual
    design: Design
    head = "head"

    @nn.compact
    def __call__(
        self, x_bhwc: jax.Array, train: bool, features_only: bool = False
    ) -> jax.Array:
        """Map normalised images `[b, H, W, 3]` to float32 logits or features `[b, ...]`."""
        design = self.design
        conv, norm = _layers_v1(design, train)
        stem = residual_stem(design.stem, self.size.cifar_stem_stride)
        stem_conv = conv(design.widths[0], stem.size, stem.stride, name="stem_conv")
        x = nn.relu(norm(stem_conv(x_bhwc.astype(design.dtype)), name="stem_norm"))
        # Keras pads with zeros: the same, as nothing is negative after the ReLU.
        x = layers.stem_max_pool(x) if stem.pool else x
        for stage, index, width, stride in self.size.blocks(design.widths):
            name = f"block{stage + 2}{chr(ord('a') + index)}"
            x = BottleneckV1(width, stride, index == 0, design, name=name)(x, train)
        features_bd = layers.global_mean(x)
        if features_only:
            return features_bd
        return nn.Dense(design.num_classes, name=self.head)(features_bd)


@dataclasses.dataclass(frozen=True)
class _V1Size(_Residual):
    net = ResNetV1


class WideResNet(nn.Module):
    """Stem, stages of pre-activation blocks, normalisation, global mean, one dense layer.

    Units are dropped between the two convolutions of a block.
    """

    size: "_WideSize"
    design: Design
    head = "Dense_0"

    @nn.compact
    def __call__(
        self, x_bhwc: jax.Array, train: bool, features_only: bool = False
    ) -> jax.Array:
        """Map normalised images `[b, H, W, 3]` to float32 logits or features `[b, ...]`."""
        size, design = self.size, self.design
        conv, norm = layers.conv_and_norm(design, train)
        stem = residual_stem(design.stem, size.cifar_stem_stride)
        x = conv(size.stem_width, stem.size, stem.stride)(x_bhwc.astype(design.dtype))
        x = layers.stem_max_pool(x) if stem.pool else x
        for _, _, width, stride in size.blocks(design.widths, size.first_stride):
            x = WideBlock(width, stride, design)(x, train)
        features_bd = layers.global_mean(nn.relu(norm(x)))
        return features_bd if features_only else nn.Dense(design.num_classes)(features_bd)


@dataclasses.dataclass(frozen=True)
class _WideSize(_Residual):
    """A size of `WideResNet`.

    Attributes:
      stem_width: channels of the stem.
      first_stride: stride of the first stage.
    """

    net = WideResNet
    stem_width: int = 16
    first_stride: int = 1
    # The paper's best results with dropout are of other settings.
    imagenet_dropout = 0.0


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
#
# "wide_resnet_small" was chosen as described in `model.py`.
SIZES = {
    "resnet18": _ResNetSize((2, 2, 2, 2)),
    "resnet34": _ResNetSize((3, 4, 6, 3)),
    "resnet50": _ResNetSize((3, 4, 6, 3), block=BottleneckBlock),
    "resnet101": _ResNetSize((3, 4, 23, 3), block=BottleneckBlock),
    "resnet152": _ResNetSize((3, 8, 36, 3), block=BottleneckBlock),
    "wide_resnet50_2": _ResNetSize((3, 4, 6, 3), block=BottleneckBlock, widening=2),
    "small": _ResNetSize((0, 1, 1), (32, 96, 192), 2),
    "testing": _ResNetSize((1, 1), (8, 16), 2),
    "resnet50_v1": _V1Size(),
    "resnet50_v1_testing": _V1Size((1, 2), (4, 8), 2),
    "wide_resnet28_10": _WideSize((4, 4, 4), (160, 320, 640)),
    "wide_resnet_small": _WideSize((1, 1), (96, 192), 2, first_stride=2),
    "wide_resnet_testing": _WideSize((1, 1), (8, 16), 2, stem_width=4),
}
