"""A learner trains again: seeds of its own, the plain recipe, weights back on no device."""

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import data, train
from anw_jax.models import Model

Variables = dict[str, Any]


def derive_seed(seed: int, *names: str | int) -> int:
    """A seed in [0, 2³¹) for one named use, so that no two uses share random numbers.

    Example:
      >>> derive_seed(0, "ensemble", 1) != derive_seed(0, "ensemble", 2)
      True
    """
    text = "/".join(map(str, ("anw_jax.attacks/1", seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def retrain(
    model: Model,
    settings: train.TrainSettings,
    images: np.ndarray,
    labels: np.ndarray,
    **options: Any,
) -> tuple[Variables, dict[str, float]]:
    """Trains to the end, batches ordered by `settings.seed`.

    Args:
      model: what to train.
      settings: how.
      images: uint8 `[n, H, W, 3]`.
      labels: integers `[n]`.
      **options: further keyword arguments of `train.train`.

    Returns:
      `(variables, details)`: weights bound to no device, so that models of several trainings
      meet in one program; the last segment's mean training loss in nats and accuracy.

    Raises:
      ValueError: if there are fewer images than one batch holds, or shapes do not fit.
    """
    settings.num_steps(len(images))  # names batch_size where there are too few images
    plan = data.BatchPlan(len(images), settings.batch_size, settings.seed)
    result = train.train(model, settings, images, labels, plan.rows, **options)
    last = result.reports[-1]
    details = {"train_loss": last.loss, "train_accuracy": last.metrics["accuracy"]}
    return unbound(result.state.variables), details


def unbound(variables: Variables) -> Variables:
    """A copy of weights that JAX may use on whatever devices a caller shares them over."""
    return jax.tree.map(jnp.asarray, jax.device_get(variables))
