"""The verification objective L(θ) of eq. 6, as one pure function.

    L(θ) = Σ CE(f(g_θ(I)), y)  over the owner's unmarked photos I with their labels y

f is the model and g_θ the mark with signature θ (Zou, Gong, Wang, "Anti-Neuron Watermarking",
ECCV 2022, https://arxiv.org/abs/2109.09023). CE is the cross-entropy; models that are not
classifiers use another loss of `verify.losses`. Grid search evaluates `objective` under
`jax.vmap` over signatures, gradient search uses its `jax.value_and_grad`:

    jax.vmap(objective, (None, None, None, None, 0))(predict, images, labels, mark, grid)
    jax.value_and_grad(objective, argnums=4, has_aux=True)(predict, images, labels, mark, θ)

`loss_table` and `gradient_search` compute the same in chunks that fit in memory.
"""

from collections.abc import Callable
from typing import Any

import jax

from anw_jax.verify.losses import LossFn, cross_entropy

# Matmul precision of traced models. With TF32 (GPU) or bfloat16 passes (TPU) the losses would
# depend on the chunk size and could not be reproduced on other hardware.
PRECISION = "highest"


def objective(
    predict: Callable[..., Any],
    images: jax.Array,
    labels: Any,
    mark: Callable[[jax.Array, Any], jax.Array],
    signatures: Any,
    loss: LossFn = cross_entropy,
) -> tuple[jax.Array, jax.Array]:
    """Compute L and its terms.

    **Lower values are evidence** that the model was trained on images with those signatures.
    Pure; works under `jit`, `vmap` and `grad`. Does not validate its arguments.

    Args:
      predict: maps float32 `[n, H, W, 3]` in [0, 1] to logits `[n, num_classes]`.
      images: unmarked images `[n, H, W, 3]`.
      labels: integers `[n]`; with another loss its targets, a pytree with leading axis `[n]`.
      mark: maps one image and its signature to a float32 `[H, W, 3]` image in [0, 1].
      signatures: one per image, a pytree with leading axis `[n]`.
      loss: see `verify.losses`.

    Returns:
      The sum of the losses (of cross-entropies, in nats), and the losses per image, float32
      `[n]`.

    Example:
      >>> import jax.numpy as jnp
      >>> from anw_jax.marks import HueRotation
      >>> def redness(batch):  # two classes: red or not
      ...     red = batch[..., 0].mean((1, 2)) - batch.mean((1, 2, 3))
      ...     return 10 * jnp.stack([red, -red], axis=1)
      >>> images, labels = jnp.full((1, 4, 4, 3), jnp.array([0.7, 0.3, 0.3])), jnp.array([0])
      >>> def of(degrees):  # L(θ) of one signature for all images
      ...     return objective(redness, images, labels, HueRotation().mark, degrees[None])[0]
      >>> losses = jax.jit(jax.vmap(of))(jnp.array([0.0, 90.0, 180.0]))
      >>> [round(float(loss), 2) for loss in losses]
      [0.0, 1.76, 5.34]
      >>> loss, slope = jax.jit(jax.value_and_grad(of))(90.0)  # for gradient descent
      >>> round(float(slope), 3)
      0.077
    """
    marked = jax.vmap(mark)(images, signatures)
    with jax.default_matmul_precision(PRECISION):
        losses = loss(predict, marked, labels)
    return losses.sum(), losses
