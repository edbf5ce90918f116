"""Attacks on each training batch, drawn anew in each step: colours, boxes, mixing, noise."""

import dataclasses
from typing import ClassVar

import chex
import dm_pix
import jax
import jax.numpy as jnp
import optax

from anw_jax import _check
from anw_jax.marks import HueRotation, apply_lct, lct_matrix


@dataclasses.dataclass(frozen=True)
class ColorJitter:
    """Shifts brightness, contrast, saturation and hue of each image at random.

    In this order, clipped to [0, 1] after each: brightness, `x + u` with u uniform in
    ±brightness; contrast, `m + f (x - m)` about each channel's mean m, f uniform in
    1 ± contrast; saturation of HSV times f, f uniform in 1 ± saturation; hue, rotated by an
    angle uniform in ±hue of a full turn.

    **Hue is rotated in YIQ, as by the mark**, which is what the paper does ("the same hue
    transformation we used for watermarking", section 5.3) and the hardest case for the owner:
    a jittered mark is another mark, and at hue = .5 all marks are equally likely in every
    step. `dm_pix.adjust_hue` (like torchvision and TensorFlow) shifts the hue of HSV
    instead, with the opposite sign and other colours; it would turn a marked image into
    none of the marks, and weaken the attack.

    The other three are dm_pix's, which follow TensorFlow. Other than in torchvision, brightness
    is added and not multiplied, contrast is about each channel's mean, saturation is
    that of HSV and the order is fixed.

    Attributes:
      brightness: half-range of the shift on the scale of [0, 1], in [0, 1].
      contrast: half-range of the factor, in [0, 1].
      saturation: half-range of the factor, in [0, 1].
      hue: half-range as a fraction of a full turn, in [0, .5]; .5 = any hue.

    Raises:
      ValueError: if a number is out of range.
      TypeError: if it is not a number.

    Example:
      >>> ColorJitter(hue=0.5)
      ColorJitter(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.5)
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self) -> None:
        """Check the range of each quantity."""
        _check.in_interval(0.0, 1.0, brightness=self.brightness)
        _check.in_interval(0.0, 1.0, contrast=self.contrast)
        _check.in_interval(0.0, 1.0, saturation=self.saturation)
        _check.in_interval(0.0, 0.5, hue=self.hue)

    def transform(
        self, key: jax.Array, images: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """See `BatchAttack.transform`; targets stay."""
        draws = jax.random.uniform(key, (4, len(images)), jnp.float32, -1.0, 1.0)
        adjustments = (
            (dm_pix.adjust_brightness, self.brightness, 0.0),
            (dm_pix.adjust_contrast, self.contrast, 1.0),
            (dm_pix.adjust_saturation, self.saturation, 1.0),
            (_turn_hue, 360.0 * self.hue, 0.0),
        )
        for draw, (adjust, half_range, middle) in zip(draws, adjustments, strict=True):
            if half_range > 0.0:
                # dm_pix 0.4.5 adds a bool to a float, which strict promotion rejects.
                with jax.numpy_dtype_promotion("standard"):
                    moved = jax.vmap(adjust)(images, middle + half_range * draw)
                images = jnp.clip(moved, 0.0, 1.0)
        return images, targets


def _turn_hue(image: jax.Array, degrees: jax.Array) -> jax.Array:
    return apply_lct(lct_matrix(HueRotation().basis, degrees), image)


@dataclasses.dataclass(frozen=True)
class Grayscale:
    """Replaces an image by its luma with some probability, drawn anew in each step.

    Luma is .2989 R + .587 G + .114 B (dm_pix, TensorFlow), the quantity that a hue rotation in
    YIQ keeps but for .0001: a grey copy of a marked image is that of the original, up to
    clipping. At probability 1 nothing of a mark in colour is left to learn; light and shade
    stay.

    Attributes:
      probability: in [0, 1].

    Raises:
      ValueError: if the probability is out of range.
      TypeError: if it is not a number.

    Example:
      >>> red = jnp.zeros((1, 8, 8, 3)).at[..., 0].set(1.0)
      >>> grey, _ = Grayscale(1.0).transform(jax.random.key(0), red, jnp.ones((1, 2)) / 2)
      >>> [round(float(value), 4) for value in grey[0, 0, 0]]
      [0.2989, 0.2989, 0.2989]
    """

    probability: float = 1.0

    def __post_init__(self) -> None:
        """Check the probability."""
        _check.in_interval(0.0, 1.0, probability=self.probability)

    def transform(
        self, key: jax.Array, images: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """See `BatchAttack.transform`; targets stay."""
        is_grey = jax.random.bernoulli(key, self.probability, (len(images),))
        grey = dm_pix.rgb_to_grayscale(images, keep_dims=True)
        return jnp.where(is_grey[:, None, None, None], grey, images), targets


@dataclasses.dataclass(frozen=True)
class GaussianNoise:
    """Adds N(0, std²) to each channel of each pixel, then clips to [0, 1].

    Drawn anew in each step. .1 is the value of the authors' code of the anti-neuron watermark.

    Attributes:
      std: standard deviation on the scale of [0, 1], at least 0.

    Raises:
      ValueError: if `std` is out of range.
      TypeError: if it is not a number.

    Example:
      >>> images, targets = jnp.ones((1, 8, 8, 3)) / 2, jnp.ones((1, 2)) / 2
      >>> noisy, _ = GaussianNoise(std=0.1).transform(jax.random.key(0), images, targets)
      >>> 0.08 < float(noisy.std()) < 0.12
      True
    """

    std: float = 0.1

    def __post_init__(self) -> None:
        """Check the standard deviation."""
        _check.in_interval(0.0, 1.0, std=self.std)

    def transform(
        self, key: jax.Array, images: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """See `BatchAttack.transform`; targets stay."""
        noise = self.std * jax.random.normal(key, images.shape, images.dtype)
        return jnp.clip(images + noise, 0.0, 1.0), targets


@dataclasses.dataclass(frozen=True)
class LabelSmoothing:
    """Moves a share of each target to all classes equally.

    Szegedy et al. 2016 (https://arxiv.org/abs/1512.00567), section 7: t' = (1 - ε) t + ε / c.
    The same as `TrainSettings.label_smoothing`; if both are given, both apply.

    Attributes:
      epsilon: the share, in [0, 1).

    Raises:
      ValueError: if the share is out of range.
      TypeError: if it is not a number.

    Example:
      >>> import numpy as np
      >>> image, target = np.zeros((1, 8, 8, 3), np.float32), np.array([[1, 0]], np.float32)
      >>> LabelSmoothing(0.1).transform(jax.random.key(0), image, target)[1].round(2).tolist()
      [[0.949..., 0.05...]]
    """

    epsilon: float = 0.1

    def __post_init__(self) -> None:
        """Check the share."""
        _check.in_interval(0.0, 0.9999, epsilon=self.epsilon)

    def transform(
        self, key: jax.Array, images: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """See `BatchAttack.transform`; images stay, and nothing is drawn."""
        return images, optax.smooth_labels(targets, self.epsilon)


@dataclasses.dataclass(frozen=True)
class Cutout:
    """Paints a grey square over each image at a random place.

    DeVries and Taylor 2017 (https://arxiv.org/abs/1708.04552): the centre is uniform over the
    pixels, so part of the square may lie outside. 8 pixels and grey .5 are those of the
    authors' code of the anti-neuron watermark.

    Attributes:
      size: side of the square in pixels, at least 1.
      fill: the grey, in [0, 1].

    Raises:
      ValueError: if a number is out of range.
      TypeError: if it is not a number.

    Example:
      >>> images, targets = jnp.zeros((1, 8, 8, 3)), jnp.ones((1, 2)) / 2
      >>> cut, _ = Cutout(size=16).transform(jax.random.key(0), images, targets)
      >>> float(cut.min())
      0.5
    """

    size: int = 8
    fill: float = 0.5

    def __post_init__(self) -> None:
        """Check side and grey."""
        _check.integer_at_least(1, size=self.size)
        _check.in_interval(0.0, 1.0, fill=self.fill)

    def transform(
        self, key: jax.Array, images: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """See `BatchAttack.transform`; targets stay."""
        num_images, height, width, _ = images.shape
        centres = draw_centres(key, num_images, height, width)
        masks = box_masks(centres, jnp.full((num_images, 2), self.size), height, width)
        return jnp.where(masks[..., None], jnp.float32(self.fill), images), targets


@dataclasses.dataclass(frozen=True)
class Cutmix:
    """Pastes a box of another image; targets are mixed by the share of pixels kept.

    Yun et al. 2019 (https://arxiv.org/abs/1905.04899), section 3.1: λ ~ Beta(α, α), a box of
    √(1 - λ) of each side, rounded down, its centre uniform over the pixels, cut off at the
    border; the target is mixed by the pixels really kept. λ, box and partner are drawn for
    each image; the authors' code draws one λ and box for the batch.

    Attributes:
      alpha: parameter of the Beta distribution, above 0; 1 = uniform, as in the paper.

    Raises:
      ValueError: if `alpha` is out of range.
      TypeError: if it is not a number.

    Example:
      >>> Cutmix()
      Cutmix(alpha=1.0)
    """

    mixes_examples: ClassVar[bool] = True

    alpha: float = 1.0

    def __post_init__(self) -> None:
        """Check the parameter of the Beta distribution."""
        _check.positive(alpha=self.alpha)

    def transform(
        self, key: jax.Array, images: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """See `BatchAttack.transform`."""
        share_key, centre_key, partner_key = jax.random.split(key, 3)
        num_images, height, width, _ = images.shape
        share = draw_shares(share_key, self.alpha, num_images)
        size = jnp.array([[height, width]], jnp.float32)
        sides = jnp.floor(jnp.sqrt(1.0 - share)[:, None] * size).astype(jnp.int32)
        centres = draw_centres(centre_key, num_images, height, width)
        is_pasted = box_masks(centres, sides, height, width)
        partners = draw_partners(partner_key, num_images)
        kept = 1.0 - is_pasted.astype(jnp.float32).mean(axis=(1, 2))
        pasted = jnp.where(is_pasted[..., None], images[partners], images)
        return pasted, blend(targets, targets[partners], kept)


@dataclasses.dataclass(frozen=True)
class Mixup:
    """Blends images and targets: λ x + (1 - λ) x', λ t + (1 - λ) t', λ ~ Beta(α, α).

    Zhang et al. 2018 (https://arxiv.org/abs/1710.09412), eq. 2. λ is drawn for each image;
    the authors' code draws one for the batch. x' is the image in that place of a random
    permutation of the batch.

    Attributes:
      alpha: parameter of the Beta distribution, above 0; 1 = uniform, near 0 = little blending.

    Raises:
      ValueError: if `alpha` is out of range.
      TypeError: if it is not a number.

    Example:
      >>> Mixup(alpha=0.2)
      Mixup(alpha=0.2)
    """

    mixes_examples: ClassVar[bool] = True

    alpha: float = 0.2

    def __post_init__(self) -> None:
        """Check the parameter of the Beta distribution."""
        _check.positive(alpha=self.alpha)

    def transform(
        self, key: jax.Array, images: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """See `BatchAttack.transform`."""
        share_key, partner_key = jax.random.split(key)
        share = draw_shares(share_key, self.alpha, len(images))
        partners = draw_partners(partner_key, len(images))
        mixed_images = blend(images, images[partners], share)
        return mixed_images, blend(targets, targets[partners], share)


def draw_centres(key: jax.Array, num_images: int, height: int, width: int) -> jax.Array:
    """Draw the centre of a box for each image: int32 `[b, 2]`, row and column, uniform."""
    row_key, column_key = jax.random.split(key)
    rows = jax.random.randint(row_key, (num_images,), 0, height)
    columns = jax.random.randint(column_key, (num_images,), 0, width)
    return jnp.stack([rows, columns], axis=-1)


def box_masks(centres: jax.Array, sides: jax.Array, height: int, width: int) -> jax.Array:
    """Return a mask of each image's box, cut off at the border.

    Args:
      centres: int32 `[b, 2]`, row and column.
      sides: int32 `[b, 2]`, rows and columns of the whole box.
      height: rows of the image.
      width: columns of the image.

    Returns:
      bool `[b, H, W]`; a box covers pixels `c - s // 2` to `c - s // 2 + s - 1`.
    """
    chex.assert_shape([centres, sides], (None, 2))
    first = centres - sides // 2
    last = first + sides
    inside = [
        (jnp.arange(size)[None] >= first[:, axis, None])
        & (jnp.arange(size)[None] < last[:, axis, None])
        for axis, size in enumerate((height, width))
    ]
    return inside[0][:, :, None] & inside[1][:, None, :]


def draw_partners(key: jax.Array, num_images: int) -> jax.Array:
    """Draw a permutation of the batch, int32 `[b]`; an image may be its own partner."""
    return jax.random.permutation(key, num_images)


def draw_shares(key: jax.Array, alpha: float, num_images: int) -> jax.Array:
    """Draw λ ~ Beta(α, α) for each image, float32 `[b]`."""
    if alpha == 1.0:  # Sampling a general Beta takes seconds to compile.
        return jax.random.uniform(key, (num_images,), jnp.float32)
    return jax.random.beta(key, alpha, alpha, (num_images,), jnp.float32)


def blend(first: jax.Array, second: jax.Array, share: jax.Array) -> jax.Array:
    """Mix two arrays `[b, ...]`: `share` `[b]` of the first, the rest of the second."""
    chex.assert_equal_shape([first, second])
    chex.assert_shape(share, (len(first),))
    share = share.reshape(-1, *(1,) * (first.ndim - 1))
    return share * first + (1.0 - share) * second
