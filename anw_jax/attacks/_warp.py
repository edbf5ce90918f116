"""Affine maps of pictures, about their centres."""

import jax
import jax.numpy as jnp


def warp(images: jax.Array, matrices: jax.Array, fill: float) -> jax.Array:
    """Moves the pixels of each image, taking the nearest.

    A pixel's centre has coordinates (x, y) from the centre of the image, x to the right and y
    downwards. What lies outside is `fill`.

    Args:
      images: float `[b, H, W, 3]`.
      matrices: float32 `[b, 2, 3]`, from (x, y, 1) of the result to (x, y) of the source.
      fill: the value outside.

    Returns:
      Images like `images`.
    """
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
