"""AlexNet in Linen: five convolutions, the first of large stride, and dense layers.

Krizhevsky 2014, https://arxiv.org/abs/1404.5997 (one column; what torchvision calls AlexNet),
after Krizhevsky, Sutskever and Hinton 2012. It normalises nothing, so it wants a small
learning rate.

On small images the first convolution is padded by 5 in place of 2, pools are 2x2, and dense
layers see what is left of a 32-pixel image (1x1) or of a 64-pixel one (2x2); "alexnet" then
has the logits as its only dense layer, the form of the usual CIFAR code bases (2.47 M
parameters, https://github.com/bearpaw/pytorch-classification).
"""

import dataclasses
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from anw_jax.models import layers
from anw_jax.models.design import NO_NORM, Design

_KERNELS = (11, 5, 3, 3, 3)
_STRIDES = (4, 1, 1, 1, 1)
_POOLED = (True, True, False, False, True)


class AlexNet(nn.Module):
    """Convolutions with ReLU and max-pools, then dense layers with dropout.

    Attributes:
      num_classes: width of the output.
      widths: channels of the five convolutions.
      hidden: units of each dense layer before the last.
      grid: side of the grid of means that the dense layers see.
      is_small: whether images are of 32 or 64 pixels: other padding, smaller pools.
      dropout: probability of dropping an input of a hidden dense layer, or of the last one
        if there is no hidden one.
      dtype: what all but the last layer compute in; parameters and logits are float32.
    """

    num_classes: int
    widths: tuple[int, ...]
    hidden: tuple[int, ...]
    grid: int
    is_small: bool
    dropout: float = 0.0
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
        x = self._convolve(x_bhwc.astype(self.dtype))
        x = layers.grid_mean(x, self.grid).reshape(len(x), -1)
        drop = partial(nn.Dropout, self.dropout, deterministic=not train)
        dense = partial(nn.Dense, dtype=self.dtype, kernel_init=layers.KEEP_SIGNAL)
        for width in self.hidden:
            x = nn.relu(dense(width)(drop()(x)))
        x = x if self.hidden else drop()(x)
        features_bd = x.astype(jnp.float32)
        return features_bd if features_only else nn.Dense(self.num_classes)(features_bd)

    def _convolve(self, x: jax.Array) -> jax.Array:
        conv = partial(
            layers.conv, dtype=self.dtype, use_bias=True, kernel_init=layers.KEEP_SIGNAL
        )
        for index, width in enumerate(self.widths):
            options = {}
            if index == 0 and not self.is_small:
                options = {"padding": ((2, 2), (2, 2))}
            x = nn.relu(conv(width, _KERNELS[index], _STRIDES[index], **options)(x))
            if _POOLED[index] and self.is_small:
                x = layers.half_max_pool(x)
            elif _POOLED[index]:
                x = nn.max_pool(x, (3, 3), (2, 2))
        return x


@dataclasses.dataclass(frozen=True)
class _Size:
    widths: tuple[int, ...] = (64, 192, 384, 256, 256)
    hidden: tuple[int, ...] = (4096, 4096)
    hidden_if_small: tuple[int, ...] = ()
    norms = (NO_NORM,)

    def default_dropout(self, stem: str) -> float:
        """Return 0.5, but 0 on small images, whose dense layers are small."""
        return 0.5 if stem == "imagenet" else 0.0

    def build(self, design: Design) -> AlexNet:
        """Build the module of this size."""
        is_small = design.stem != "imagenet"
        return AlexNet(
            num_classes=design.num_classes,
            widths=design.widths,
            hidden=self.hidden_if_small if is_small else self.hidden,
            grid={"cifar": 1, "tiny": 2, "imagenet": 6}[design.stem],
            is_small=is_small,
            dropout=design.dropout,
            dtype=design.dtype,
        )


# How the "small" size was chosen stands in `registry.py`.
SIZES = {
    "alexnet": _Size(),
    "alexnet_small": _Size((48, 96, 96, 96, 96), (256, 256), (256, 256)),
    "alexnet_testing": _Size((4, 8, 8, 8, 8), (8,), (8,)),
}
