"""Layers shared by several networks."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from anw_jax.models.design import Design

# https://arxiv.org/abs/1502.01852, Eq. 10 and 14: whether the signal or the gradient keeps
# its scale matters only where no normalisation follows.
KEEP_SIGNAL = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
KEEP_GRADIENT = nn.initializers.variance_scaling(2.0, "fan_out", "normal")

_MAX_GROUPS = 32
_MIN_GROUP_CHANNELS = 2
_EPSILON = 1e-5

_NHWC = ("NHWC", "HWIO", "NHWC")
_Pair = tuple[int, int]


def conv(width: int, size: int, stride: int = 1, **options: Any) -> nn.Conv:
    """Return a square convolution without bias, padded by half its size on every side.

    Args:
      width: output channels.
      size: side of the kernel in pixels, odd.
      stride: in pixels.
      **options: of `flax.linen.Conv`; they replace those set here.
    """
    # Explicit padding: "SAME" pads a strided convolution on one side only.
    padding = ((size - 1) // 2, (size - 1) // 2)
    defaults = {
        "padding": (padding, padding),
        "use_bias": False,
        "kernel_init": KEEP_GRADIENT,
        "conv_general_dilated": convolve,
    }
    return nn.Conv(width, (size, size), (stride, stride), **defaults | options)


def convolve(
    images: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    padding: str | Sequence[_Pair],
    **options: Any,
) -> jax.Array:
    """Convolve as `jax.lax.conv_general_dilated` does, with gradients as fast inside loops.

    JAX emits the gradients of a convolution with permuted dimensions. On CPU, XLA restores
    their order, but not inside loops (`scan`, `fori_loop`, `lax.map`), where such gradients
    take up to 36 times as long. Here they are emitted in canonical order and agree bit for bit
    with JAX's own outside loops. As with every `jax.custom_vjp` there is no forward-mode
    derivative.

    Args:
      images: `[b, H, W, c]`.
      kernel: `[h, w, c, d]`, of the type of `images`.
      strides: of rows and columns, in pixels.
      padding: pixels before and after the rows and the columns; a name ("SAME", "VALID")
        means JAX's own gradients.
      **options: further arguments of `jax.lax.conv_general_dilated`; groups and dilations
        mean JAX's own gradients.

    Returns:
      `[b, H', W', d]`.
    """
    options["dimension_numbers"] = _NHWC
    dilations = (options.get("lhs_dilation"), options.get("rhs_dilation"))
    is_plain = (
        not isinstance(padding, str)
        and options.get("feature_group_count", 1) == 1
        and all(set(dilation or (1,)) == {1} for dilation in dilations)
    )
    if not is_plain:
        return lax.conv_general_dilated(images, kernel, strides, padding, **options)
    padding = tuple(map(tuple, padding))
    return _convolve(images, kernel, tuple(strides), padding, options.get("precision"))


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _convolve(
    images: jax.Array,
    kernel: jax.Array,
    strides: _Pair,
    padding: tuple[_Pair, _Pair],
    precision: Any,
) -> jax.Array:
    chex.assert_rank([images, kernel], 4)
    chex.assert_equal(images.shape[3], kernel.shape[2])
    return lax.conv_general_dilated(
        images, kernel, strides, padding, dimension_numbers=_NHWC, precision=precision
    )


def _convolve_forward(
    images: jax.Array, kernel: jax.Array, *options: Any
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _convolve(images, kernel, *options), (images, kernel)


def _convolve_backward(
    strides: _Pair,
    padding: tuple[_Pair, _Pair],
    precision: Any,
    saved: tuple[jax.Array, jax.Array],
    cotangent: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Return the cotangents of images and kernel, as convolutions of the same layout."""
    images, kernel = saved
    convolve = partial(
        lax.conv_general_dilated,
        window_strides=(1, 1),
        dimension_numbers=_NHWC,
        precision=precision,
    )
    # Along each axis: pixels of the image, of the kernel, of the cotangent with its gaps.
    gapped = [
        (size - 1) * stride + 1
        for size, stride in zip(cotangent.shape[1:3], strides, strict=True)
    ]
    sizes = list(zip(images.shape[1:3], kernel.shape[:2], gapped, padding, strict=True))
    by_images = convolve(
        cotangent,
        kernel[::-1, ::-1].transpose(0, 1, 3, 2),
        padding=[(k - 1 - low, n + low - g) for n, k, g, (low, _) in sizes],
        lhs_dilation=strides,
    )
    # Channels and batch are exchanged.
    by_kernel = convolve(
        images.transpose(3, 1, 2, 0),
        cotangent.transpose(1, 2, 0, 3),
        padding=[(low, k + g - 1 - n - low) for n, k, g, (low, _) in sizes],
        rhs_dilation=strides,
    )
    return by_images, by_kernel.transpose(1, 2, 0, 3)


_convolve.defvjp(_convolve_forward, _convolve_backward)


def conv_and_norm(design: Design, train: bool) -> tuple[Any, Any]:
    """Return `conv` and `norm` with the dtype, the kind and the mode of one network."""
    return partial(conv, dtype=design.dtype), partial(norm, train=train, kind=design.norm)


