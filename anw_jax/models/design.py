"""What a family of networks is told, and what it must offer."""

import dataclasses
from typing import Any, NamedTuple, Protocol

from jax.typing import DTypeLike

STEMS = ("cifar", "tiny", "imagenet")
NORMS = ("batch", "group")
NO_NORM = "none"


@dataclasses.dataclass(frozen=True)
class Design:
    """The choices that a caller makes of any network, beside its name.

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


class Size(Protocol):
    """One entry of a family's table.

    Attributes:
      widths: channels of each stage, or () where they follow from something else.
      norms: what may stand as `norm`; the first is what it has by default.
    """

    widths: tuple[int, ...]
    norms: tuple[str, ...]

    def default_dropout(self, stem: str) -> float | None:
        """Return the published probability of dropout; None where there is no such layer."""

    def build(self, design: Design) -> Any:
        """Build the Linen module.

        Called as `module(images, train, features_only)`; its attribute `head` is the name
        of the dense layer that gives the logits.
        """


class Stem(NamedTuple):
    """The first convolution: side of its kernel, its stride, and a max-pool or none."""

    size: int
    stride: int
    pool: bool


def residual_stem(stem: str, cifar_stride: int) -> Stem:
    """Return the stem of ResNets, Wide-ResNets and DenseNets.

    "tiny" halves once more than "cifar", so that all later layers see 64-pixel images at the
    resolutions at which they see 32-pixel ones: by its stride, or, where "cifar" has stride 2
    already, by a max-pool.

    Example:
      >>> residual_stem("tiny", cifar_stride=1)
      Stem(size=3, stride=2, pool=False)
    """
    if stem == "imagenet":
        return Stem(7, 2, pool=True)
    if stem == "cifar":
        return Stem(3, cifar_stride, pool=False)
    return Stem(3, 2, pool=cifar_stride == 2)
