"""What a learner changes about training, beside its settings."""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax

Parameters = Any
# `(key, images) -> loss`: the batch's mean training loss in nats, as the step will see it.
ImageLossFn = Callable[[jax.Array, jax.Array], jax.Array]
# `(parameters, images, targets, key) -> (mean loss, logits)`; batches may be of one image.
ExampleLossFn = Callable[
    [Parameters, jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]
]


@runtime_checkable
class BatchTransform(Protocol):
    """Changes images and targets of each batch; is traced into the step.

    One that lets an image or target depend on other examples of the batch says so by a true
    class attribute `mixes_examples`.
    """

    def transform(
        self, key: jax.Array, images: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """float32 images `[b, H, W, 3]` in [0, 1] and targets `[b, c]`, to the same."""


@runtime_checkable
class Adversary(Protocol):
    """Changes the images of each batch so that the network errs on them."""

    def perturb(self, key: jax.Array, images: jax.Array, loss_fn: ImageLossFn) -> jax.Array:
        """float32 images `[b, H, W, 3]` in [0, 1], to the same."""


@runtime_checkable
class Privatizer(Protocol):
    """Makes the gradient in which no example stands out."""

    def gradient(
        self,
        key: jax.Array,
        loss_fn: ExampleLossFn,
        params: Parameters,
        images: jax.Array,
        targets: jax.Array,
    ) -> tuple[Parameters, jax.Array, jax.Array]:
        """The gradient by `params`, each image's loss `[b]` and logits `[b, c]`."""


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
        """Refuses parts that are not plain, and combinations without meaning."""
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
        """The recipe as nested dicts of plain values; empty where nothing is changed."""
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


# Nothing is changed; the default of everything that takes a recipe.
PLAIN = Recipe()