def norm(
    x_bhwc: jax.Array,
    train: bool,
    kind: str,
    name: str | None = None,
    batch_epsilon: float = _EPSILON,
) -> jax.Array:
    """Normalise in float32 whatever the type of x, and return that type.

    Args:
      x_bhwc: features `[b, H, W, c]`.
      train: whether BatchNorm uses this batch and moves its averages; GroupNorm acts on
        each image alone and has no averages.
      kind: "batch" (https://arxiv.org/abs/1502.03167) or "group"
        (https://arxiv.org/abs/1803.08494), of `num_groups` groups.
      name: of the layer, where the automatic one is not wanted.
      batch_epsilon: what BatchNorm adds to the variance.
    """
    if kind == "group":
        groups = num_groups(x_bhwc.shape[-1])
        layer = nn.GroupNorm(num_groups=groups, epsilon=_EPSILON, name=name)
    else:
        # Flax's own mixture of types breaks under strict promotion.
        layer = nn.BatchNorm(
            use_running_average=not train, momentum=0.9, epsilon=batch_epsilon, name=name
        )
    return layer(x_bhwc.astype(jnp.float32)).astype(x_bhwc.dtype)


def num_groups(num_channels: int) -> int:
    """Return the groups of GroupNorm: 32, or the largest divisor of the channels below.

    Every group has at least 2 channels (unless there is only one): one channel of one pixel is
    its own mean, so normalising it would leave nothing.

    Example:
      >>> [num_groups(channels) for channels in (1, 8, 48, 64, 2208)]
      [1, 4, 24, 32, 32]
    """
    most = min(_MAX_GROUPS, max(1, num_channels // _MIN_GROUP_CHANNELS))
    return max(groups for groups in range(1, most + 1) if num_channels % groups == 0)


def half_max_pool(x_bhwc: jax.Array) -> jax.Array:
    """Return the 2x2 max-pool of stride 2; a last odd row or column is pooled alone."""
    batch, height, width, channels = x_bhwc.shape
    odd = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
    x = jnp.pad(x_bhwc, odd, constant_values=-jnp.inf) if height % 2 or width % 2 else x_bhwc
    # Not nn.max_pool: XLA's gradient of a windowed maximum is slow on CPU.
    cells = x.reshape(batch, (height + 1) // 2, 2, (width + 1) // 2, 2, channels)
    return cells.max(axis=(2, 4))


def half_mean(x_bhwc: jax.Array) -> jax.Array:
    """Return the 2x2 mean-pool of stride 2; a last odd row or column is left out.

    Raises:
      ValueError: if no pixel is left.
    """
    batch, height, width, channels = x_bhwc.shape
    rows, columns = height // 2, width // 2
    _refuse_no_pixel(rows, columns)
    even = x_bhwc[:, : 2 * rows, : 2 * columns]
    # Not nn.avg_pool: it divides by an integer, which strict promotion rejects.
    return even.reshape(batch, rows, 2, columns, 2, channels).mean(axis=(2, 4))


def stem_max_pool(x_bhwc: jax.Array) -> jax.Array:
    """Return the 3x3 max-pool of stride 2, padded by one pixel."""
    return nn.max_pool(x_bhwc, (3, 3), (2, 2), ((1, 1), (1, 1)))


def grid_mean(x_bhwc: jax.Array, side: int) -> jax.Array:
    """Return means over a `side` x `side` grid, so that dense layers fit any resolution.

    Cell i of n covers rows floor(i H / n) to ceil((i + 1) H / n), columns likewise; cells
    overlap where H is no multiple of n, and repeat pixels where it is smaller.

    Args:
      x_bhwc: features `[b, H, W, c]`.
      side: cells along each side.

    Returns:
      `[b, side, side, c]`, of x's type.

    Raises:
      ValueError: if no pixel is left.
    """
    chex.assert_rank(x_bhwc, 4)
    height, width = x_bhwc.shape[1:3]
    _refuse_no_pixel(height, width)
    if (height, width) == (side, side):
        return x_bhwc
    rows, columns = (
        jnp.asarray(_cell_weights(size, side), x_bhwc.dtype) for size in (height, width)
    )
    return jnp.einsum("bhwc,ih,jw->bijc", x_bhwc, rows, columns)


def _refuse_no_pixel(height: int, width: int) -> None:
    if height == 0 or width == 0:
        raise ValueError("images are too small for this network: its pools leave no pixel")


def _cell_weights(size: int, num_cells: int) -> np.ndarray:
    """Return `[num_cells, size]`: the share of each pixel in the mean of each cell."""
    cells, pixels = np.arange(num_cells)[:, None], np.arange(size)[None, :]
    starts, ends = cells * size // num_cells, -(-(cells + 1) * size // num_cells)
    return ((pixels >= starts) & (pixels < ends)) / (ends - starts)


def global_mean(x_bhwc: jax.Array) -> jax.Array:
    """Return the mean over all pixels: `[b, H, W, c]` to float32 `[b, c]`."""
    chex.assert_rank(x_bhwc, 4)
    return x_bhwc.astype(jnp.float32).mean(axis=(1, 2))


def tapped(
    net: nn.Module, variables: dict[str, Any], names: tuple[str, ...], *inputs: Any
) -> tuple[jax.Array, ...]:
    """Return the outputs of inner layers.

    Args:
      net: the network.
      variables: its variables.
      names: of layers that it has.
      *inputs: of the network's call.
    """
    _, state = net.apply(
        variables,
        *inputs,
        capture_intermediates=lambda module, _: module.path in {(name,) for name in names},
        mutable=["intermediates"],
    )
    return tuple(state["intermediates"][name]["__call__"][0] for name in names)
