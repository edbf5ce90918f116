"""The first form of the bottleneck ResNet: the one that Keras's ImageNet weights fit.

He et al. 2016, https://arxiv.org/abs/1512.03385, as Keras has it under the name ResNet50
(https://keras.io/api/applications/resnet/). It differs from `resnet.ResNet` (v1.5) in three
ways: a stage's stride sits on the first 1x1 convolution of its first block, convolutions
have biases, and BatchNorm's epsilon is 1e-3.
"""

import dataclasses
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from anw_jax.models import layers
from anw_jax.models.design import NORMS, Design, residual_stem

_EXPANSION = 4


def _norm(x: jax.Array, name: str, train: bool, kind: str) -> jax.Array:
    if kind == "group":
        return layers.norm(x, train, kind, name)
    # Keras's momentum of 0.99 is no part of the weights: it would keep an eighth of
    # ImageNet's averages after 200 steps of fine-tuning. In float32, as in `layers.norm`.
    norm = nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-3, name=name)
    return norm(x.astype(jnp.float32)).astype(x.dtype)


class BottleneckV1(nn.Module):
    """1x1 (strided), 3x3, 1x1 convolutions beside a shortcut.

    Attributes:
      width: channels of the 3x3; the output has four times as many.
      stride: in pixels.
      projects: whether the shortcut is a strided 1x1 convolution, or x itself.
      norm: "batch" or "group".
    """

    width: int
    stride: int
    projects: bool
    norm: str = "batch"

    @nn.compact
    def __call__(self, x_bhwc: jax.Array, train: bool) -> jax.Array:
        """Map features `[b, H, W, c]` to `[b, H / stride, W / stride, 4 width]`."""
        conv = partial(layers.conv, use_bias=True, dtype=x_bhwc.dtype)
        norm = partial(_norm, train=train, kind=self.norm)
        wide = _EXPANSION * self.width
        y = nn.relu(norm(conv(self.width, 1, self.stride, name="conv_a")(x_bhwc), "norm_a"))
        y = nn.relu(norm(conv(self.width, 3, name="conv_b")(y), "norm_b"))
        y = norm(conv(wide, 1, name="conv_c")(y), "norm_c")
        if not self.projects:
            return nn.relu(y + x_bhwc)
        projected = conv(wide, 1, self.stride, name="shortcut_conv")(x_bhwc)
        return nn.relu(y + norm(projected, "shortcut_norm"))


class ResNetV1(nn.Module):
    """Stem, stages of v1 bottlenecks, global mean, one dense layer.

    Layers are named after those of the authors' release (stages 2, 3, ...; blocks a, b, ...),
    so that a published name finds its place by a pattern: `res2a_branch2b` is
    `block2a/conv_b`.

    Attributes:
      num_classes: width of the output.
      depths: blocks in each stage, 1 to 26; every stage but the first halves the resolution.
      widths: channels of each stage's 3x3 convolutions.
      stem_size: side of the stem's kernel in pixels.
      stem_stride: stride of the stem.
      stem_pool: whether a 3x3 max-pool of stride 2 follows the stem.
      norm: "batch" or "group".
      dtype: what convolutions compute in; parameters and logits are float32.
    """

    num_classes: int
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    stem_size: int
    stem_stride: int
    stem_pool: bool
    norm: str = "batch"
    dtype: DTypeLike = jnp.float32
    head = "head"

    @nn.compact
    def __call__(
        self, x_bhwc: jax.Array, train: bool, features_only: bool = False
    ) -> jax.Array:
        """Map normalised images `[b, H, W, 3]` to float32 logits or features `[b, ...]`."""
        x = x_bhwc.astype(self.dtype)
        stem = partial(layers.conv, use_bias=True, dtype=self.dtype, name="stem_conv")
        x = stem(self.widths[0], self.stem_size, self.stem_stride)(x)
        x = nn.relu(_norm(x, "stem_norm", train, self.norm))
        if self.stem_pool:
            # Keras pads with zeros: the same, as nothing is negative after the ReLU.
            x = layers.stem_max_pool(x)
        for stage, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True)):
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                name = f"block{stage + 2}{chr(ord('a') + index)}"
                x = BottleneckV1(width, stride, index == 0, self.norm, name=name)(x, train)
        features_bd = layers.global_mean(x)
        if features_only:
            return features_bd
        return nn.Dense(self.num_classes, name=self.head)(features_bd)


@dataclasses.dataclass(frozen=True)
class _Size:
    depths: tuple[int, ...] = (3, 4, 6, 3)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    cifar_stem_stride: int = 1
    norms = NORMS

    def default_dropout(self, stem: str) -> None:
        """Return None: there is no such layer."""

    def build(self, design: Design) -> ResNetV1:
        """Build the module of this size."""
        stem = residual_stem(design.stem, self.cifar_stem_stride)
        return ResNetV1(
            num_classes=design.num_classes,
            depths=self.depths,
            widths=design.widths,
            stem_size=stem.size,
            stem_stride=stem.stride,
            stem_pool=stem.pool,
            norm=design.norm,
            dtype=design.dtype,
        )


SIZES = {
    "resnet50_v1": _Size(),
    "resnet50_v1_testing": _Size((1, 2), (4, 8), cifar_stem_stride=2),
}
