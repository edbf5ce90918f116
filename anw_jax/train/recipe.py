"""What happens to a batch of photos before its gradient is taken, and to that gradient."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import chex
import jax
import jax.numpy as jnp
import optax

from anw_jax.models import Model
from anw_jax.train.settings import TrainSettings
from anw_jax.train.step import LossFn, PrepareFn

# Folded into the step's key, one for each use. They begin at 2: `augment` splits the same key,
# and `split(key)` is `fold_in(key, 0)` and `fold_in(key, 1)`; 3 is the gradient's.
_TRANSFORMS, _ADVERSARY = 2, 4

# `(key, images) -> loss`: the batch's mean training loss in nats, as the step will see it.
ImageLossFn = Callable[[jax.Array, jax.Array], jax.Array]


class Batch(NamedTuple):
    """One batch, or a whole set, of labelled images.

    Attributes:
      images: uint8 `[b, H, W, 3]`; float32 in [0, 1] once prepared.
      labels: int32 `[b]`.
      targets: float32 `[b, c]`, soft targets that take the place of labels; or None.
    """

    images: jax.Array
    labels: jax.Array
    targets: jax.Array | None = None


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


def classification_batch(
    model: Model, settings: TrainSettings, recipe: Recipe = PLAIN, *, loss_fn: LossFn
) -> PrepareFn:
    """Make what is done to a batch of photos before the gradient is taken.

    Photos become floats and are cropped and mirrored; then come the recipe's transforms (which
    make soft targets of labels) and its adversary, who is shown the loss.
    """

    def prepare_fn(params: Any, model_state: Any, batch: Batch, rng: chex.PRNGKey) -> Batch:
        images = augment(rng, batch.images.astype(jnp.float32) / 255.0, settings)
        batch = _transformed(rng, batch._replace(images=images), model, settings, recipe)
        if recipe.adversary is None:
            return batch

        def image_loss(key: chex.PRNGKey, images: jax.Array) -> jax.Array:
            return loss_fn(params, model_state, batch._replace(images=images), key)[0]

        key = jax.random.fold_in(rng, _ADVERSARY)
        return batch._replace(images=recipe.adversary.perturb(key, batch.images, image_loss))

    return prepare_fn


def _transformed(
    rng: chex.PRNGKey, batch: Batch, model: Model, settings: TrainSettings, recipe: Recipe
) -> Batch:
    """Return the batch after the recipe's transforms; with targets if something needs them."""
    images, labels, targets = batch
    if not recipe.transforms and targets is None:
        return batch
    if targets is None:
        targets = jax.nn.one_hot(labels, model.num_classes, dtype=jnp.float32)
    if settings.label_smoothing > 0.0:
        targets = optax.smooth_labels(targets, settings.label_smoothing)
    key = jax.random.fold_in(rng, _TRANSFORMS)
    for index, transform in enumerate(recipe.transforms):
        images, targets = transform.transform(jax.random.fold_in(key, index), images, targets)
    return Batch(images, labels, targets)


def augment(key: jax.Array, images: jax.Array, settings: TrainSettings) -> jax.Array:
    """Crop and mirror each image at random, as `settings` say.

    Args:
      key: typed PRNG key.
      images: float32 `[b, H, W, 3]` in [0, 1].
      settings: `crop_padding` and `flip` are read.

    Returns:
      float32 `[b, H, W, 3]`.
    """
    offset_key, mirror_key = jax.random.split(key)
    num_images, padding = images.shape[0], settings.crop_padding
    if padding > 0:
        offsets = jax.random.randint(offset_key, (num_images, 2), 0, 2 * padding + 1)
        images = crop(images, offsets, padding)
    if settings.flip:
        images = mirror(images, jax.random.bernoulli(mirror_key, 0.5, (num_images,)))
    return images


def crop(images: jax.Array, offsets: jax.Array, padding: int) -> jax.Array:
    """Cut images of the old size out of images padded with black.

    Args:
      images: `[b, H, W, 3]`.
      offsets: int32 `[b, 2]`, top row and left column in the padded image, each in
        [0, 2 padding]; `padding` leaves the image as it was.
      padding: black pixels on each side.

    Returns:
      `[b, H, W, 3]`, the dtype of `images`.
    """
    chex.assert_rank(images, 4)
    chex.assert_shape(offsets, (len(images), 2))
    widths = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = jnp.pad(images, widths)

    def cut(image: jax.Array, offset: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(image, (offset[0], offset[1], 0), images.shape[1:])

    return jax.vmap(cut)(padded, offsets)


def mirror(images: jax.Array, is_mirrored: jax.Array) -> jax.Array:
    """Mirror left and right where `is_mirrored` (bool `[b]`) says so."""
    return jnp.where(is_mirrored[:, None, None, None], images[:, :, ::-1], images)
