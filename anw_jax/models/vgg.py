"""VGG with normalisation in Linen: stages of 3x3 convolutions, a max-pool after each.

Simonyan and Zisserman 2015, https://arxiv.org/abs/1409.1556, configurations D (16 layers) and
E (19), with the normalisation after each convolution that torchvision calls `_bn`.

On small images the logits are the only dense layer, on what five pools leave of a 32-pixel
image (1x1) or of a 64-pixel one (2x2): the form of the usual CIFAR code bases (vgg19: 20.04 M
parameters, https://github.com/bearpaw/pytorch-classification).
"""

import dataclasses
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from anw_jax.models import layers
from anw_jax.models.design import NORMS, Design


class VGG(nn.Module):
    """Convolutions with normalisation, ReLU and max-pools, then dense layers with dropout.

    Attributes:
      num_classes: width of the output.
      depths: convolutions in each stage; a 2x2 max-pool follows each stage.
      widths: channels of each stage.
      hidden: units of each dense layer before the last.
      grid: side of the grid of means that the dense layers see.
      dropout: probability of dropping an output of a hidden dense layer, or an input of the
        last one if there is no hidden one.
      norm: "batch" or "group".
      dtype: what all but the last layer compute in; parameters and logits are float32.
    """

    num_classes: int
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    hidden: tuple[int, ...]
    grid: int
    dropout: float = 0.0
    norm: str = "batch"
    dtype: DTypeLike = jnp.float32

    @property
    def head(self) -> str:
        """Name of the dense layer that gives the logits."""
        return f"Dense_{len(self.hidden)}"

    @nn.compact
    def __call__(
        self, x_bhwc: jax.Array, train: bool, features_only: bool = False
    ) -> jax.Array:
        """Map normalised images `[b, H, W, 3]` to float32 logits or features `[b, ...]`."""
        x = x_bhwc.astype(self.dtype)
        for depth, width in zip(self.depths, self.widths, strict=True):
            for _ in range(depth):
                # The bias does nothing before BatchNorm; the published counts include it.
                x = layers.conv(width, 3, use_bias=True, dtype=self.dtype)(x)
                x = nn.relu(layers.norm(x, train, self.norm))
            x = layers.half_max_pool(x)
        x = layers.grid_mean(x, self.grid).reshape(len(x), -1)
        drop = partial(nn.Dropout, self.dropout, deterministic=not train)
        dense = partial(nn.Dense, dtype=self.dtype, kernel_init=layers.KEEP_SIGNAL)
        for width in self.hidden:
            x = drop()(nn.relu(dense(width)(x)))
        x = x if self.hidden else drop()(x)
        features_bd = x.astype(jnp.float32)
        return features_bd if features_only else nn.Dense(self.num_classes)(features_bd)


@dataclasses.dataclass(frozen=True)
class _Size:
    depths: tuple[int, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    hidden: tuple[int, ...] = (4096, 4096)
    norms = NORMS

    def default_dropout(self, stem: str) -> float:
        """Return 0.5, but 0 on small images, which have no hidden dense layer."""
        return 0.5 if stem == "imagenet" else 0.0

    def build(self, design: Design) -> VGG:
        """Build the module of this size."""
        return VGG(
            num_classes=design.num_classes,
            depths=self.depths,
            widths=design.widths,
            hidden=self.hidden if design.stem == "imagenet" else (),
            grid={"cifar": 1, "tiny": 2, "imagenet": 7}[design.stem],
            dropout=design.dropout,
            norm=design.norm,
            dtype=design.dtype,
        )


# How the "small" size was chosen stands in `registry.py`.
SIZES = {
    "vgg16": _Size((2, 2, 3, 3, 3)),
    "vgg19": _Size((2, 2, 4, 4, 4)),
    "vgg_small": _Size((1, 1, 2, 2), (16, 32, 80, 160), (256, 256)),
    "vgg_testing": _Size((1, 2), (4, 8), (8,)),
}
