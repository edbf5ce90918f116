"""The seam between Linen and the rest of the package: `create`, `init`, `apply`."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from anw_jax import _check
from anw_jax.models.resnet import ResNet

Variables = dict[str, Any]
Logits = jax.Array


@dataclasses.dataclass(frozen=True)
class _Size:
    block: str
    depths: tuple[int, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512)
    cifar_stem_stride: int = 1


# "small" was chosen by measurement: 4,000 CIFAR-10 images, crops and mirror images, batch
# 64, cosine from 0.1, one seed, two CPU cores (images/s at batch 128, others running).
#
#   depths   widths       images/s   epochs   train acc   test acc
#   0 1 1    32  96 192        470       24       0.808      0.655   <- "small", 0.63 M
#   1 1 1    32  64 128        500       25       0.799      0.659   (299 s against 187 s)
#   0 1 1    32 128 256        290       14       0.699      0.607
#   1 1 1    32 128 256        240      speed only
#   1 1 1    64 128 256        130      speed only
#   0 1 1    32  96 192        470       60       0.984      0.678   "small", longer
#
# Blocks begin at 8x8 because resolution is what costs: a 3x3 convolution with its gradients
# ran at 31 GFLOP/s at 16x16x64, at 58 at 8x8x128 and at 69 at 4x4x256.
_SIZES = {
    "resnet18": _Size("basic", (2, 2, 2, 2)),
    "resnet34": _Size("basic", (3, 4, 6, 3)),
    "resnet50": _Size("bottleneck", (3, 4, 6, 3)),
    "resnet101": _Size("bottleneck", (3, 4, 23, 3)),
    "resnet152": _Size("bottleneck", (3, 8, 36, 3)),
    "small": _Size("basic", (0, 1, 1), (32, 96, 192), cifar_stem_stride=2),
    "testing": _Size("basic", (1, 1), (8, 16), cifar_stem_stride=2),
}
NAMES = tuple(_SIZES)
STEMS = ("cifar", "imagenet")
DTYPES = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Model:
    """A network as plain values: equal settings make equal, interchangeable models.

    `model(variables, images)` gives logits in evaluation mode; `create` makes one.
    """

    name: str
    num_classes: int
    stem: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    dtype: str
    widths: tuple[int, ...]

    @property
    def _net(self) -> ResNet:
        size = _SIZES[self.name]
        is_cifar = self.stem == "cifar"
        return ResNet(
            num_classes=self.num_classes,
            block=size.block,
            depths=size.depths,
            widths=self.widths,
            stem_size=3 if is_cifar else 7,
            stem_stride=size.cifar_stem_stride if is_cifar else 2,
            stem_pool=not is_cifar,
            dtype=jnp.dtype(self.dtype),
        )

    def init(self, key: jax.Array, image_shape: tuple[int, int, int]) -> Variables:
        """Draws parameters.

        Args:
          key: typed PRNG key.
          image_shape: `(H, W, 3)`; parameters do not depend on H and W.

        Returns:
          `{'params': ..., 'batch_stats': ...}`, float32 trees of plain dicts.
        """
        # Options of the compiler are for the outermost jit only.
        is_traced = isinstance(key, jax.core.Tracer)
        init_fn = _init if is_traced else _jitted_init(jax.default_backend())
        return init_fn(self, key, tuple(image_shape))

    def apply(
        self, variables: Variables, images: jax.Array, *, train: bool = False
    ) -> Logits | tuple[Logits, Variables]:
        """Logits of images.

        Args:
          variables: what `init` returns, or what training made of it.
          images: float32 `[b, H, W, 3]` in [0, 1]; normalisation by `mean` and `std`
            happens here.
          train: whether BatchNorm uses this batch's statistics and moves its averages.

        Returns:
          float32 logits `[b, num_classes]`; in train mode `(logits, new_batch_stats)`.
        """
        mean = jnp.asarray(self.mean, jnp.float32).reshape(1, 1, 1, 3)
        std = jnp.asarray(self.std, jnp.float32).reshape(1, 1, 1, 3)
        normalised = (images - mean) / std
        if not train:
            return self._net.apply(variables, normalised, False)
        logits, moved = self._net.apply(variables, normalised, True, mutable=["batch_stats"])
        return logits, moved["batch_stats"]

    def __call__(self, variables: Variables, images: jax.Array) -> Logits:
        """Logits `[b, num_classes]` in evaluation mode; images as for `apply`."""
        return self.apply(variables, images)

    def predict_fn(self, variables: Variables) -> jax.tree_util.Partial:
        """A traced function from images to logits, as `verify` wants it.

        The model itself is the function inside the `Partial`, and models compare by value:
        a jitted caller compiles once for all checkpoints of equal models.
        """
        return jax.tree_util.Partial(self, variables)


@functools.cache
def _jitted_init(backend: str) -> Callable[[Model, jax.Array, tuple], Variables]:
    # LLVM spends seconds on the random numbers of each kernel, which are drawn once.
    options = {"xla_backend_optimization_level": 0} if backend == "cpu" else None
    return jax.jit(_init, static_argnums=(0, 2), compiler_options=options)


def _init(model: Model, key: jax.Array, image_shape: tuple[int, int, int]) -> Variables:
    images = jnp.zeros((1, *image_shape), jnp.float32)
    return model._net.init(key, images, False)


def create(
    name: str,
    num_classes: int,
    *,
    stem: str = "cifar",
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5),
    std: tuple[float, float, float] = (0.25, 0.25, 0.25),
    dtype: str = "float32",
    widths: tuple[int, ...] | None = None,
) -> Model:
    """Describes a network; draws nothing and touches no device.

    Args:
      name: one of `models.NAMES`.
      num_classes: number of classes, at least 2.
      stem: "cifar" for small images (3x3 convolution, no pooling; stride 1 in the ResNets,
        2 in "small" and "testing") or "imagenet" (7x7 of stride 2, then a max-pool).
      mean: mean of each channel on the scale of [0, 1].
      std: standard deviation of each channel on the scale of [0, 1], above 0.
      dtype: what convolutions compute in, "float32" or "bfloat16"; parameters and logits
        are float32 either way.
      widths: channels of each stage, where the size's own are not wanted.

    Raises:
      ValueError: if a name is unknown or a number out of range.
      TypeError: if a number is not a number.

    Example:
      >>> create("resnet18", 10).widths
      (64, 128, 256, 512)
    """
    _check.one_of(NAMES, name=name)
    _check.integer_at_least(2, num_classes=num_classes)
    _check.one_of(STEMS, stem=stem)
    _check.one_of(DTYPES, dtype=dtype)
    mean = _three(_check.finite, mean=mean)
    std = _three(_check.positive, std=std)
    return Model(name, num_classes, stem, mean, std, dtype, _stage_widths(name, widths))


def _three(check_fn: Any, **named: Any) -> tuple[float, float, float]:
    ((name, value),) = named.items()
    values = tuple(value)
    if len(values) != 3:
        raise ValueError(f"{name} must hold 3 numbers (red, green, blue), got {value!r}")
    return tuple(check_fn(**{name: float(number)}) for number in values)


def _stage_widths(name: str, widths: tuple[int, ...] | None) -> tuple[int, ...]:
    size = _SIZES[name]
    if widths is None:
        return size.widths
    if len(widths) != len(size.depths):
        raise ValueError(
            f"widths of {name!r} must hold {len(size.depths)} numbers, got {widths!r}"
        )
    return tuple(_check.integer_at_least(1, widths=width) for width in widths)


def count_parameters(model: Model, image_shape: tuple[int, int, int]) -> int:
    """Number of trainable parameters, without drawing them.

    Example:
      >>> count_parameters(create("resnet18", 10), (32, 32, 3))
      11173962
    """
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), image_shape))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"]))
