"""A first guess at how long a training takes, before anything large is compiled."""

import math
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from anw_jax.models import Model
from anw_jax.train.settings import TrainSettings

# Forward and backward pass together cost about three forward passes.
_PASSES = 3.0

# A layer from the middle of a small ResNet stands in for the whole network.
_PROBE_IMAGES, _PROBE_SIDE, _PROBE_WIDTH = 32, 16, 96

# Shorter measurements would be of dispatch: one probe takes an accelerator microseconds.
_PROBE_SECONDS = 0.2


def forecast_seconds(
    model: Model, settings: TrainSettings, num_images: int, image_shape: tuple[int, int, int]
) -> float | None:
    """Return the seconds that training will take here, from FLOPs; right within a few times.

    The FLOPs of the network, as XLA counts them before compiling, over the speed of one
    convolution with its gradients, timed here in about a second. `train` reports a better
    figure once its first step is compiled, which a deep network may take minutes to do.

    Args:
      model: the network.
      settings: how it is trained.
      num_images: in the training set.
      image_shape: `(H, W, 3)`.

    Returns:
      Seconds, or None where the backend does not count FLOPs.
    """
    flops_per_image = _PASSES * forward_flops(model, image_shape)
    if math.isnan(flops_per_image):
        return None
    images = settings.num_steps(num_images) * settings.batch_size
    return images * flops_per_image / _flops_per_second()


def forward_flops(model: Model, image_shape: tuple[int, int, int]) -> float:
    """Return the FLOPs of one image's forward pass; a multiply-add counts as two.

    NaN where the backend does not count them.

    Example:
      >>> from anw_jax import models
      >>> round(forward_flops(models.create("testing", 10), (32, 32, 3)) / 1e6, 1)
      1.1
    """
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), image_shape))
    image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    return _counted_flops(jax.jit(model.__call__).lower(variables, image).cost_analysis())


def _counted_flops(costs: Any) -> float:
    """Return the FLOPs in what a backend says of costs: a dict, a list of one, or nothing."""
    if isinstance(costs, list | tuple):
        costs = costs[0] if costs else None
    flops = costs.get("flops", math.nan) if isinstance(costs, dict) else math.nan
    return float(flops) if flops > 0 else math.nan  # some say -1 for "unknown"


def _flops_per_second() -> float:
    """Return the speed of one 3x3 convolution with its gradients."""
    shape = (_PROBE_IMAGES, _PROBE_SIDE, _PROBE_SIDE, _PROBE_WIDTH)
    images = jnp.ones(shape, jnp.float32)
    kernel = jnp.ones((3, 3, _PROBE_WIDTH, _PROBE_WIDTH), jnp.float32)

    @jax.grad
    def slope(kernel: jax.Array) -> jax.Array:
        out = jax.lax.conv_general_dilated(
            images, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return (out * out).sum()

    # Each needs the one before it, so none can overtake another or run beside it.
    descend = jax.jit(lambda kernel: kernel - 1e-12 * slope(kernel))
    # Forward, and the gradient by the kernel; the images need none here.
    flops = 2 * 2 * 9 * _PROBE_WIDTH**2 * _PROBE_IMAGES * _PROBE_SIDE**2
    return flops / _seconds_each(descend, kernel)


def _seconds_each(step: Callable[[jax.Array], jax.Array], value: jax.Array) -> float:
    """Return the seconds of one compiled step, from as many in a row as take a while."""
    value = step(value).block_until_ready()
    count = 1
    while True:
        start = time.perf_counter()
        for _ in range(count):
            value = step(value)
        value.block_until_ready()
        seconds = time.perf_counter() - start
        if seconds > _PROBE_SECONDS:
            return seconds / count
        count *= 4
