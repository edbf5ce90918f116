"""Batched gradient descent over signatures, and chunked evaluation of the mean loss."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from anw_jax import _check, progress
from anw_jax.verify.losses import rows_of

_DECAY_FIRST, _DECAY_SECOND, _TINY = 0.8, 0.95, 1e-12

# Returns losses and derivatives per degree for a block of rows, at one angle per row.
Evaluate = Callable[..., tuple[Any, Any]]


class Optimizer(Protocol):
    """The part of optax's `GradientTransformation` that a search uses.

    All starts of all signatures are entries of one array: `update` must be elementwise (as in
    SGD and Adam), otherwise the descents interact.
    """

    def init(self, degrees: np.ndarray) -> Any:
        """Return the state before the first step."""

    def update(self, slopes: np.ndarray, state: Any, degrees: np.ndarray) -> tuple[Any, Any]:
        """Return the increment of the angles in degrees, and the next state."""


class CosineAdam:
    """Adam with cosine decay of the step size to zero; the default optimizer.

    Kingma and Ba (2015), https://arxiv.org/abs/1412.6980, algorithm 1. The step size is in
    degrees and does not depend on the scale of the loss.

    Args:
      step_degrees: initial step size in degrees, above 0.
      num_steps: number of steps over which the step size decays to 0.
    """

    def __init__(self, step_degrees: float, num_steps: int):
        self._step_degrees = _check.positive(step_degrees=step_degrees)
        self._num_steps = num_steps

    def init(self, degrees: np.ndarray) -> Any:
        """See `Optimizer.init`."""
        return 0, np.zeros_like(degrees), np.zeros_like(degrees)

    def update(self, slopes: np.ndarray, state: Any, degrees: np.ndarray) -> tuple[Any, Any]:
        """See `Optimizer.update`."""
        step, first, second = state
        first = _DECAY_FIRST * first + (1 - _DECAY_FIRST) * slopes
        second = _DECAY_SECOND * second + (1 - _DECAY_SECOND) * slopes**2
        direction = (first / (1 - _DECAY_FIRST ** (step + 1))) / (
            np.sqrt(second / (1 - _DECAY_SECOND ** (step + 1))) + _TINY
        )
        size = self._step_degrees * 0.5 * (1 + np.cos(np.pi * step / self._num_steps))
        return -size * direction, (step + 1, first, second)


def descend(
    evaluate: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    theta: np.ndarray,
    optimizer: Optimizer,
    num_steps: int,
    on_progress: progress.ProgressFn,
) -> tuple[np.ndarray, np.ndarray]:
    """Run the descents; return angles and losses `[num_steps + 1, num_starts, k]`.

    Raises:
      TypeError: an optimizer without `init` and `update`.
    """
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise TypeError(
            "optimizer must have init and update, as optax's optimizers do, got "
            f"{type(optimizer).__name__}"
        )
    degrees, losses = [], []
    state = optimizer.init(theta)
    for step in range(num_steps + 1):
        loss, slope = evaluate(theta)
        degrees.append(theta)
        losses.append(loss)
        updates, state = optimizer.update(slope, state, theta)
        theta = theta + np.asarray(updates, np.float64)
        on_progress(step, num_steps)
    return np.stack(degrees), np.stack(losses)


def mean_of_chunks(
    evaluate: Evaluate,
    rows: tuple[Any, ...],
    signature_of_image: np.ndarray,
    chunk_images: int,
    theta: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute mean losses and derivatives at angles `[num_starts, k]`, one per signature.

    Args:
      evaluate: takes a block of `rows` and the angles `[num_starts, b]` of its images.
      rows: pytrees of arrays `[n, …]`.
      signature_of_image: int32 `[n]`.
      chunk_images: number of rows in a block.
      theta: the angles in degrees.

    Returns:
      Two float64 arrays with the shape of `theta`. Non-finite terms are excluded; for a
      signature without finite terms the loss is NaN and the derivative 0.
    """
    num_images = len(signature_of_image)
    angles = theta[:, signature_of_image].astype(np.float32)
    chunk_images = min(chunk_images, num_images)
    terms = np.zeros((2, *angles.shape))
    answers = []
    for start in range(0, num_images, chunk_images):
        # The last chunk is padded by repeating its last image, to keep one trace.
        block = np.minimum(np.arange(start, start + chunk_images), num_images - 1)
        part = evaluate(*rows_of(rows, block), angles[:, block])
        answers.append((block, part))
    for block, part in answers:
        terms[:, :, block] = np.asarray(part)
    usable = np.isfinite(terms).all(axis=0)
    sums = np.zeros((3, theta.shape[1], len(theta)))
    for total, part in zip(sums, (usable, *np.where(usable, terms, 0.0)), strict=True):
        np.add.at(total, signature_of_image, part.T)
    counts, loss_sums, slope_sums = sums
    means = np.divide(loss_sums, counts, out=np.full_like(counts, np.nan), where=counts > 0)
    return means.T, (slope_sums / np.maximum(counts, 1)).T
