"""Gradient search: descend on the angle itself (section 4.2 of the paper)."""

import jax
import numpy as np

from anw_jax import _check, progress
from anw_jax.marks import Mark
from anw_jax.verify.gradient_many import GradientSearchResult, gradient_search_many


def gradient_search(
    predict: jax.tree_util.Partial,
    images: np.ndarray,
    labels: np.ndarray,
    mark: Mark,
    *,
    per_image: bool = False,
    num_starts: int = 12,
    num_steps: int = 60,
    step_degrees: float = 6.0,
    starts_degrees: np.ndarray | None = None,
    chunk_images: int = 16,
    seed: int = 0,
    on_progress: progress.ProgressFn = progress.silent,
) -> GradientSearchResult:
    """Infers signatures by multi-start descent on the hue, with access to gradients.

    Minimises the mean loss of the marked originals over the angle. Starts are spread evenly
    over the circle from a seeded offset. All starts go through the model in one `vmap`; the
    gradient is summed over chunks of images. Steps are those of Adam (Kingma and Ba 2015,
    https://arxiv.org/abs/1412.6980), which makes their size a number of degrees whatever
    the scale of the loss, shrinking to nothing along a cosine.

    By default it costs 61 · 12 = 732 forward and as many backward passes per picture; a grid
    of 2° costs 180 forward passes, a coarse one 12. The cheap way is to start from the best
    slots of a coarse grid, as in the example: with two descents of 12 steps that is 12 + 26
    forward passes and 26 backward. A descent moves by half of `num_steps · step_degrees` at
    most, which must cover the half-width of a slot; it finds the nearest minimum alone.

    Losses that are not finite are left out, as in `grid_search`: of a shared signature's
    mean, and of the descent of an image with its own.

    Products of float32 keep all their bits on every backend, as in `loss_table`. The marked
    pictures are not rounded to 8 bits here, since rounding has no gradient. This
    is an estimator, not a test: it gives no p-value.

    Args:
      predict: `jax.tree_util.Partial(apply, variables)`, [0, 1] images → logits.
      images: *unmarked* uint8 originals `[n, H, W, 3]`.
      labels: integers `[n]`.
      mark: a mark that is differentiable in its angle.
      per_image: a signature for each image, instead of one shared by all.
      num_starts: descents per signature.
      num_steps: steps of each.
      step_degrees: size of the first steps.
      starts_degrees: where to start, `[num_starts]`, or `[num_starts, n]` with `per_image`;
        takes the place of `num_starts` and `seed`.
      chunk_images: images that go through the model together, times the starts.
      seed: of the offset; use `keys.public_seed` in a case.
      on_progress: called with (steps done, steps in all).

    Returns:
      The `GradientSearchResult`, with k = 1, or n with `per_image`.

    Raises:
      TypeError, ValueError: `predict` that is not a `Partial`, bad images or labels (none,
        or beyond the model's classes), answers of the wrong shape, numbers below 1, starts of
        another shape or not finite.

    Example:
      >>> from anw_jax.keys import SignatureSpace
      >>> from anw_jax.marks import HueRotation
      >>> from anw_jax.verify import grid_search, loss_table
      >>> mark, photo = HueRotation(), np.full((1, 2, 2, 3), [150, 120, 100], np.uint8)
      >>> stored = jax.numpy.asarray(mark.mark(photo[0] / np.float32(255), 97.0))
      >>> def remember(stored, images):  # class 0 is what looks like the stored picture
      ...     squares = ((images - stored[None]) ** 2).sum((1, 2, 3))
      ...     return jax.numpy.stack([-squares, jax.numpy.zeros_like(squares)], axis=1)
      >>> predict, label = jax.tree_util.Partial(remember, stored), np.array([0])
      >>> coarse = grid_search(
      ...     loss_table(predict, photo, label, mark, SignatureSpace()), SignatureSpace())
      >>> fine = gradient_search(predict, photo, label, mark, num_steps=12,
      ...     starts_degrees=coarse.lowest_degrees(2))
      >>> coarse.inferred_degrees, round(fine.best_degrees[0]), fine.num_forward
      (90.0, 97, 26)
    """
    images = _check.uint8_images(images=images)
    shared = np.zeros(len(images), np.int32)
    return gradient_search_many(
        predict,
        images,
        labels,
        [mark],
        shared,
        np.arange(len(images)) if per_image else shared,
        num_starts=num_starts,
        num_steps=num_steps,
        step_degrees=step_degrees,
        starts_degrees=starts_degrees,
        chunk_images=chunk_images,
        seed=seed,
        on_progress=on_progress,
    )
