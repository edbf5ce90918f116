"""Gradient search: descend on the angle itself (section 4.2 of the paper)."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import _check, progress
from anw_jax.marks import Mark
from anw_jax.verify import executors

_DECAY_FIRST, _DECAY_SECOND, _TINY = 0.8, 0.95, 1e-12


@dataclasses.dataclass(frozen=True, eq=False)
class GradientSearchResult:
    """Where the descents went. For a shared signature `k` below is 1, else num_images.

    Attributes:
      best_degrees: float64 `[k]`, the angle with the lowest loss met, in [0, 360); NaN
        where no loss was finite.
      best_loss: float64 `[k]`, its mean loss in nats.
      best_start: int64 `[k]`, the start whose descent met it.
      degrees: float64 `[num_steps + 1, num_starts, k]`, all trajectories, not wrapped.
      losses: float64, same shape, mean loss in nats along them.
    """

    best_degrees: np.ndarray
    best_loss: np.ndarray
    best_start: np.ndarray
    degrees: np.ndarray
    losses: np.ndarray


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
      chunk_images: images that go through the model together, times `num_starts`.
      seed: of the offset; use `keys.public_seed` in a case.
      on_progress: called with (steps done, steps in all).

    Raises:
      TypeError, ValueError: `predict` that is not a `Partial`, bad images or labels (none,
        or beyond the model's classes), answers of the wrong shape, numbers below 1.
    """
    if not isinstance(predict, jax.tree_util.Partial):
        raise TypeError(
            "gradient_search needs predict = jax.tree_util.Partial(apply, variables), since "
            f"it differentiates the model; got {type(predict).__name__}"
        )
    images = _check.uint8_images(images=images)
    labels = _check.class_labels(len(images), labels=labels)
    _check.integer_at_least(1, num_images=len(images))
    _check.integer_at_least(1, num_starts=num_starts)
    _check.integer_at_least(1, num_steps=num_steps)
    _check.integer_at_least(1, chunk_images=chunk_images)
    _check.positive(step_degrees=step_degrees)
    executors.trace_answers(predict, images.shape[1:], labels)
    spread = np.arange(num_starts) / num_starts + np.random.default_rng(seed).random()
    columns = len(images) if per_image else 1
    theta = np.repeat(spread[:, None] * 360.0, columns, axis=1)
    evaluate = functools.partial(_evaluate, predict, mark, images, labels, chunk_images)
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
    return _best(np.stack(degrees), np.stack(losses))


def _evaluate(
    predict: jax.tree_util.Partial,
    mark: Mark,
    images: np.ndarray,
    labels: np.ndarray,
    chunk_images: int,
    theta: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean losses and slopes per degree for angles `[num_starts, k]`."""
    num_images = len(images)
    shared = theta.shape[1] == 1 and num_images > 1
    spread = np.broadcast_to(theta, (len(theta), num_images)).astype(np.float32)
    chunk_images = min(chunk_images, num_images)
    losses = np.zeros((len(theta), num_images))
    slopes = np.zeros_like(losses)
    answers = []
    for start in range(0, num_images, chunk_images):
        # The last chunk is padded by repeating its last image, to keep one trace.
        rows = np.minimum(np.arange(start, start + chunk_images), num_images - 1)
        answer = _losses_and_slopes(predict, mark, images[rows], labels[rows], spread[:, rows])
        answers.append((rows, answer))
    for rows, (loss, slope) in answers:
        losses[:, rows], slopes[:, rows] = np.asarray(loss), np.asarray(slope)
    usable = np.isfinite(losses) & np.isfinite(slopes)
    slopes = np.where(usable, slopes, 0.0)
    losses = np.where(usable, losses, np.nan)
    if not shared:
        return losses, slopes
    counts = usable.sum(axis=1, keepdims=True)
    sums = np.where(usable, losses, 0.0).sum(axis=1, keepdims=True)
    means = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    return means, slopes.sum(axis=1, keepdims=True) / np.maximum(counts, 1)


@functools.partial(jax.jit, static_argnames="mark")
def _losses_and_slopes(
    predict: jax.tree_util.Partial,
    mark: Mark,
    images: jax.Array,
    labels: jax.Array,
    theta: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Losses `[num_starts, b]` and their derivatives by the angles of the same shape."""
    floats = images.astype(jnp.float32) / jnp.float32(255.0)

    def losses_of_start(angles: jax.Array) -> jax.Array:
        with jax.default_matmul_precision(executors.PRECISION):
            marked = jax.vmap(mark.mark_unchecked)(floats, angles)
            logits = predict(marked)
        log_probabilities = jax.nn.log_softmax(logits.astype(jnp.float32))
        return -jnp.take_along_axis(log_probabilities, labels[:, None], axis=1)[:, 0]

    def total(theta: jax.Array) -> tuple[jax.Array, jax.Array]:
        losses = jax.vmap(losses_of_start)(theta)
        return losses.sum(), losses

    # Each loss depends on its own angle alone, so the gradient of the sum is all slopes.
    (_, losses), slopes = jax.value_and_grad(total, has_aux=True)(theta)
    return losses, slopes


def _best(degrees: np.ndarray, losses: np.ndarray) -> GradientSearchResult:
    """Picks, for each signature, the lowest loss on any trajectory."""
    num_starts, columns = losses.shape[1:]
    safe = np.where(np.isfinite(losses), losses, np.inf)
    flat = safe.reshape(-1, columns).argmin(axis=0)
    picked = (flat // num_starts, flat % num_starts, np.arange(columns))
    return GradientSearchResult(
        best_degrees=np.where(np.isfinite(losses[picked]), degrees[picked] % 360.0, np.nan),
        best_loss=losses[picked],
        best_start=picked[1],
        degrees=degrees,
        losses=losses,
    )
