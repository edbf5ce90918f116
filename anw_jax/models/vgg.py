"""VGG with normalisation in Linen: stages of 3x3 convolutions, a max-pool after each.

Simonyan and Zisserman 2015, https://arxiv.org/abs/1409.1556, configurations D (16 layers) and
E (19), with the normalisation after each convolution that torchvision calls `_bn`.

On small images the logits are the only dense layer, on what remains after five pools: 1x1
features of a 32-pixel image, 2x2 of a 64-pixel one. This is the form of the usual CIFAR code
bases (vgg19: 20.04 M parameters, https://github.com/bearpaw/pytorch-classification).
"""

import dataclasses
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from anw_jax.models import layers
from anw_jax.models.design import Design, Size


class VGG(nn.Module):
    """Convolutions with normalisation, ReLU and max-pools, then dense layers with dropout.

    Dropout acts on the outputs of hidden dense layers, or on the input of the last one if
    there is no hidden one.
    """

    size: "_Size"
    design: Design

    @property
    def hidden(self) -> tuple[int, ...]:
        """Units of each dense layer before the last."""
        return self.size.hidden if self.design.stem == "imagenet" else ()

    @property
    def head(self) -> str:
        """Name of the dense layer that returns the logits."""
        return f"Dense_{len(self.hidden)}"

    @nn.compact
    def __call__(
        self, x_bhwc: jax.Array, train: bool, features_only: bool = False
    ) -> jax.Array:
        """Map normalised images `[b, H, W, 3]` to float32 logits or features `[b, ...]`."""
        design = self.design
        conv, norm = layers.conv_and_norm(design, train)
        x = x_bhwc.astype(design.dtype)
        for depth, width in zip(self.size.depths, design.widths, strict=True):
            for _ in range(depth):
                # The bias does nothing before BatchNorm; the published counts include it.
                x = nn.relu(norm(conv(width, 3, use_bias=True)(x)))
            x = layers.half_max_pool(x)
        grid = {"cifar": 1, "tiny": 2, "imagenet": 7}[design.stem]
        x = layers.grid_mean(x, grid).reshape(len(x), -1)
        drop = partial(nn.Dropout, design.dropout, deterministic=not train)
        dense = partial(nn.Dense, dtype=design.dtype, kernel_init=layers.KEEP_SIGNAL)
        for width in self.hidden:
            x = drop()(nn.relu(dense(width)(x)))
        x = x if self.hidden else drop()(x)
        features_bd = x.astype(jnp.float32)
        return features_bd if features_only else nn.Dense(design.num_classes)(features_bd)


@dataclasses.dataclass(frozen=True)
class _Size(Size):
    """A size of `VGG`.

    Attributes:
      depths: convolutions in each stage; a 2x2 max-pool follows each stage.
      widths: channels of each stage.
      hidden: units of each dense layer before the last, with the "imagenet" stem.
    """

    net = VGG
    depths: tuple[int, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    hidden: tuple[int, ...] = (4096, 4096)
    imagenet_dropout = 0.5


# How the "small" size was chosen is in `model.py`.
SIZES = {
    "vgg16": _Size((2, 2, 3, 3, 3)),
    "vgg19": _Size((2, 2, 4, 4, 4)),
    "vgg_small": _Size((1, 1, 2, 2), (16, 32, 80, 160), (256, 256)),
    "vgg_testing": _Size((1, 2), (4, 8), (8,)),
}
