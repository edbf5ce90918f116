"""Per-image losses of classifiers and other models.

A loss is a function `(predict, images, targets) -> losses` that calls the model as needed and
returns float `[b]`, one loss per image; lower values mean a better fit. Its other inputs
(noise, negatives, a schedule) must be public, fixed before the queries, and the same for all
slots of an image: the exact test compares slots with one another, so any loss that treats them
alike gives a valid p. A loss with its own arrays is a `jax.tree_util.Partial`.

`loss_table`, `objective` and `gradient_search` take a loss; the default is `cross_entropy`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import _check

LossFn = Callable[[Callable[..., Any], jax.Array, Any], jax.Array]


def as_partial(loss: LossFn) -> jax.tree_util.Partial:
    """Return a loss as a pytree, so that it is an argument of compiled programs."""
    return loss if isinstance(loss, jax.tree_util.Partial) else jax.tree_util.Partial(loss)


def rows_of(tree: Any, rows: np.ndarray) -> Any:
    """Return the given rows of every array of a pytree.

    Example:
      >>> rows_of((np.arange(4), None), np.array([3, 0]))
      (array([3, 0]), None)
    """
    return jax.tree.map(lambda array: array[rows], tree)


def cross_entropy(
    predict: Callable[[jax.Array], jax.Array], images: jax.Array, labels: jax.Array
) -> jax.Array:
    """Return the cross-entropy of a classifier in nats.

    Args:
      predict: maps float32 `[b, H, W, 3]` in [0, 1] to logits `[b, num_classes]`.
      images: float32 `[b, H, W, 3]`.
      labels: integers `[b]`.

    Returns:
      float32 `[b]`.

    Example:
      >>> logits = lambda images: jnp.zeros((len(images), 4))
      >>> losses = cross_entropy(logits, jnp.zeros((1, 2, 2, 3)), jnp.array([3]))
      >>> round(float(losses[0]), 3)
      1.386
    """
    log_probabilities = jax.nn.log_softmax(predict(images).astype(jnp.float32))
    return -jnp.take_along_axis(log_probabilities, labels[:, None], axis=1)[:, 0]


def binary_cross_entropy(
    predict: Callable[[jax.Array], jax.Array], images: jax.Array, targets: jax.Array
) -> jax.Array:
    """Return the summed cross-entropy of a multi-label classifier in nats.

    Args:
      predict: maps images to logits `[b, num_labels]`.
      images: float32 `[b, H, W, 3]`.
      targets: `[b, num_labels]`, 1 where a label fits and 0 elsewhere.

    Example:
      >>> logits = lambda images: jnp.zeros((len(images), 3))
      >>> losses = binary_cross_entropy(logits, jnp.zeros((1, 2, 2, 3)), jnp.array([[1, 0, 0]]))
      >>> round(float(losses[0]), 3)
      2.079
    """
    logits = predict(images).astype(jnp.float32)
    signs = 1 - 2 * jnp.asarray(targets, jnp.float32)
    return jnp.logaddexp(0, signs * logits).sum(axis=1)


def squared_error(
    predict: Callable[[jax.Array], jax.Array], images: jax.Array, targets: jax.Array
) -> jax.Array:
    """Return the mean squared error of a regression.

    Args:
      predict: maps images to answers `[b, ...]`.
      images: float32 `[b, H, W, 3]`.
      targets: of the answers' shape.

    Example:
      >>> mean = lambda images: images.mean((1, 2, 3))
      >>> squared_error(mean, jnp.ones((1, 2, 2, 3)), jnp.array([0.5])).tolist()
      [0.25]
    """
    answers = predict(images).astype(jnp.float32)
    return _mean_square(answers - jnp.asarray(targets, jnp.float32))


def reconstruction_error(
    predict: Callable[[jax.Array], jax.Array], images: jax.Array, targets: Any = None
) -> jax.Array:
    """Return the mean squared error of an auto-encoder; it has no targets.

    Example:
      >>> halve = lambda images: images / 2
      >>> reconstruction_error(halve, jnp.ones((1, 2, 2, 3))).tolist()
      [0.25]
    """
    return _mean_square(predict(images).astype(jnp.float32) - images)


def contrastive_loss(other_texts: np.ndarray, temperature: float) -> jax.tree_util.Partial:
    """Create the image-to-text half of a contrastive loss, in nats.

    Radford et al., "Learning Transferable Visual Models From Natural Language Supervision"
    (2021), figure 3, https://arxiv.org/abs/2103.00020. In training the other texts are those of
    the batch; here they are public and the same for all images and slots.

    Args:
      other_texts: embeddings of texts that belong to none of the images, `[k, d]`.
      temperature: the cosines are divided by it, above 0.

    Returns:
      A loss; its model maps images to embeddings `[b, d]`, its targets are the embeddings
      `[b, d]` of the images' own texts.

    Raises:
      TypeError, ValueError: no texts, or a temperature that is not above 0.

    Example:
      >>> loss = contrastive_loss(np.array([[0.0, 1.0]]), temperature=1.0)
      >>> along_x = lambda images: jnp.tile(jnp.array([[1.0, 0.0]]), (len(images), 1))
      >>> own = jnp.array([[1.0, 0.0]])
      >>> round(float(loss(along_x, jnp.zeros((1, 2, 2, 3)), own)[0]), 3)  # log(1 + 1/e)
      0.313
    """
    others = np.asarray(other_texts, np.float32)
    if others.ndim != 2 or not len(others):
        raise ValueError(f"other_texts must have shape [k, d], got {others.shape}")
    _check.positive(temperature=temperature)
    return jax.tree_util.Partial(_contrast, jnp.asarray(others), jnp.float32(temperature))


def denoising_error(
    signal_shares: np.ndarray,
    steps: np.ndarray,
    image_shape: tuple[int, int, int],
    *,
    seed: int,
    mirror: bool = True,
    prediction: str = "epsilon",
) -> jax.tree_util.Partial:
    """Create the loss of a diffusion model: its error in predicting known noise.

    Ho, Jain, Abbeel, "Denoising Diffusion Probabilistic Models" (2020), eq. 14,
    https://arxiv.org/abs/2006.11239, averaged over given steps, each with its own noise. The
    noise of a step is the same for all images and slots, so it does not cause differences
    between slots.

    Args:
      signal_shares: ᾱ of each step of the model's schedule, `[num_steps]` in (0, 1].
      steps: the steps to evaluate, integers `[k]`; a step may occur several times.
      image_shape: `(H, W, 3)` of the images.
      seed: of the noise; public.
      mirror: also evaluate the mirror image, with the same noise.
      prediction: what the model predicts, see `denoising_target`.

    Returns:
      A loss; its model maps noisy images sqrt(ᾱ)(2x - 1) + sqrt(1 - ᾱ)ε, `[b, H, W, 3]`,
      and their steps int32 `[b]` to its prediction, of the same shape. Its targets are a tuple
      of further arguments of the model with leading axis `[b]`, such as labels; () or None
      for none.

    Raises:
      TypeError, ValueError: shares outside (0, 1], steps beyond them, no steps, or an unknown
        prediction.

    Example:
      >>> loss = denoising_error(np.array([0.9, 0.5]), np.array([0, 1]), (2, 2, 3), seed=0)
      >>> blind = lambda noisy, steps: jnp.zeros_like(noisy)
      >>> loss(blind, jnp.zeros((5, 2, 2, 3)), ()).shape
      (5,)
    """
    shares = check_signal_shares(signal_shares)
    steps = check_steps(steps, len(shares))
    noises = denoising_noises(seed, len(steps), image_shape)
    weights = denoising_target(shares[steps], prediction)
    levels = shares[steps], steps.astype(np.int32), noises, *weights
    return jax.tree_util.Partial(
        _denoise_and_mirror if mirror else _denoise, tuple(map(jnp.asarray, levels))
    )


def check_signal_shares(signal_shares: np.ndarray) -> np.ndarray:
    """Return ᾱ of each step of a schedule as float32 `[num_steps]`; all are in (0, 1]."""
    shares = np.asarray(signal_shares, np.float32)
    if shares.ndim != 1 or not len(shares) or not ((shares > 0) & (shares <= 1)).all():
        raise ValueError(f"signal_shares must be [num_steps] in (0, 1], got {shares!r:.80}")
    return shares


def check_steps(steps: np.ndarray, num_steps: int) -> np.ndarray:
    """Return the steps to evaluate, integers `[k]`, which are in [0, num_steps)."""
    steps = np.asarray(steps)
    if steps.ndim != 1 or not len(steps) or not np.issubdtype(steps.dtype, np.integer):
        raise ValueError(f"steps must be integers [k], at least one, got {steps!r:.80}")
    if steps.min() < 0 or steps.max() >= num_steps:
        raise ValueError(f"steps must be in [0, {num_steps}), got {steps!r:.80}")
    return steps


def denoising_noises(
    seed: int, num_draws: int, image_shape: tuple[int, int, int]
) -> np.ndarray:
    """Draw the noises of `denoising_error`, float32 `[num_draws, H, W, 3]`."""
    _check.integer_at_least(0, seed=seed)
    rng = np.random.default_rng(seed)
    return rng.standard_normal((num_draws, *image_shape), np.float32)


def denoising_target(shares: np.ndarray, prediction: str) -> tuple[np.ndarray, np.ndarray]:
    """Return what a diffusion model predicts, as weights of the noise and of the image.

    "epsilon" is the noise ε itself, "sample" the image x in [-1, 1], and "v_prediction"
    sqrt(ᾱ)ε - sqrt(1 - ᾱ)x (Salimans and Ho, "Progressive Distillation for Fast Sampling of
    Diffusion Models", 2022, section 4, https://arxiv.org/abs/2202.00512).

    Args:
      shares: ᾱ of the steps, `[k]`.
      prediction: one of the three names.

    Returns:
      The weights of ε and of x, float32 `[k]` each.

    Example:
      >>> [weights.tolist() for weights in denoising_target(np.array([1.0]), "v_prediction")]
      [[1.0], [-0.0]]
    """
    shares = np.asarray(shares, np.float32)
    ones, zeros = np.ones_like(shares), np.zeros_like(shares)
    weights = {
        "epsilon": (ones, zeros),
        "sample": (zeros, ones),
        "v_prediction": (np.sqrt(shares), -np.sqrt(1 - shares)),
    }
    return weights[_check.one_of(weights, prediction=prediction)]


def over_views(
    loss: LossFn, num_views: int, image_shape: tuple[int, int, int], *, seed: int
) -> jax.tree_util.Partial:
    """Average a loss over public views of each image: shifted and mirrored copies.

    A model that was trained with random crops and flips has learned many views of an image, so
    their mean loss shows more than the loss of the image alone. The views are the same for all
    images and slots.

    Args:
      loss: of images and targets; its images keep their shape.
      num_views: number of views, at least 1. The first is the image itself, the second its
        mirror image; the others are shifted by up to 1/8 of each side, with edges filled with
        black as usual in random crops, and every second one is mirrored.
      image_shape: `(H, W, 3)` of the images.
      seed: of the shifts; public.

    Returns:
      A loss, in the units of the given one.

    Raises:
      TypeError, ValueError: fewer than one view, or a negative seed.

    Example:
      >>> brightness = lambda predict, images, targets: images.mean((1, 2, 3))
      >>> loss = over_views(brightness, 2, (8, 8, 3), seed=0)
      >>> loss(None, jnp.ones((1, 8, 8, 3)), ()).tolist()
      [1.0]
    """
    _check.integer_at_least(1, num_views=num_views)
    _check.integer_at_least(0, seed=seed)
    random, indices = np.random.default_rng(seed), []
    for side in image_shape[:2]:
        shifts = random.integers(-(side // 8), side // 8, num_views, endpoint=True)
        shifts[:2] = 0
        indices.append(shifted_pixels(side, shifts, "black").astype(np.int32))
    rows, columns = indices
    columns[1::2] = columns[1::2, ::-1]
    views = jnp.asarray(rows), jnp.asarray(columns)
    return jax.tree_util.Partial(_mean_over_views, as_partial(loss), *views)


def shifted_pixels(side: int, shifts: int | np.ndarray, fill: str) -> np.ndarray:
    """Return which pixel of an axis each pixel of a shifted view shows.

    Args:
      side: number of pixels of the axis, at least 1.
      shifts: whole numbers of pixels, of any size; positive is down or to the right.
      fill: what is shown where the axis has no pixels: "reflect", the axis mirrored at its
        first and last pixel, or "black", pixel number `side`, which the caller appends.

    Returns:
      Integers, `[side]` for each shift.

    Example:
      >>> shifted_pixels(4, [1, -2], "reflect").tolist()
      [[1, 0, 1, 2], [2, 3, 2, 1]]
      >>> shifted_pixels(4, 1, "black").tolist()
      [4, 0, 1, 2]
    """
    pixels = np.arange(side) - np.asarray(shifts)[..., None]
    if fill == "black":
        return np.where((pixels >= 0) & (pixels < side), pixels, side)
    period = max(1, 2 * (side - 1))
    pixels %= period
    return np.minimum(pixels, period - pixels) if side > 1 else pixels


def _mean_over_views(
    loss, rows_of_views, columns_of_views, predict, images, targets
) -> jax.Array:
    framed = jnp.pad(images, [(0, 0), (0, 1), (0, 1), (0, 0)])  # one black row and column

    def of_view(view: tuple[jax.Array, jax.Array]) -> jax.Array:
        rows, columns = view
        seen = jnp.take(jnp.take(framed, rows, axis=1), columns, axis=2)
        return loss(predict, seen, targets)

    # One view after the other, so the memory is that of one batch.
    return jax.lax.map(of_view, (rows_of_views, columns_of_views)).mean(axis=0)


def _contrast(others: jax.Array, temperature: jax.Array, predict, images, own) -> jax.Array:
    embeddings = _unit(predict(images).astype(jnp.float32))
    right = (embeddings * _unit(jnp.asarray(own, jnp.float32))).sum(axis=1, keepdims=True)
    cosines = jnp.concatenate([right, embeddings @ _unit(others).T], axis=1)
    return -jax.nn.log_softmax(cosines / temperature)[:, 0]


def _unit(vectors: jax.Array) -> jax.Array:
    return vectors / jnp.linalg.norm(vectors, axis=1, keepdims=True)


def _denoise(levels, predict, images, targets) -> jax.Array:
    clean = 2 * images - 1

    def error(level: tuple[jax.Array, ...]) -> jax.Array:
        share, step, noise, of_noise, of_image = level
        noisy = jnp.sqrt(share) * clean + jnp.sqrt(1 - share) * noise[None]
        seen = predict(noisy, jnp.full(len(images), step), *(targets or ()))
        return _mean_square(
            seen.astype(jnp.float32) - (of_noise * noise[None] + of_image * clean)
        )

    # Steps are evaluated one after the other, so the memory is that of one batch.
    return jax.lax.map(error, levels).mean(axis=0)


def _denoise_and_mirror(levels, predict, images, targets) -> jax.Array:
    sides = images, images[:, :, ::-1]
    return sum(_denoise(levels, predict, side, targets) for side in sides) / 2


def _mean_square(differences: jax.Array) -> jax.Array:
    return jnp.square(differences).reshape(len(differences), -1).mean(axis=1)
