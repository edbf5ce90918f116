"""AlexNet in Linen: five convolutions, the first with a large stride, and dense layers.

Krizhevsky 2014, https://arxiv.org/abs/1404.5997 (one column; what torchvision calls AlexNet),
after Krizhevsky, Sutskever and Hinton 2012. It has no normalisation, so it needs a small
learning rate.

On small images the first convolution is padded by 5 instead of 2, pools are 2x2, and dense
layers get 1x1 features of a 32-pixel image or 2x2 features of a 64-pixel one; the logits are
then the only dense layer of "alexnet", the form of the usual CIFAR code bases (2.47 M
parameters, https://github.com/bearpaw/pytorch-classification).
"""

import dataclasses
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from anw_jax.models import layers
from anw_jax.models.design import NO_NORM, Design, Size

_KERNELS = (11, 5, 3, 3, 3)
_STRIDES = (4, 1, 1, 1, 1)
_POOLED = (True, True, False, False, True)


class AlexNet(nn.Module):
    """Convolutions with ReLU and max-pools, then dense layers with dropout.

    Dropout acts on the inputs of hidden dense layers, or of the last one if there is no hidden
    one.
    """

    size: "_Size"
    design: Design

    @property
    def hidden(self) -> tuple[int, ...]:
        """Units of each dense layer before the last."""
        is_large = self.design.stem == "imagenet"
        return self.size.hidden if is_large else self.size.hidden_if_small

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
        x = self._convolve(x_bhwc.astype(design.dtype))
        grid = {"cifar": 1, "tiny": 2, "imagenet": 6}[design.stem]
        x = layers.grid_mean(x, grid).reshape(len(x), -1)
        drop = partial(nn.Dropout, design.dropout, deterministic=not train)
        dense = partial(nn.Dense, dtype=design.dtype, kernel_init=layers.KEEP_SIGNAL)
        for width in self.hidden:
            x = nn.relu(dense(width)(drop()(x)))
        x = x if self.hidden else drop()(x)
        features_bd = x.astype(jnp.float32)
        return features_bd if features_only else nn.Dense(design.num_classes)(features_bd)

    def _convolve(self, x: jax.Array) -> jax.Array:
        is_small = self.design.stem != "imagenet"
        conv = partial(
            layers.conv,
            dtype=self.design.dtype,
            use_bias=True,
            kernel_init=layers.KEEP_SIGNAL,
        )
        for index, width in enumerate(self.design.widths):
            options = {}
            if index == 0 and not is_small:
                options = {"padding": ((2, 2), (2, 2))}
            x = nn.relu(conv(width, _KERNELS[index], _STRIDES[index], **options)(x))
            if _POOLED[index]:
                x = layers.half_max_pool(x) if is_small else nn.max_pool(x, (3, 3), (2, 2))
        return x


@dataclasses.dataclass(frozen=True)
class _Size(Size):
    """A size of `AlexNet`.

    Attributes:
      widths: channels of the five convolutions.
      hidden: units of each dense layer before the last, with the "imagenet" stem.
      hidden_if_small: the same, with the other stems.
    """

    net = AlexNet
    widths: tuple[int, ...] = (64, 192, 384, 256, 256)
    hidden: tuple[int, ...] = (4096, 4096)
    hidden_if_small: tuple[int, ...] = ()
    norms = (NO_NORM,)
    imagenet_dropout = 0.5


# How the "small" size was chosen is in `model.py`.
SIZES = {
    "alexnet": _Size(),
    "alexnet_small": _Size((48, 96, 96, 96, 96), (256, 256), (256, 256)),
    "alexnet_testing": _Size((4, 8, 8, 8, 8), (8,), (8,)),
}
