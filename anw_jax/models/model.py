"""A network behind a small interface: `create` one by name, then `init` and `apply`.

A family is a file with a table `SIZES`, which is joined to the tables of the others here.
"""

import dataclasses
import math
from typing import Any

import chex
import jax
import jax.numpy as jnp
from flax import traverse_util

from anw_jax import _check
from anw_jax.models import alexnet, densenet, layers, resnet, vgg
from anw_jax.models.design import NO_NORM, NORMS, STEMS, Design, Size
from anw_jax.models.drawing import drawn

Variables = dict[str, Any]
Logits = jax.Array

DTYPES = ("float32", "bfloat16")

# The "small" sizes train on two CPU cores, on 32-pixel images. Chosen by measurement: forward
# and backward pass, batch 64, each model in turn for 0.4 s, eight rounds or more; images per
# CPU second as a share of "small" (itself 620 images/s of wall time on idle cores). To
# memorise: epochs until 99.5 % of 2,000 CIFAR-10 images are right in evaluation mode, measured
# every five; no augmentation, batch 64, momentum 0.9, cosine to 0 over `of` epochs.
#
#                      speed    size     epochs   of     rate
#   small               1.00   0.63 M
#   alexnet_small       0.94   0.48 M       25    40     0.02   (no normalisation)
#   vgg_small           0.98   0.43 M       20    40     0.1
#   wide_resnet_small   1.23   0.62 M       15    40     0.1
#   densenet_small      1.23   0.20 M       -     30     0.1    (76 % after 15, then cut off)
#
# What was slower: pools by `reduce_window` (their gradient); AlexNet with 128 channels after
# its first convolution (0.37); VGG with 48 channels at 16x16 (0.72); a DenseNet layer at
# 16x16 before the first transition (0.70 with two).
SIZES: dict[str, Size] = resnet.SIZES | alexnet.SIZES | vgg.SIZES | densenet.SIZES
NAMES = tuple(SIZES)


