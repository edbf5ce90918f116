"""Descents on the angle: losses, slopes and steps, for many signatures at once."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import progress
from anw_jax.verify import executors

_DECAY_FIRST, _DECAY_SECOND, _TINY = 0.8, 0.95, 1e-12

# Mean losses and slopes per degree, `[num_starts, k]` both, at angles of that shape.
Evaluate = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def descend(
    evaluate: Evaluate,
    theta: np.ndarray,
    num_steps: int,
    step_degrees: float,
    on_progress: progress.ProgressFn,
) -> tuple[np.ndarray, np.ndarray]:
    """Angles and losses `[num_steps + 1, num_starts, k]` along the steps of Adam.

    Kingma and Ba (2015), https://arxiv.org/abs/1412.6980, algorithm 1, with steps that
    shrink to nothing along a cosine.
    """
    degrees, losses = [], []
    first, second = np.zeros_like(theta), np.zeros_like(theta)
    for step in range(num_steps + 1):
        loss, slope = evaluate(theta)
        degrees.append(theta)
        losses.append(loss)
        first = _DECAY_FIRST * first + (1 - _DECAY_FIRST) * slope
        second = _DECAY_SECOND * second + (1 - _DECAY_SECOND) * slope**2
        direction = (first / (1 - _DECAY_FIRST ** (step + 1))) / (
            np.sqrt(second / (1 - _DECAY_SECOND ** (step + 1))) + _TINY
        )
        size = step_degrees * 0.5 * (1 + np.cos(np.pi * step / num_steps))
        theta = theta - size * direction
        on_progress(step, num_steps)
    return np.stack(degrees), np.stack(losses)


def evaluate_chunks(
    predict: jax.tree_util.Partial,
    mark_pixels: Callable[[jax.Array, jax.Array, Any], jax.Array],
    constants: Any,
    images: np.ndarray,
    labels: np.ndarray,
    mark_of_image: np.ndarray,
    signature_of_image: np.ndarray,
    chunk_images: int,
    theta: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean losses and slopes per degree for angles `[num_starts, k]`, one per signature."""
    num_images = len(images)
    angles = theta[:, signature_of_image].astype(np.float32)
    chunk_images = min(chunk_images, num_images)
    losses = np.zeros(angles.shape)
    slopes = np.zeros_like(losses)
    answers = []
    for start in range(0, num_images, chunk_images):
        # The last chunk is padded by repeating its last image, to keep one trace.
        rows = np.minimum(np.arange(start, start + chunk_images), num_images - 1)
        block = (images[rows], labels[rows], mark_of_image[rows], angles[:, rows])
        answers.append((rows, losses_and_slopes(predict, mark_pixels, constants, *block)))
    for rows, (loss, slope) in answers:
        losses[:, rows], slopes[:, rows] = np.asarray(loss), np.asarray(slope)
    return _means(losses, slopes, signature_of_image, theta.shape[1])


def _means(
    losses: np.ndarray, slopes: np.ndarray, signature_of_image: np.ndarray, num_signatures: int
) -> tuple[np.ndarray, np.ndarray]:
    """Means over the images of each signature; what is not finite is left out."""
    usable = np.isfinite(losses) & np.isfinite(slopes)
    sums = np.zeros((3, num_signatures, len(losses)))
    parts = (usable, np.where(usable, losses, 0.0), np.where(usable, slopes, 0.0))
    for total, part in zip(sums, parts, strict=True):
        np.add.at(total, signature_of_image, part.T)
    counts, loss_sums, slope_sums = sums
    means = np.divide(loss_sums, counts, out=np.full_like(counts, np.nan), where=counts > 0)
    return means.T, (slope_sums / np.maximum(counts, 1)).T


@functools.partial(jax.jit, static_argnames="mark_pixels")
def losses_and_slopes(
    predict: jax.tree_util.Partial,
    mark_pixels: Callable[[jax.Array, jax.Array, Any], jax.Array],
    constants: Any,
    images: jax.Array,
    labels: jax.Array,
    mark_of_image: jax.Array,
    theta: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Losses `[num_starts, b]` and their derivatives by the angles of the same shape."""
    floats = images.astype(jnp.float32) / jnp.float32(255.0)
    own = jax.tree.map(lambda table: table[mark_of_image], constants)

    def losses_of_start(angles: jax.Array) -> jax.Array:
        with jax.default_matmul_precision(executors.PRECISION):
            logits = predict(jax.vmap(mark_pixels)(floats, angles, own))
        log_probabilities = jax.nn.log_softmax(logits.astype(jnp.float32))
        return -jnp.take_along_axis(log_probabilities, labels[:, None], axis=1)[:, 0]

    def total(theta: jax.Array) -> tuple[jax.Array, jax.Array]:
        losses = jax.vmap(losses_of_start)(theta)
        return losses.sum(), losses

    # Each loss depends on its own angle alone, so the gradient of the sum is all slopes.
    (_, losses), slopes = jax.value_and_grad(total, has_aux=True)(theta)
    return losses, slopes
