"""What a thief may do to served outputs before a copy is trained on them.

Filters are chosen so that a mark survives these changes (`filters.strongest`).
"""

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import _check
from anw_jax.schemes.image_fingerprint.noise import jpeg_at

_QUALITY = 75

# Of the blocks in which JPEG 4:2:0 works.
_BLOCK = 16


def jpeg(images: np.ndarray) -> np.ndarray:
    """Compress uint8 images `[n, H, W, 3]` as JPEG 4:2:0 does, at quality 75."""
    images = _check.uint8_images(images=images)
    height, width = images.shape[1:3]
    edges = ((0, 0), (0, -height % _BLOCK), (0, -width % _BLOCK), (0, 0))
    whole = np.pad(images, edges, mode="edge")
    return levels(np.asarray(_compressed(whole))[:, :height, :width])


def half_and_back(images: np.ndarray) -> np.ndarray:
    """Average blocks of 2x2 pixels of uint8 images `[n, H, W, 3]`, and repeat each mean.

    A last row or column that has no partner is repeated first.
    """
    images = _check.uint8_images(images=images)
    n, height, width, channels = images.shape
    whole = np.pad(images, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    blocks = whole.reshape(n, (height + 1) // 2, 2, (width + 1) // 2, 2, channels) / 255.0
    found = blocks.mean(axis=(2, 4)).repeat(2, axis=1).repeat(2, axis=2)
    return levels(found[:, :height, :width])


@jax.jit
def _compressed(images: jax.Array) -> jax.Array:
    """Compress one image after the other, so that memory does not grow with their number."""
    return jax.lax.map(
        lambda one: jpeg_at(one[None].astype(jnp.float32) / 255.0, _QUALITY)[0], images
    )


def levels(values: np.ndarray) -> np.ndarray:
    """Round values to uint8; those outside [0, 1] are clipped."""
    return np.rint(np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8)


CHANGES = (jpeg, half_and_back)
