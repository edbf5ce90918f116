"""How a classifier is trained: plain values, checked once."""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import chex
import jax

from anw_jax import _check

SCHEDULES = ("step", "cosine")

# `(key, images) -> loss`: the batch's mean training loss in nats, as the step will see it.
ImageLossFn = Callable[[jax.Array, jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """Settings of SGD; the defaults are those of the paper's ResNet-18.

    Attributes:
      learning_rate: peak learning rate.
      momentum: of SGD, in [0, 1).
      nesterov: whether the momentum looks ahead.
      weight_decay: added to the gradient of every parameter, before momentum.
      batch_size: images per optimizer step, over all devices together.
      num_epochs: passes over the training images.
      schedule: "step" (x 0.1 after each third of the epochs) or "cosine" (to 0).
      warmup_epochs: epochs of linear growth from 0, within `num_epochs`.
      crop_padding: black pixels around an image before its random crop; 0 = no crop.
      flip: whether half the images, chosen at random, are mirrored.
      label_smoothing: mass moved from the label to all classes, in [0, 1).
      seed: of initial parameters and augmentation.

    Raises:
      ValueError: if a number is out of range or a name unknown.
      TypeError: if a number is not a number.

    Example:
      >>> TrainSettings(batch_size=100).num_steps(num_images=4_000)
      3600
    """

    learning_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 5e-4
    batch_size: int = 256
    num_epochs: int = 90
    schedule: str = "step"
    warmup_epochs: int = 0
    crop_padding: int = 4
    flip: bool = True
    label_smoothing: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that cannot be meant."""
        _check.positive(learning_rate=self.learning_rate)
        _check.in_interval(0.0, 0.9999, momentum=self.momentum)
        _check.is_instance(bool, nesterov=self.nesterov)
        _check.in_interval(0.0, 1.0, weight_decay=self.weight_decay)
        _check.integer_at_least(1, batch_size=self.batch_size)
        _check.integer_at_least(1, num_epochs=self.num_epochs)
        _check.one_of(SCHEDULES, schedule=self.schedule)
        _check.integer_at_least(0, warmup_epochs=self.warmup_epochs)
        _check.integer_at_least(0, crop_padding=self.crop_padding)
        _check.is_instance(bool, flip=self.flip)
        _check.in_interval(0.0, 0.9999, label_smoothing=self.label_smoothing)
        _check.integer_at_least(0, seed=self.seed)
        if self.warmup_epochs >= self.num_epochs:
            raise ValueError(
                f"warmup_epochs must be below num_epochs = {self.num_epochs}, "
                f"got {self.warmup_epochs}"
            )

    def steps_per_epoch(self, num_images: int) -> int:
        """Return the steps of an epoch; images beyond the last full batch wait for the next.

        Raises:
          ValueError: if there are fewer images than one batch holds.
        """
        if num_images < self.batch_size:
            raise ValueError(
                f"batch_size must be at most the number of training images {num_images}, "
                f"got {self.batch_size}"
            )
        return num_images // self.batch_size

    def num_steps(self, num_images: int) -> int:
        """Return the optimizer steps of the whole training."""
        return self.num_epochs * self.steps_per_epoch(num_images)


@runtime_checkable
class BatchTransform(Protocol):
    """Changes images and targets of each batch; is traced into the step.

    One that lets an image or target depend on other examples of the batch says so by a true
    class attribute `mixes_examples`.
    """

    def transform(
        self, key: jax.Array, images: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Map float32 images `[b, H, W, 3]` in [0, 1] and targets `[b, c]`, to the same."""


@runtime_checkable
class Adversary(Protocol):
    """Changes the images of each batch so that the network errs on them."""

    def perturb(self, key: jax.Array, images: jax.Array, loss_fn: ImageLossFn) -> jax.Array:
        """Map float32 images `[b, H, W, 3]` in [0, 1], to the same."""


@runtime_checkable
class Privatizer(Protocol):
    """Makes the gradient in which no example stands out."""

    def gradient(
        self, loss_fn: Any, params: Any, model_state: Any, batch: Any, rng: chex.PRNGKey
    ) -> tuple[tuple[jax.Array, tuple[Any, dict[str, jax.Array]]], Any]:
        """Return what a `gradient_fn` of `make_step` returns."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What happens to a batch between its crop and the optimizer; the default is nothing.

    Crop and mirror image (`TrainSettings`) come first, then `transforms` in their order, then
    the adversary, then the loss. All parts are frozen dataclasses of plain values: a compiled
    step is shared by equal recipes, and a checkpoint names the part that differs.

    Attributes:
      transforms: of images and targets; each draws from a key of its own.
      adversary: moves images against the network (adversarial training); None = nobody.
      privacy: replaces the gradient of the mean loss (DP-SGD); None = that gradient.

    Raises:
      TypeError: if a part is of the wrong kind.
      ValueError: if a transform mixes examples while privacy is asked for.

    Example:
      >>> Recipe() == Recipe(transforms=())
      True
    """

    transforms: tuple[BatchTransform, ...] = ()
    adversary: Adversary | None = None
    privacy: Privatizer | None = None

    def __post_init__(self) -> None:
        """Refuse parts that are not plain, and combinations without meaning."""
        if not isinstance(self.transforms, tuple):
            raise TypeError(f"transforms must be a tuple, got {self.transforms!r}")
        for index, transform in enumerate(self.transforms):
            _check_part(BatchTransform, f"transforms[{index}]", transform)
        if self.adversary is not None:
            _check_part(Adversary, "adversary", self.adversary)
        if self.privacy is not None:
            _check_part(Privatizer, "privacy", self.privacy)
            self._refuse_mixing()

    def _refuse_mixing(self) -> None:
        for transform in self.transforms:
            if getattr(transform, "mixes_examples", False):
                raise ValueError(
                    f"transforms must not mix examples under privacy, got "
                    f"{type(transform).__name__}: what one photo adds to the gradient could "
                    "not be bounded"
                )

    def plain(self) -> dict[str, Any]:
        """Return the recipe as nested dicts of plain values; empty where nothing is changed."""
        parts = {str(index): _plain_part(part) for index, part in enumerate(self.transforms)}
        plain: dict[str, Any] = {"transforms": parts} if parts else {}
        for name in ("adversary", "privacy"):
            part = getattr(self, name)
            if part is not None:
                plain[name] = _plain_part(part)
        return plain


def _check_part(kind: type, name: str, part: Any) -> None:
    if isinstance(part, type) or not isinstance(part, kind):
        raise TypeError(f"{name} must be an instance of {kind.__name__}, got {part!r:.80}")
    is_frozen = dataclasses.is_dataclass(part) and part.__dataclass_params__.frozen
    try:
        hash(part)
    except TypeError:
        is_frozen = False
    if not is_frozen:
        raise TypeError(f"{name} must be a frozen dataclass of plain values, got {part!r:.80}")


def _plain_part(part: Any) -> dict[str, Any]:
    values = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(part).items()
    }
    return {"kind": type(part).__name__, **values}


# Plain training: the default of everything that takes a recipe.
PLAIN = Recipe()
