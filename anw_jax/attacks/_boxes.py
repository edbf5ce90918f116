"""Boxes in pictures: one per image, cut off at the border."""

import jax
import jax.numpy as jnp


def draw_centres(key: jax.Array, num_images: int, height: int, width: int) -> jax.Array:
    """Int32 `[b, 2]`: row and column, uniform over the pixels."""
    row_key, column_key = jax.random.split(key)
    rows = jax.random.randint(row_key, (num_images,), 0, height)
    columns = jax.random.randint(column_key, (num_images,), 0, width)
    return jnp.stack([rows, columns], axis=-1)


def box_masks(centres: jax.Array, sides: jax.Array, height: int, width: int) -> jax.Array:
    """Where each image's box is.

    Args:
      centres: int32 `[b, 2]`, row and column.
      sides: int32 `[b, 2]`, rows and columns of the whole box.
      height: of the image.
      width: of the image.

    Returns:
      bool `[b, H, W]`; a box covers pixels `c - s // 2` to `c - s // 2 + s - 1`.
    """
    first = centres - sides // 2
    last = first + sides
    inside = [
        (jnp.arange(size)[None] >= first[:, axis, None])
        & (jnp.arange(size)[None] < last[:, axis, None])
        for axis, size in enumerate((height, width))
    ]
    return inside[0][:, :, None] & inside[1][:, None, :]