@dataclasses.dataclass(frozen=True)
class Model:
    """A network as plain values: models with equal settings are equal.

    `model(variables, images)` returns logits in evaluation mode; `create` makes a model.
    """

    name: str
    num_classes: int
    stem: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    dtype: str
    widths: tuple[int, ...]
    norm: str = "batch"
    dropout: float = 0.0

    @property
    def _net(self) -> Any:
        design = Design(
            num_classes=self.num_classes,
            stem=self.stem,
            widths=self.widths,
            norm=self.norm,
            dropout=self.dropout,
            dtype=jnp.dtype(self.dtype),
        )
        size = SIZES[self.name]
        return size.net(size, design)

    @property
    def head(self) -> str:
        """Name, in `variables["params"]`, of the dense layer that returns the logits.

        Example:
          >>> create("alexnet", 10, stem="imagenet").head
          'Dense_2'
        """
        return self._net.head

    def init(self, key: jax.Array, image_shape: tuple[int, int, int]) -> Variables:
        """Draw the parameters.

        Args:
          key: typed PRNG key.
          image_shape: `(H, W, 3)`; parameters do not depend on H and W.

        Returns:
          `{'params': ..., 'batch_stats': ...}`, float32 trees of plain dicts; the second is
          empty without BatchNorm.

        Raises:
          ValueError: if the images are too small for the pools of the stem.
        """
        return drawn(_init, key, self, tuple(image_shape))

    def apply(
        self,
        variables: Variables,
        images: jax.Array,
        *,
        train: bool = False,
        key: jax.Array | None = None,
    ) -> Logits | tuple[Logits, Variables]:
        """Return the logits of images.

        Args:
          variables: what `init` or a training returns.
          images: float32 `[b, H, W, 3]` in [0, 1]; this method normalises them by `mean`
            and `std`.
          train: whether units are dropped, and whether BatchNorm uses this batch's
            statistics and moves its averages.
          key: typed PRNG key for dropout; needed in train mode if `dropout` is above 0, and
            without effect otherwise.

        Returns:
          float32 logits `[b, num_classes]`; in train mode `(logits, new_batch_stats)`.

        Raises:
          ValueError: if a key is needed and not given.
        """
        normalised = self._normalise(images)
        if not train:
            return self._net.apply(variables, normalised, False)
        drops = self.dropout > 0.0
        if drops and key is None:
            raise ValueError(
                f"key must be given in train mode: {self.name!r} drops units with probability "
                f"{self.dropout}"
            )
        logits, moved = self._net.apply(
            variables,
            normalised,
            True,
            mutable=["batch_stats"],
            rngs={"dropout": key} if drops else None,
        )
        return logits, moved.get("batch_stats", {})

    def features(self, variables: Variables, images: jax.Array) -> jax.Array:
        """Return the input of the last dense layer, in evaluation mode.

        Logits are `features @ kernel + bias` of `variables["params"][self.head]`.

        Args:
          variables: as for `apply`.
          images: as for `apply`.

        Returns:
          float32 `[b, d]`.
        """
        return self._net.apply(variables, self._normalise(images), False, features_only=True)

    def taps(
        self, variables: Variables, images: jax.Array, names: tuple[str, ...]
    ) -> tuple[jax.Array, ...]:
        """Return the outputs of inner layers, in evaluation mode.

        Args:
          variables: as for `apply`.
          images: as for `apply`.
          names: of layers, as `variables["params"]` has them, for example "BasicBlock_0".

        Returns:
          One array for each name, for example `[b, H', W', c]`.

        Raises:
          ValueError: if there is no layer of that name.
        """
        for name in names:
            _check.one_of(variables["params"], taps=name)
        return layers.tapped(self._net, variables, names, self._normalise(images), False)

    def _normalise(self, images: jax.Array) -> jax.Array:
        chex.assert_shape(images, (None, None, None, 3))
        chex.assert_type(images, float)
        mean = jnp.asarray(self.mean, jnp.float32).reshape(1, 1, 1, 3)
        std = jnp.asarray(self.std, jnp.float32).reshape(1, 1, 1, 3)
        return (images - mean) / std

    def __call__(self, variables: Variables, images: jax.Array) -> Logits:
        """Return the logits `[b, num_classes]` in evaluation mode; images as for `apply`."""
        return self.apply(variables, images)

    def predict_fn(self, variables: Variables) -> jax.tree_util.Partial:
        """Return a traceable function from images to logits, for `verify`.

        The function inside the `Partial` is the model itself, and models compare by value: a
        jitted caller compiles once for all checkpoints of equal models.
        """
        return jax.tree_util.Partial(self, variables)


def _init(key: jax.Array, model: Model, image_shape: tuple[int, int, int]) -> Variables:
    images = jnp.zeros((1, *image_shape), jnp.float32)
    return {"batch_stats": {}, **model._net.init(key, images, False)}


def create(
    name: str,
    num_classes: int,
    *,
    stem: str = "cifar",
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5),
    std: tuple[float, float, float] = (0.25, 0.25, 0.25),
    dtype: str = "float32",
    widths: tuple[int, ...] | None = None,
    norm: str = "batch",
    dropout: float | None = None,
) -> Model:
    """Describe a network, without drawing parameters or using a device.

    Args:
      name: one of `models.NAMES`.
      num_classes: number of classes, at least 2.
      stem: "cifar" for images of 32 pixels, "tiny" for 64, "imagenet" for about 224. Residual
        and dense nets begin with a 3x3 convolution (stride 1 or, in "small" and "testing"
        sizes, 2), with one that halves once more, or with a 7x7 of stride 2 and a max-pool.
        AlexNet and VGG differ in their dense layers: see their files.
      mean: mean of each channel on the scale of [0, 1].
      std: standard deviation of each channel on the scale of [0, 1], above 0.
      dtype: what convolutions compute in, "float32" or "bfloat16"; parameters and logits
        are float32 either way.
      widths: channels of each stage (AlexNet: of each convolution); None = those of the
        size. A DenseNet has none: its channels follow from its growth rate.
      norm: "batch" or "group" (32 groups, or the largest divisor of the channels below that
        which leaves 2 channels in each). Not "group" for AlexNet, which has no normalisation.
      dropout: probability in [0, 1) that a unit is dropped in train mode, where the family has
        such a layer; None for the published value (0.5 before the dense layers of AlexNet and
        VGG with the "imagenet" stem, otherwise 0).

    Raises:
      ValueError: if a name is unknown, a number is out of range, or this network does not
        have an option.
      TypeError: if a number is not a number.

    Example:
      >>> create("resnet18", 10).widths
      (64, 128, 256, 512)
    """
    _check.one_of(NAMES, name=name)
    _check.integer_at_least(2, num_classes=num_classes)
    _check.one_of(STEMS, stem=stem)
    _check.one_of(DTYPES, dtype=dtype)
    _check.one_of(NORMS, norm=norm)
    mean = _three(_check.finite, mean=mean)
    std = _three(_check.positive, std=std)
    return Model(
        name,
        num_classes,
        stem,
        mean,
        std,
        dtype,
        _stage_widths(name, widths),
        _norm(name, norm),
        _dropout(name, stem, dropout),
    )


