"""RandAugment: a few operations of fixed strength, drawn for each image."""

import dataclasses

import chex
import dm_pix
import jax
import jax.numpy as jnp

from anw_jax import _check

OPERATIONS = (
    "identity",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "brightness",
    "contrast",
    "color",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
)

# Strengths at magnitude 10; translations are shares of the side.
_MAX_SHEAR, _MAX_TRANSLATION, _MAX_DEGREES = 0.3, 0.45, 30.0
_MAX_ENHANCEMENT, _MAX_LOST_BITS = 0.9, 4
_FILL = 0.5


@dataclasses.dataclass(frozen=True)
class RandAugment:
    """Applies `num_ops` operations, drawn with replacement, to each image.

    Cubuk et al. 2020 (https://arxiv.org/abs/1909.13719): one magnitude for all operations, on
    a scale of 0 to 10. The 14 operations are those of the paper, and at magnitude 10: shear by
    .3 of the distance from the centre, translate by .45 of the side, rotate by 30°; brightness,
    contrast, colour (saturation) and sharpness by a factor of 1 ± .9; keep 4 bits; invert what
    is at or above level 0 (256 at magnitude 0). Signs are drawn for each image. Colours
    change, but hue does not: no operation rotates the chroma plane.

    Where implementations differ, this one uses factors 1 ± .9 m / 10, as torchvision
    (TensorFlow's first code: .1 + 1.8 m / 10, without sign), rotates and shears about the
    centre, takes the nearest pixel, fills with grey .5 and clips after each operation.
    Levels are those of Pillow's `ImageOps`. dm_pix gives solarize and luma; its
    warps interpolate between channels too and fail under strict promotion, its contrast is
    about each channel's mean and not about the mean luma. Every operation is computed for
    all images of the batch and one result is kept; operations of one kind share one pass, so a
    batch costs one warp, one blend and one equalization per operation drawn.

    Attributes:
      num_ops: operations in a row, at least 1.
      magnitude: in [0, 10]. At 0 only autocontrast and equalize change an image.

    Raises:
      ValueError: if a number is out of range.
      TypeError: if it is not a number.

    Example:
      >>> RandAugment(num_ops=2, magnitude=9)
      RandAugment(num_ops=2, magnitude=9)
    """

    num_ops: int = 2
    magnitude: float = 9.0

    def __post_init__(self) -> None:
        """Check the numbers against the paper's scale."""
        _check.integer_at_least(1, num_ops=self.num_ops)
        _check.in_interval(0.0, 10.0, magnitude=self.magnitude)

    def transform(
        self, key: jax.Array, images: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """See `BatchAttack.transform`; targets stay."""
        for number in range(self.num_ops):
            choice_key, sign_key = jax.random.split(jax.random.fold_in(key, number))
            shape = (len(images),)
            choices = jax.random.randint(choice_key, shape, 0, len(OPERATIONS))
            signs = jax.random.rademacher(sign_key, shape, jnp.float32)
            images = apply_operations(images, choices, signs, self.magnitude)
        return images, targets


def apply_operations(
    images: jax.Array, choices: jax.Array, signs: jax.Array, magnitude: float
) -> jax.Array:
    """Apply one operation to each image.

    Args:
      images: float32 `[b, H, W, 3]` in [0, 1].
      choices: int32 `[b]`, places in `OPERATIONS`.
      signs: float32 `[b]`, 1 or -1: the direction of operations that have one.
      magnitude: in [0, 10].

    Returns:
      float32 `[b, H, W, 3]` in [0, 1].
    """
    chex.assert_shape(images, (None, None, None, 3))
    chex.assert_shape([choices, signs], (len(images),))
    share = magnitude / 10.0
    num_bits = 8 - round(_MAX_LOST_BITS * share)
    threshold = 256.0 / 255.0 * (1.0 - share)

    def of(*names: str) -> jax.Array:
        places = [OPERATIONS.index(name) for name in names]
        is_chosen = (choices[:, None] == jnp.array(places)[None]).any(axis=1)
        return is_chosen[:, None, None, None]

    enhanced = _enhanced(images, choices, 1.0 + _MAX_ENHANCEMENT * share * signs)
    height, width = images.shape[1:3]
    warped = warp(images, _matrices(choices, share * signs, height, width), _FILL)
    result = jnp.where(of(*OPERATIONS[1:6]), warped, images)
    result = jnp.where(of(*OPERATIONS[6:10]), enhanced, result)
    result = jnp.where(of("posterize"), posterize(images, num_bits), result)
    result = jnp.where(of("solarize"), dm_pix.solarize(images, threshold), result)
    result = jnp.where(of("autocontrast"), jax.vmap(autocontrast)(images), result)
    return jnp.where(of("equalize"), jax.vmap(equalize)(images), result)


def _matrices(choices: jax.Array, amounts: jax.Array, height: int, width: int) -> jax.Array:
    """Return the matrices for `warp`, float32 `[b, 2, 3]`."""

    def amount(name: str, most: float) -> jax.Array:
        is_chosen = choices == OPERATIONS.index(name)
        return jnp.where(is_chosen, jnp.float32(most) * amounts, 0.0)

    turn = jnp.deg2rad(amount("rotate", _MAX_DEGREES))
    cos, sin = jnp.cos(turn), jnp.sin(turn)
    to_x = [
        cos,
        amount("shear_x", _MAX_SHEAR) - sin,
        amount("translate_x", _MAX_TRANSLATION * width),
    ]
    to_y = [
        amount("shear_y", _MAX_SHEAR) + sin,
        cos,
        amount("translate_y", _MAX_TRANSLATION * height),
    ]
    return jnp.stack([jnp.stack(to_x, axis=-1), jnp.stack(to_y, axis=-1)], axis=1)


def _enhanced(images: jax.Array, choices: jax.Array, factors: jax.Array) -> jax.Array:
    """Return `d + f (x - d)`, clipped; d is the image without the enhanced quantity."""

    def is_chosen(name: str) -> jax.Array:
        return (choices == OPERATIONS.index(name))[:, None, None, None]

    luma = dm_pix.rgb_to_grayscale(images)
    without = jnp.zeros_like(images)  # brightness
    without = jnp.where(is_chosen("contrast"), luma.mean((1, 2), keepdims=True), without)
    without = jnp.where(is_chosen("color"), luma, without)
    without = jnp.where(is_chosen("sharpness"), _smooth(images), without)
    factors = factors[:, None, None, None]
    return jnp.clip(without + factors * (images - without), 0.0, 1.0)


def _smooth(images: jax.Array) -> jax.Array:
    """Apply Pillow's SMOOTH filter: weights 1, and 5 in the middle; the border stays."""
    height, width = images.shape[1:3]
    neighbours = sum(
        images[:, i : height - 2 + i, j : width - 2 + j] for i in range(3) for j in range(3)
    )
    inner = images[:, 1:-1, 1:-1]
    return images.at[:, 1:-1, 1:-1].set((neighbours + 4.0 * inner) / 13.0)


def warp(images: jax.Array, matrices: jax.Array, fill: float) -> jax.Array:
    """Apply an affine map to each image, taking the nearest pixel.

    Coordinates (x, y) of a pixel's centre are measured from the centre of the image, x to the
    right and y downwards.

    Args:
      images: float `[b, H, W, 3]`.
      matrices: float32 `[b, 2, 3]`, from (x, y, 1) of the result to (x, y) of the source.
      fill: the value of pixels whose source lies outside.

    Returns:
      Images of the same shape and dtype.
    """
    chex.assert_shape(matrices, (len(images), 2, 3))
    height, width = images.shape[1:3]
    x = jnp.arange(width, dtype=jnp.float32) - (width - 1) / 2
    y = jnp.arange(height, dtype=jnp.float32) - (height - 1) / 2
    x, y = jnp.meshgrid(x, y)

    def one(image: jax.Array, matrix: jax.Array) -> jax.Array:
        source = [row[0] * x + row[1] * y + row[2] for row in matrix]
        columns = _nearest(source[0] + (width - 1) / 2)
        rows = _nearest(source[1] + (height - 1) / 2)
        is_inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        taken = image[rows.clip(0, height - 1), columns.clip(0, width - 1)]
        return jnp.where(is_inside[..., None], taken, jnp.asarray(fill, image.dtype))

    return jax.vmap(one)(images, matrices)


def _nearest(coordinates: jax.Array) -> jax.Array:
    return jnp.floor(coordinates + 0.5).astype(jnp.int32)


_NUM_LEVELS = 256


def to_levels(image: jax.Array) -> jax.Array:
    """Return the nearest levels, int32 0 to 255, as Pillow's `ImageOps` takes them."""
    return jnp.rint(image * 255.0).astype(jnp.int32)


def from_levels(levels: jax.Array) -> jax.Array:
    """Return levels / 255, float32 in [0, 1]."""
    return levels.astype(jnp.float32) / 255.0


def posterize(image: jax.Array, num_bits: int) -> jax.Array:
    """Keep the `num_bits` highest bits of each level."""
    mask = (_NUM_LEVELS - 1) >> (8 - num_bits) << (8 - num_bits)
    return from_levels(to_levels(image) & mask)


def autocontrast(image: jax.Array) -> jax.Array:
    """Stretch each channel to the whole scale; a channel with one level stays."""
    levels = to_levels(image)
    low = levels.min(axis=(0, 1), keepdims=True)
    high = levels.max(axis=(0, 1), keepdims=True)
    # In integers, so that every machine rounds down alike.
    stretched = (levels - low) * 255 // jnp.maximum(high - low, 1)
    return from_levels(jnp.where(high > low, stretched, levels))


def equalize(image: jax.Array) -> jax.Array:
    """Flatten the histogram of each channel as far as a map of levels can."""
    levels = to_levels(image)
    channels = [_equalize_channel(levels[..., channel]) for channel in range(3)]
    return from_levels(jnp.stack(channels, axis=-1))


def _equalize_channel(levels: jax.Array) -> jax.Array:
    counts = jnp.zeros(_NUM_LEVELS, jnp.int32).at[levels.ravel()].add(1)
    # Pillow leaves out the pixels of the highest level that occurs.
    step = (levels.size - counts[levels.max()]) // 255
    below = jnp.cumsum(counts) - counts
    table = (below + step // 2) // jnp.maximum(step, 1)
    return jnp.where(step > 0, table.clip(0, 255)[levels], levels)
