"""Changes of a batch of photos before its gradient is taken, and of that gradient."""

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

# `(key, images) -> loss`: the mean training loss of the batch in nats, as in the step.
ImageLossFn = Callable[[jax.Array, jax.Array], jax.Array]


class Batch(NamedTuple):
    """One batch, or a whole set, of labelled images.

    Attributes:
      images: uint8 `[b, H, W, 3]`; float32 in [0, 1] once prepared.
      labels: int32 `[b]`.
      targets: float32 `[b, c]`, soft targets that replace labels, or None.
    """

    images: jax.Array
    labels: jax.Array
    targets: jax.Array | None = None


@runtime_checkable
class BatchTransform(Protocol):
    """A change of the images and targets of each batch, traced into the step.

    One whose images or targets depend on other examples of the batch has the class attribute
    `mixes_examples = True`.
    """

    def transform(
        self, key: jax.Array, images: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Map float32 images `[b, H, W, 3]` in [0, 1] and targets `[b, c]`, to the same."""


@runtime_checkable
class Adversary(Protocol):
    """A change of the images of each batch that raises the loss of the network."""

    def perturb(self, key: jax.Array, images: jax.Array, loss_fn: ImageLossFn) -> jax.Array:
        """Map float32 images `[b, H, W, 3]` in [0, 1], to the same."""


@runtime_checkable
class Privatizer(Protocol):
    """A gradient that bounds the influence of each example."""

    def gradient(
        self,
        loss_fn: Any,
        params: chex.ArrayTree,
        model_state: chex.ArrayTree,
        batch: Any,
        rng: chex.PRNGKey,
    ) -> tuple[tuple[jax.Array, tuple[Any, dict[str, jax.Array]]], Any]:
        """Return loss, metrics and gradient, as a `gradient_fn` of `make_step`."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Changes of a batch between its crop and the optimizer; none by default.

    Crops and mirror images (`TrainSettings`) come first, then `transforms` in their order,
    then the adversary, then the loss. All parts are frozen dataclasses of plain values: equal
    recipes share a compiled step, and an error names the part that differs from a checkpoint.

    Attributes:
      transforms: changes of images and targets; each has its own key.
      adversary: moves images against the network (adversarial training); None = none.
      privacy: replaces the gradient of the mean loss (DP-SGD); None = that gradient.

    Raises:
      TypeError: if a part is of the wrong kind.
      ValueError: if a transform mixes examples and there is privacy.

    Example:
      >>> Recipe() == Recipe(transforms=())
      True
    """

    transforms: tuple[BatchTransform, ...] = ()
    adversary: Adversary | None = None
    privacy: Privatizer | None = None

    def __post_init__(self) -> None:
        """Check the types of the parts; reject transforms that break privacy."""
        if not isinstance(self.transforms, tuple):
            raise TypeError(f"transforms must be a tuple, got {self.transforms!r}")
        for index, transform in enumerate(self.transforms):
            _check_part(BatchTransform, f"transforms[{index}]", transform)
        if self.adversary is not None:
            _check_part(Adversary, "adversary", self.adversary)
        if self.privacy is not None:
            _check_part(Privatizer, "privacy", self.privacy)
            for transform in self.transforms:
                if getattr(transform, "mixes_examples", False):
                    raise ValueError(
                        "transforms must not mix examples under privacy, got "
                        f"{type(transform).__name__}: what one photo adds to the gradient "
                        "could not be bounded"
                    )

    def plain(self) -> dict[str, Any]:
        """Return the recipe as nested dicts of plain values; {} if there are no changes."""
        named = {"adversary": self.adversary, "privacy": self.privacy}
        plain: dict[str, Any] = {
            name: _plain_part(part) for name, part in named.items() if part is not None
        }
        if self.transforms:
            parts = enumerate(self.transforms)
            plain["transforms"] = {str(index): _plain_part(part) for index, part in parts}
        return plain


def plain_values(of: Any) -> dict[str, Any]:
    """Return the fields of a dataclass as they come back from JSON."""
    values = dataclasses.asdict(of).items()
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values}


def _plain_part(part: Any) -> dict[str, Any]:
    return {"kind": type(part).__name__, **plain_values(part)}


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


# No changes: the default of all functions that take a recipe.
PLAIN = Recipe()


def classification_batch(
    model: Model, settings: TrainSettings, recipe: Recipe = PLAIN, *, loss_fn: LossFn
) -> PrepareFn:
    """Make the preparation of a batch of photos, as the `prepare_fn` of `make_step`.

    Photos become floats and are cropped and mirrored; then the recipe's transforms act (which
    turn labels into soft targets), then its adversary, which is given the loss.
    """

    def prepare_fn(
        params: chex.ArrayTree, model_state: chex.ArrayTree, batch: Batch, rng: chex.PRNGKey
    ) -> Batch:
        images = augment(rng, batch.images.astype(jnp.float32) / 255.0, settings)
        batch = _transformed(rng, batch._replace(images=images), model, settings, recipe)
        if recipe.adversary is None:
            return batch

        def image_loss(key: chex.PRNGKey, images: jax.Array) -> jax.Array:
            return loss_fn(params, model_state, batch._replace(images=images), key)[0]

        key = jax.random.fold_in(rng, _ADVERSARY)
        images = recipe.adversary.perturb(key, batch.images, image_loss)
        chex.assert_trees_all_equal_shapes_and_dtypes(images, batch.images)
        return batch._replace(images=images)

    return prepare_fn


def _transformed(
    rng: chex.PRNGKey, batch: Batch, model: Model, settings: TrainSettings, recipe: Recipe
) -> Batch:
    """Apply the recipe's transforms; turn labels into targets if there are any."""
    images, labels, targets = batch
    if not recipe.transforms and targets is None:
        return batch
    if targets is None:
        targets = jax.nn.one_hot(labels, model.num_classes, dtype=jnp.float32)
    if settings.label_smoothing > 0.0:
        targets = optax.smooth_labels(targets, settings.label_smoothing)
    key = jax.random.fold_in(rng, _TRANSFORMS)
    for index, transform in enumerate(recipe.transforms):
        before = images, targets
        images, targets = transform.transform(jax.random.fold_in(key, index), *before)
        chex.assert_trees_all_equal_shapes_and_dtypes((images, targets), before)
    return Batch(images, labels, targets)


