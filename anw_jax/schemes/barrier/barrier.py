"""Mark a model's outputs with the bits of a key: the owner's part, after the beacon's value."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import _check
from anw_jax.keys import Bits
from anw_jax.schemes.barrier.decoder import Decoder
from anw_jax.schemes.barrier.filters import apply_filter
from anw_jax.schemes.barrier.reader import ImagesFn

# Peak signal-to-noise ratio between outputs and marked outputs, on the whitening images.
DEFAULT_PSNR = 38.5

_BATCH = 256
# For so many shapes of a batch the compiled program is kept: each takes some megabytes.
_MOST_PROGRAMS = 16


def keyed_kernel(decoder: Decoder, bits: Bits, psnr: float = DEFAULT_PSNR) -> np.ndarray:
    """Sum the filters with the signs of their bits: b' = b + kernel ∗ b.

    Args:
      decoder: the committed decoder.
      bits: of the key. **Secret**, and so is the kernel.
      psnr: in dB, over the whitening images together: a textured image gets more of the mark
        than a smooth one.

    Returns:
      float32 `[S, S, 3, 3]`.

    Raises:
      ValueError: another number of bits.
    """
    psnr = _check.positive(psnr=psnr)
    if len(bits) != decoder.num_bits:
        raise ValueError(f"bits must be {decoder.num_bits}, as in the decoder, got {len(bits)}")
    size = 10.0 ** (-psnr / 20.0) / np.sqrt(decoder.num_bits)
    return (size * np.tensordot(bits.signs, decoder.kernels, axes=1)).astype(np.float32)


def protect(kernel: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Mark outputs, to be served instead.

    Args:
      kernel: of `keyed_kernel`.
      outputs: uint8 `[n, H, W, 3]`, of any model or algorithm.

    Returns:
      uint8 of the same shape, clipped and rounded.
    """
    outputs = _check.uint8_images(outputs=outputs)
    parts = [outputs[start : start + _BATCH] for start in range(0, len(outputs), _BATCH)]
    chunks = [jax.device_get(_program(part.shape)(kernel, part)) for part in parts]
    return np.concatenate(chunks) if chunks else outputs.copy()


def protected(kernel: np.ndarray, model: ImagesFn) -> ImagesFn:
    """Wrap a model so that it serves marked outputs.

    Args:
      kernel: of `keyed_kernel`.
      model: from uint8 images to uint8 images.
    """
    return lambda images: protect(kernel, model(images))


@functools.lru_cache(_MOST_PROGRAMS)
def _program(shape: tuple[int, ...]) -> Callable[[np.ndarray, np.ndarray], jax.Array]:
    """Return the program that marks a batch of one shape."""
    # A function of its own: JAX keeps what it compiled for one as long as that exists.
    return jax.jit(functools.partial(_marked))


def _marked(kernel: jax.Array, outputs: jax.Array) -> jax.Array:
    images = outputs.astype(jnp.float32) / 255.0
    marked = images + apply_filter(kernel, images)
    return jnp.rint(jnp.clip(marked, 0.0, 1.0) * 255.0).astype(jnp.uint8)
