"""Who is mixed with whom, and in which shares."""

import jax
import jax.numpy as jnp


def draw_partners(key: jax.Array, num_images: int) -> jax.Array:
    """Int32 `[b]`: a random permutation of the batch; an image may be its own partner."""
    return jax.random.permutation(key, num_images)


def draw_shares(key: jax.Array, alpha: float, num_images: int) -> jax.Array:
    """Float32 `[b]`: λ ~ Beta(α, α) for each image."""
    if alpha == 1.0:  # Sampling a general Beta takes seconds to compile.
        return jax.random.uniform(key, (num_images,), jnp.float32)
    return jax.random.beta(key, alpha, alpha, (num_images,), jnp.float32)


def blend(first: jax.Array, second: jax.Array, share: jax.Array) -> jax.Array:
    """`share` of the first and the rest of the second; `[b, ...]` twice, and `[b]`."""
    share = share.reshape(-1, *(1,) * (first.ndim - 1))
    return share * first + (1.0 - share) * second
