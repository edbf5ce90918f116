"""Random crops and mirror images, drawn per image and applied to a whole batch.

Images are float32 `[b, H, W, 3]` in [0, 1]; padding is black, as torchvision pads.
"""

import chex
import jax
import jax.numpy as jnp

from anw_jax.train.settings import TrainSettings


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
