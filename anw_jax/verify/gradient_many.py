"""Gradient search for many signatures at once, of one owner or of many."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import numpy as np

from anw_jax import _check, progress
from anw_jax.marks import Mark
from anw_jax.verify import descent, executors
from anw_jax.verify.mark_tables import check_marks, owners, stack
from anw_jax.verify.self_check import check_jax


@dataclasses.dataclass(frozen=True, eq=False)
class GradientSearchResult:
    """Where the descents went; `k` is the number of signatures sought.

    Attributes:
      best_degrees: float64 `[k]`, the angle with the lowest loss met, in [0, 360); NaN
        where no loss was finite.
      best_loss: float64 `[k]`, its mean loss in nats.
      best_start: int64 `[k]`, the start whose descent met it.
      degrees: float64 `[num_steps + 1, num_starts, k]`, all trajectories, not wrapped.
      losses: float64, same shape, mean loss in nats along them.
      num_forward: pictures sent forward through the model, (num_steps + 1) · num_starts ·
        num_images, padding not counted. A grid of N angles sends N · num_images.
      num_backward: pictures sent backward, for the gradient by the picture (not by the
        weights); as many. A grid sends none.
    """

    best_degrees: np.ndarray
    best_loss: np.ndarray
    best_start: np.ndarray
    degrees: np.ndarray
    losses: np.ndarray
    num_forward: int
    num_backward: int


def gradient_search_many(
    predict: jax.tree_util.Partial,
    images: np.ndarray,
    labels: np.ndarray,
    marks: Sequence[Mark],
    mark_of_image: np.ndarray,
    signature_of_image: np.ndarray,
    *,
    num_starts: int = 12,
    num_steps: int = 60,
    step_degrees: float = 6.0,
    starts_degrees: np.ndarray | None = None,
    chunk_images: int = 16,
    seed: int = 0,
    on_progress: progress.ProgressFn = progress.silent,
) -> GradientSearchResult:
    """`gradient_search` for the signatures of many owners, in one compiled program.

    Images that share a signature are averaged; every signature descends on its own.

    Args:
      predict: `jax.tree_util.Partial(apply, variables)`, [0, 1] images → logits.
      images: *unmarked* uint8 originals of all owners `[n, H, W, 3]`.
      labels: integers `[n]`.
      marks: the owners' marks, all of one type.
      mark_of_image: integers `[n]` in [0, len(marks)).
      signature_of_image: integers `[n]`, 0 … k - 1: which images share a signature. A number
        without images is inferred as NaN.
      num_starts: descents per signature.
      num_steps: steps of each.
      step_degrees: size of the first steps.
      starts_degrees: where to start, `[num_starts]` for all signatures or `[num_starts, k]`;
        takes the place of `num_starts` and `seed`.
      chunk_images: images that go through the model together, times the starts.
      seed: of the offset of the starts.
      on_progress: called with (steps done, steps in all).

    Returns:
      The `GradientSearchResult`; `lowest_degrees` of `grid_search_many` gives cheap starts.

    Raises:
      TypeError, ValueError: as `gradient_search`; marks and indices as in `loss_tables`;
        starts of another shape, or not finite.

    Example:
      >>> def blueness(images):
      ...     blue = images[..., 2].mean((1, 2)) - images.mean((1, 2, 3))
      ...     return jax.numpy.stack([-blue, blue], axis=1)
      >>> from anw_jax.marks import HueRotation
      >>> photos = np.full((2, 2, 2, 3), [150, 120, 100], np.uint8)
      >>> result = gradient_search_many(
      ...     jax.tree_util.Partial(blueness), photos, np.array([0, 1]), [HueRotation()],
      ...     [0, 0], [0, 1], num_starts=2, num_steps=20)
      >>> apart = np.diff(result.best_degrees)[0] % 360  # least and most blue
      >>> bool(abs(apart - 180) < 1), result.num_forward
      (True, 84)
    """
    check_jax()
    if not isinstance(predict, jax.tree_util.Partial):
        raise TypeError(
            "gradient_search needs predict = jax.tree_util.Partial(apply, variables), since "
            f"it differentiates the model; got {type(predict).__name__}"
        )
    images = _check.uint8_images(images=images)
    num_images = _check.integer_at_least(1, num_images=len(images))
    labels = _check.class_labels(num_images, labels=labels)
    mark_of_image = check_marks(marks, mark_of_image, num_images)
    signature_of_image = owners(num_images, signature_of_image=signature_of_image)
    _check.integer_at_least(1, num_starts=num_starts)
    _check.integer_at_least(1, num_steps=num_steps)
    _check.integer_at_least(1, chunk_images=chunk_images)
    _check.positive(step_degrees=step_degrees)
    num_signatures = int(signature_of_image.max()) + 1
    if starts_degrees is None:
        spread = np.arange(num_starts) / num_starts + np.random.default_rng(seed).random()
        starts_degrees = spread * 360.0
    theta = _starts(starts_degrees, num_signatures)
    executors.trace_answers(predict, images.shape[1:], labels)
    evaluate = functools.partial(
        descent.evaluate_chunks,
        predict,
        type(marks[0]).mark_pixels,
        jax.device_put(stack([mark.constants for mark in marks])),
        images,
        labels,
        mark_of_image,
        signature_of_image,
        chunk_images,
    )
    degrees, losses = descent.descend(evaluate, theta, num_steps, step_degrees, on_progress)
    return _best(degrees, losses, num_images)


def _starts(starts_degrees: np.ndarray, num_signatures: int) -> np.ndarray:
    """First angles, float64 `[num_starts, k]`."""
    starts = np.asarray(starts_degrees, np.float64)
    fits = starts.ndim == 1 or starts.shape[1:] == (num_signatures,)
    if not starts.size or not fits or not np.isfinite(starts).all():
        raise ValueError(
            "starts_degrees must be finite, of shape [num_starts] or "
            f"[num_starts, {num_signatures}], got shape {starts.shape}"
        )
    columns = starts[:, None] if starts.ndim == 1 else starts
    return np.broadcast_to(columns, (len(starts), num_signatures)).copy()


def _best(degrees: np.ndarray, losses: np.ndarray, num_images: int) -> GradientSearchResult:
    """Picks, for each signature, the lowest loss on any trajectory."""
    num_points, num_starts, columns = losses.shape
    safe = np.where(np.isfinite(losses), losses, np.inf)
    flat = safe.reshape(-1, columns).argmin(axis=0)
    picked = (flat // num_starts, flat % num_starts, np.arange(columns))
    return GradientSearchResult(
        best_degrees=np.where(np.isfinite(losses[picked]), degrees[picked] % 360.0, np.nan),
        best_loss=losses[picked],
        best_start=picked[1],
        degrees=degrees,
        losses=losses,
        num_forward=num_points * num_starts * num_images,
        num_backward=num_points * num_starts * num_images,
    )
