"""Densely connected networks in Linen: every layer gets the outputs of all before it.

Huang et al. 2017, https://arxiv.org/abs/1608.06993, the form with bottlenecks (B) and with
transitions that halve the channels (C).
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from anw_jax.models import layers
from anw_jax.models.design import Design, Size, residual_stem

# Section 3: a 1x1 convolution to four times the growth rate precedes each 3x3.
_BOTTLENECK = 4


class DenseLayer(nn.Module):
    """Append `growth` channels that are computed from all channels before."""

    growth: int
    design: Design

    @nn.compact
    def __call__(self, x_bhwc: jax.Array, train: bool) -> jax.Array:
        """Map features `[b, H, W, c]` to `[b, H, W, c + growth]`."""
        conv, norm = layers.conv_and_norm(self.design, train)
        y = conv(_BOTTLENECK * self.growth, 1)(nn.relu(norm(x_bhwc)))
        y = conv(self.growth, 3)(nn.relu(norm(y)))
        y = nn.Dropout(self.design.dropout, deterministic=not train)(y)
        return jnp.concatenate((x_bhwc, y), axis=-1)


class Transition(nn.Module):
    """Halve the channels and the resolution."""

    design: Design

    @nn.compact
    def __call__(self, x_bhwc: jax.Array, train: bool) -> jax.Array:
        """Map features `[b, H, W, c]` to `[b, H / 2, W / 2, c / 2]`."""
        conv, norm = layers.conv_and_norm(self.design, train)
        return layers.half_mean(conv(x_bhwc.shape[-1] // 2, 1)(nn.relu(norm(x_bhwc))))


class DenseNet(nn.Module):
    """Stem, dense blocks with transitions between, normalisation, global mean, dense layer.

    If a pool follows the stem, normalisation and ReLU come between the two. Dropout acts on
    the new channels of each layer.
    """

    size: "_Size"
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
        if stem.pool:
            x = layers.stem_max_pool(nn.relu(norm(x)))
        for block, depth in enumerate(size.depths):
            x = Transition(design)(x, train) if block > 0 else x
            for _ in range(depth):
                x = DenseLayer(size.growth, design)(x, train)
        features_bd = layers.global_mean(nn.relu(norm(x)))
        return features_bd if features_only else nn.Dense(design.num_classes)(features_bd)


@dataclasses.dataclass(frozen=True)
class _Size(Size):
    """A size of `DenseNet`.

    Attributes:
      depths: layers in each dense block.
      growth: channels that each layer adds.
      stem_width: channels of the stem.
      cifar_stem_stride: stride of the "cifar" stem.
    """

    net = DenseNet
    depths: tuple[int, ...]
    growth: int
    stem_width: int
    cifar_stem_stride: int = 1
    # The paper drops units (0.2) only where it trains without augmentation.
    imagenet_dropout = 0.0


# How the "small" size was chosen is in `model.py`. Its first block is empty, so that a
# transition follows the stem and dense layers begin at 8x8.
SIZES = {
    "densenet121": _Size((6, 12, 24, 16), 32, 64),
    "densenet161": _Size((6, 12, 36, 24), 48, 96),
    "densenet_small": _Size((0, 3, 4), 24, 32, cifar_stem_stride=2),
    "densenet_testing": _Size((1, 2), 4, 8, cifar_stem_stride=2),
}
