"""Operations on 8-bit levels, as Pillow's `ImageOps` has them.

Images are float32 `[H, W, 3]` in [0, 1], taken as the nearest levels k / 255.
"""

import jax
import jax.numpy as jnp

_NUM_LEVELS = 256


def to_levels(image: jax.Array) -> jax.Array:
    """Int32 levels 0 to 255."""
    return jnp.rint(image * 255.0).astype(jnp.int32)


def from_levels(levels: jax.Array) -> jax.Array:
    """Float32 in [0, 1]."""
    return levels.astype(jnp.float32) / 255.0


def posterize(image: jax.Array, num_bits: int) -> jax.Array:
    """Keeps the `num_bits` highest bits of each level."""
    mask = (_NUM_LEVELS - 1) >> (8 - num_bits) << (8 - num_bits)
    return from_levels(to_levels(image) & mask)


def autocontrast(image: jax.Array) -> jax.Array:
    """Stretches each channel to the whole scale; a channel of one level stays."""
    levels = to_levels(image)
    low = levels.min(axis=(0, 1), keepdims=True)
    high = levels.max(axis=(0, 1), keepdims=True)
    # In integers, so that every machine rounds down at the same level.
    stretched = (levels - low) * 255 // jnp.maximum(high - low, 1)
    return from_levels(jnp.where(high > low, stretched, levels))


def equalize(image: jax.Array) -> jax.Array:
    """Makes the histogram of each channel as flat as a map of levels can."""
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
