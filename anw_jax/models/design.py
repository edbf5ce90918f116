"""The choices that make a network: what the caller chooses, and what a named size fixes."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

from jax.typing import DTypeLike

STEMS = ("cifar", "tiny", "imagenet")
NORMS = ("batch", "group")
NO_NORM = "none"


@dataclasses.dataclass(frozen=True)
class Design:
    """What the caller chooses of any network, besides its name.

    Attributes:
      num_classes: width of the output.
      stem: one of `STEMS`, for images of 32, 64 or about 224 pixels.
      widths: channels of each stage, or () where the family has no such choice.
      norm: one of `NORMS`, or `NO_NORM` where the family normalises nothing.
      dropout: probability in [0, 1) that a unit is dropped in train mode.
      dtype: what convolutions compute in; parameters and logits are float32.
    """

    num_classes: int
    stem: str
    widths: tuple[int, ...]
    norm: str
    dropout: float
    dtype: DTypeLike


class Size:
    """One named size of a family; each family derives a frozen dataclass with its own fields.

    Attributes:
      net: the Linen module, made by `net(size, design)` and called as
        `module(images, train, features_only)`; its attribute `head` is the name of the dense
        layer that returns the logits.
      widths: default channels of each stage, or () where they follow from something else.
      norms: allowed values of `norm`; the first is the default.
      imagenet_dropout: published probability of dropout with the "imagenet" stem (with the
        others it is 0); None where the family has no dropout layer.
    """

    net: ClassVar[Any]
    widths: tuple[int, ...] = ()
    norms: ClassVar[tuple[str, ...]] = NORMS
    imagenet_dropout: ClassVar[float | None] = None


class Stem(NamedTuple):
    """The first convolution: side of its kernel, its stride, and whether a max-pool follows."""

    size: int
    stride: int
    pool: bool


def residual_stem(stem: str, cifar_stride: int) -> Stem:
    """Return the stem of ResNets, Wide-ResNets and DenseNets.

    "tiny" halves the resolution once more than "cifar", so that all later layers see 64-pixel
    images at the resolutions at which they see 32-pixel ones: by its stride, or, where "cifar"
    already has stride 2, by a max-pool.

    Example:
      >>> residual_stem("tiny", cifar_stride=1)
      Stem(size=3, stride=2, pool=False)
    """
    if stem == "imagenet":
        return Stem(7, 2, pool=True)
    if stem == "cifar":
        return Stem(3, cifar_stride, pool=False)
    return Stem(3, 2, pool=cifar_stride == 2)