def from_settings(settings: dict[str, Any]) -> Model:
    """Return the network whose settings a file holds.

    Args:
      settings: `dataclasses.asdict` of the model, lists in the place of tuples.

    Raises:
      TypeError, ValueError, OverflowError: no settings of a network that `create` makes.

    Example:
      >>> from_settings(dataclasses.asdict(create("densenet121", 10))).name
      'densenet121'
    """
    _check.is_instance(dict, settings=settings)
    fields = {n: tuple(v) if isinstance(v, list) else v for n, v in settings.items()}
    model = Model(**fields)
    # What a network does not have is left out when it is made.
    norm = model.norm if model.norm in NORMS else NORMS[0]
    if create(**{**fields, "norm": norm, "widths": model.widths or None}) != model:
        raise ValueError("settings must be those of a network that models.create makes")
    return model


def _three(check_fn: Any, **named: Any) -> tuple[float, float, float]:
    ((name, value),) = named.items()
    values = tuple(value)
    if len(values) != 3:
        raise ValueError(f"{name} must hold 3 numbers (red, green, blue), got {value!r}")
    return tuple(check_fn(**{name: float(number)}) for number in values)


def _stage_widths(name: str, widths: tuple[int, ...] | None) -> tuple[int, ...]:
    own = SIZES[name].widths
    if widths is None:
        return own
    if not own:
        raise ValueError(
            f"widths must be left out for {name!r}: its channels follow from its growth rate"
        )
    if len(widths) != len(own):
        raise ValueError(f"widths of {name!r} must hold {len(own)} numbers, got {widths!r}")
    return tuple(_check.integer_at_least(1, widths=width) for width in widths)


def _norm(name: str, norm: str) -> str:
    norms = SIZES[name].norms
    if norms != (NO_NORM,):
        return _check.one_of(norms, norm=norm)
    if norm != NORMS[0]:
        raise ValueError(f"norm must be left out for {name!r}: it has no normalisation layers")
    return NO_NORM


def _dropout(name: str, stem: str, dropout: float | None) -> float:
    published = SIZES[name].imagenet_dropout
    if dropout is None:
        return published if published and stem == "imagenet" else 0.0
    dropout = _check.in_interval(0.0, 1.0, dropout=dropout)
    if dropout == 1.0:
        raise ValueError("dropout must be below 1: nothing would be left")
    if dropout > 0.0 and published is None:
        raise ValueError(f"dropout must be left out for {name!r}: it has no dropout layers")
    return dropout


def count_parameters(model: Model, image_shape: tuple[int, int, int]) -> int:
    """Return the number of trainable parameters, without drawing them.

    Example:
      >>> count_parameters(create("resnet18", 10), (32, 32, 3))
      11173962
    """
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), image_shape))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"]))


def by_path(tree: Variables) -> dict[str, Any]:
    """Name each weight by its path, joined by slashes.

    Example:
      >>> by_path({"params": {"head": {"bias": 1}}})
      {'params/head/bias': 1}
    """
    return traverse_util.flatten_dict(tree, sep="/")


def from_paths(weights: dict[str, Any]) -> Variables:
    """Return the tree of weights named by their paths, the inverse of `by_path`.

    Raises:
      LookupError: a weight has the name of a folder of others.
    """
    return traverse_util.unflatten_dict(weights, sep="/")
