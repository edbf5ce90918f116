"""Wide residual networks in Linen, in the pre-activation form for small images.

Zagoruyko and Komodakis 2016, https://arxiv.org/abs/1605.07146, WRN-28-10: three stages of four
blocks, ten times as wide as a thin ResNet; normalisation and ReLU come before each
convolution (He et al. 2016, https://arxiv.org/abs/1603.05027). Wide-ResNet-50-2, for large
images, is a ResNet of bottlenecks and lives in `resnet.py`.
"""

import dataclasses
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from anw_jax.models import layers
from anw_jax.models.design import NORMS, Design, Stem, residual_stem


class WideBlock(nn.Module):
    """Twice normalisation, ReLU and a 3x3 convolution, beside a shortcut."""

    width: int
    stride: int
    dropout: float
    norm: str
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x_bhwc: jax.Array, train: bool) -> jax.Array:
        """Map features `[b, H, W, c]` to `[b, H / stride, W / stride, width]`."""
        conv = partial(layers.conv, dtype=self.dtype)
        norm = partial(layers.norm, train=train, kind=self.norm)
        activated = nn.relu(norm(x_bhwc))
        y = nn.relu(norm(conv(self.width, 3, self.stride)(activated)))
        y = nn.Dropout(self.dropout, deterministic=not train)(y)
        y = conv(self.width, 3)(y)
        if x_bhwc.shape == y.shape:
            return x_bhwc + y
        # A projection starts from the activated features, as in the authors' code.
        return conv(self.width, 1, self.stride, name="shortcut_conv")(activated) + y


class WideResNet(nn.Module):
    """Stem, stages of pre-activation blocks, normalisation, global mean, one dense layer.

    Attributes:
      num_classes: width of the output.
      depths: blocks in each stage; every stage but the first halves the resolution.
      widths: channels of each stage.
      first_stride: stride of the first stage.
      stem_width: channels of the stem.
      stem: its kernel, stride and pool.
      dropout: probability of dropping a unit between the two convolutions of a block.
      norm: "batch" or "group".
      dtype: what convolutions compute in; parameters and logits are float32.
    """

    num_classes: int
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    first_stride: int
    stem_width: int
    stem: Stem
    dropout: float = 0.0
    norm: str = "batch"
    dtype: DTypeLike = jnp.float32
    head = "Dense_0"

    @nn.compact
    def __call__(
        self, x_bhwc: jax.Array, train: bool, features_only: bool = False
    ) -> jax.Array:
        """Map normalised images `[b, H, W, 3]` to float32 logits or features `[b, ...]`."""
        size, stride, pool = self.stem
        x = x_bhwc.astype(self.dtype)
        x = layers.conv(self.stem_width, size, stride, dtype=self.dtype)(x)
        x = layers.stem_max_pool(x) if pool else x
        for stage, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True)):
            stage_stride = 2 if stage > 0 else self.first_stride
            for index in range(depth):
                stride = stage_stride if index == 0 else 1
                x = WideBlock(width, stride, self.dropout, self.norm, self.dtype)(x, train)
        x = nn.relu(layers.norm(x, train, self.norm))
        features_bd = layers.global_mean(x)
        return features_bd if features_only else nn.Dense(self.num_classes)(features_bd)


@dataclasses.dataclass(frozen=True)
class _Size:
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    stem_width: int = 16
    cifar_stem_stride: int = 1
    first_stride: int = 1
    norms = NORMS

    def default_dropout(self, stem: str) -> float:
        """Return 0: the paper's best results with dropout are of other settings."""
        return 0.0

    def build(self, design: Design) -> WideResNet:
        """Build the module of this size."""
        return WideResNet(
            num_classes=design.num_classes,
            depths=self.depths,
            widths=design.widths,
            first_stride=self.first_stride,
            stem_width=self.stem_width,
            stem=residual_stem(design.stem, self.cifar_stem_stride),
            dropout=design.dropout,
            norm=design.norm,
            dtype=design.dtype,
        )


# How the "small" size was chosen stands in `registry.py`.
SIZES = {
    "wide_resnet28_10": _Size((4, 4, 4), (160, 320, 640)),
    "wide_resnet_small": _Size((1, 1), (96, 192), cifar_stem_stride=2, first_stride=2),
    "wide_resnet_testing": _Size((1, 1), (8, 16), stem_width=4, cifar_stem_stride=2),
}