def augment(key: jax.Array, images: jax.Array, settings: TrainSettings) -> jax.Array:
    """Crop and mirror each image at random, padding with black as torchvision does.

    Args:
      key: typed PRNG key.
      images: float32 `[b, H, W, 3]` in [0, 1].
      settings: `crop_padding` and `flip` are used.

    Returns:
      float32 `[b, H, W, 3]`.
    """
    offset_key, mirror_key = jax.random.split(key)
    images = random_crop(offset_key, images, settings.crop_padding)
    if settings.flip:
        images = mirror(images, jax.random.bernoulli(mirror_key, 0.5, (images.shape[0],)))
    return images


def random_crop(
    key: jax.Array, images: jax.Array, padding: int, *, mode: str = "constant"
) -> jax.Array:
    """Cut every image out of its padded self, at a place of its own; see `crop`.

    Args:
      key: typed PRNG key.
      images: `[b, H, W, 3]`.
      padding: as for `crop`; with 0 the images stay as they are, and nothing is drawn.
      mode: as for `crop`.
    """
    if not padding:
        return images
    offsets = jax.random.randint(key, (len(images), 2), 0, 2 * padding + 1)
    return crop(images, offsets, padding, mode=mode)


def crop(
    images: jax.Array, offsets: jax.Array, padding: int, *, mode: str = "constant"
) -> jax.Array:
    """Cut images of the old size out of padded ones.

    Args:
      images: `[b, H, W, 3]`.
      offsets: int32 `[b, 2]`, top row and left column in the padded image, each in
        [0, 2 padding]; `padding` leaves the image as it was.
      padding: pixels on each side, below the images' sides with "reflect".
      mode: how `jnp.pad` fills them; "constant" is black.

    Returns:
      `[b, H, W, 3]`, the dtype of `images`.
    """
    chex.assert_rank(images, 4)
    chex.assert_shape(offsets, (len(images), 2))
    widths = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = jnp.pad(images, widths, mode)

    def cut(image: jax.Array, offset: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(image, (offset[0], offset[1], 0), images.shape[1:])

    return jax.vmap(cut)(padded, offsets)


def mirror(images: jax.Array, is_mirrored: jax.Array) -> jax.Array:
    """Mirror images left to right where `is_mirrored` (bool `[b]`)."""
    chex.assert_rank(images, 4)
    chex.assert_shape(is_mirrored, (len(images),))
    return jnp.where(is_mirrored[:, None, None, None], images[:, :, ::-1], images)
