"""Densely connected networks in Linen: every layer sees the outputs of all before it.

Huang et al. 2017, https://arxiv.org/abs/1608.06993, the form with bottlenecks (B) and with
transitions that halve the channels (C).
"""

import dataclasses
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from anw_jax.models import layers
from anw_jax.models.design import NORMS, Design, Stem, residual_stem

# Section 3: a 1x1 convolution to four times the growth rate precedes each 3x3.
_BOTTLENECK = 4


class DenseLayer(nn.Module):
    """`growth` new channels, computed from all that came before, set beside them."""

    growth: int
    dropout: float
    norm: str
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x_bhwc: jax.Array, train: bool) -> jax.Array:
        """Map features `[b, H, W, c]` to `[b, H, W, c + growth]`."""
        conv = partial(layers.conv, dtype=self.dtype)
        norm = partial(layers.norm, train=train, kind=self.norm)
        y = conv(_BOTTLENECK * self.growth, 1)(nn.relu(norm(x_bhwc)))
        y = conv(self.growth, 3)(nn.relu(norm(y)))
        y = nn.Dropout(self.dropout, deterministic=not train)(y)
        return jnp.concatenate((x_bhwc, y), axis=-1)


class Transition(nn.Module):
    """Half the channels and half the resolution."""

    norm: str
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x_bhwc: jax.Array, train: bool) -> jax.Array:
        """Map features `[b, H, W, c]` to `[b, H / 2, W / 2, c / 2]`."""
        y = nn.relu(layers.norm(x_bhwc, train, self.norm))
        y = layers.conv(x_bhwc.shape[-1] // 2, 1, dtype=self.dtype)(y)
        return layers.half_mean(y)


class DenseNet(nn.Module):
    """Stem, dense blocks with transitions between, normalisation, global mean, dense layer.

    Attributes:
      num_classes: width of the output.
      depths: layers in each dense block.
      growth: channels that each layer adds.
      stem_width: channels of the stem.
      stem: its kernel, stride and pool; with a pool, normalisation and ReLU come before it.
      dropout: probability of dropping a unit of a layer's new channels.
      norm: "batch" or "group".
      dtype: what convolutions compute in; parameters and logits are float32.
    """

    num_classes: int
    depths: tuple[int, ...]
    growth: int
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
        if pool:
            x = layers.stem_max_pool(nn.relu(layers.norm(x, train, self.norm)))
        for block, depth in enumerate(self.depths):
            if block > 0:
                x = Transition(self.norm, self.dtype)(x, train)
            for _ in range(depth):
                x = DenseLayer(self.growth, self.dropout, self.norm, self.dtype)(x, train)
        x = nn.relu(layers.norm(x, train, self.norm))
        features_bd = layers.global_mean(x)
        return features_bd if features_only else nn.Dense(self.num_classes)(features_bd)


@dataclasses.dataclass(frozen=True)
class _Size:
    depths: tuple[int, ...]
    growth: int
    stem_width: int
    cifar_stem_stride: int = 1
    widths = ()
    norms = NORMS

    def default_dropout(self, stem: str) -> float:
        """Return 0: the paper drops (0.2) only where it trains without augmentation."""
        return 0.0

    def build(self, design: Design) -> DenseNet:
        """Build the module of this size."""
        return DenseNet(
            num_classes=design.num_classes,
            depths=self.depths,
            growth=self.growth,
            stem_width=self.stem_width,
            stem=residual_stem(design.stem, self.cifar_stem_stride),
            dropout=design.dropout,
            norm=design.norm,
            dtype=design.dtype,
        )


# How the "small" size was chosen stands in `registry.py`; its first block is empty, so that a
# transition follows the stem and dense layers begin at 8x8.
SIZES = {
    "densenet121": _Size((6, 12, 24, 16), 32, 64),
    "densenet161": _Size((6, 12, 36, 24), 48, 96),
    "densenet_small": _Size((0, 3, 4), 24, 32, cifar_stem_stride=2),
    "densenet_testing": _Size((1, 2), 4, 8, cifar_stem_stride=2),
}
