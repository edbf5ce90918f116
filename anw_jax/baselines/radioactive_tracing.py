"""The white-box test of radioactive data on networks: Table 1 of the paper."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import _check
from anw_jax.baselines.radioactive import white_box_test
from anw_jax.models import Model

FeaturesFn = Callable[[jax.Array], jax.Array]
Variables = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class _ModelFeatures:
    """`Model.features`, comparing by value, so that equal models share what is compiled."""

    model: Model

    def __call__(self, variables: Variables, images: jax.Array) -> jax.Array:
        return self.model.features(variables, images)


def features_fn(model: Model, variables: Variables) -> jax.tree_util.Partial:
    """The input of a network's last dense layer, as a traced function of images.

    Args:
      model: the architecture.
      variables: its weights.

    Returns:
      float32 images `[b, H, W, 3]` in [0, 1] to float32 features `[b, d]`.
    """
    return jax.tree_util.Partial(
        _ModelFeatures(_check.is_instance(Model, model=model)), variables
    )


def class_weights(model: Model, variables: Variables) -> np.ndarray:
    """The kernel of a network's last dense layer, float64 `[d, c]`.

    Its logits are `features @ class_weights + bias`.
    """
    return np.asarray(variables["params"][model.head]["kernel"], np.float64)


def features_of(fun: FeaturesFn, images: np.ndarray, *, batch_size: int = 256) -> np.ndarray:
    """Features of all images, in batches of one shape.

    Args:
      fun: float32 images `[b, H, W, 3]` in [0, 1] to `[b, d]`; a `jax.tree_util.Partial`
        compiles once whatever its weights.
      images: uint8 `[n, H, W, 3]`, at least one.
      batch_size: images per call.

    Returns:
      float64 `[n, d]`.

    Raises:
      ValueError: if there are no images.
    """
    images = _check.uint8_images(images=images)
    _check.integer_at_least(1, num_images=len(images))
    _check.integer_at_least(1, batch_size=batch_size)
    if not isinstance(fun, jax.tree_util.Partial):
        fun = jax.tree_util.Partial(fun)
    parts = []
    for start in range(0, len(images), batch_size):
        # The last batch is padded by repeating its last image, to keep one trace.
        rows = np.minimum(np.arange(start, start + batch_size), len(images) - 1)
        parts.append(np.asarray(_batch_features(fun, images[rows]), np.float64))
    return np.concatenate(parts)[: len(images)]


@jax.jit
def _batch_features(fun: jax.tree_util.Partial, images: jax.Array) -> jax.Array:
    return fun(images.astype(jnp.float32) / jnp.float32(255.0))


def trace(
    carriers: np.ndarray,
    marking: tuple[Model, Variables],
    suspects: dict[str, tuple[Model, Variables]],
    heldout_images: np.ndarray,
    *,
    batch_size: int = 256,
) -> dict[str, dict[str, Any]]:
    """The row of Table 1 on dataset tracing: each suspect's cosines and p.

    Args:
      carriers: float `[c, d]`, unit rows, d the features of the marking network.
      marking: the network the photos were marked with, and its weights.
      suspects: name ("before", "after", "control", ...) to a network and its weights.
      heldout_images: uint8 `[n, H, W, 3]`, photos that no network was trained on; n well above
        d, so that the alignment means something.
      batch_size: images per call.

    Returns:
      For each suspect, `RadioactiveTest.plain()`: `cosine_mean` and `cosine_std` over classes
      (the paper: -.005 ± .030 before training, -.005 ± .015 after), `cosines`, `log10_p`,
      `p_value`, `num_features`, `residual`.

    Raises:
      ValueError: if shapes do not fit.
    """
    own = features_of(features_fn(*marking), heldout_images, batch_size=batch_size)
    return {
        name: white_box_test(
            carriers,
            class_weights(*suspect),
            own,
            features_of(features_fn(*suspect), heldout_images, batch_size=batch_size),
        ).plain()
        for name, suspect in suspects.items()
    }


def signature_cosines(
    inferred_degrees: np.ndarray, secret_degrees: np.ndarray
) -> dict[str, Any]:
    """The other row of Table 1: cosines of inferred and secret signatures.

    Args:
      inferred_degrees: float `[n]`, one per user or model.
      secret_degrees: float `[n]`.

    Returns:
      `cosine_mean`, `cosine_std` (the paper: .045 ± .52 before training, .999 ± .001 after),
      and `cosines`.

    Raises:
      ValueError: if shapes differ or an angle is not finite.

    Example:
      >>> signature_cosines(np.array([61.0, 330.0]), np.array([60.0, 330.0]))["cosines"]
      [0.9998476951563913, 1.0]
    """
    inferred = np.asarray(inferred_degrees, np.float64)
    secret = np.asarray(secret_degrees, np.float64)
    if inferred.shape != secret.shape or inferred.ndim != 1 or not inferred.size:
        raise ValueError(
            "secret_degrees must have one angle for each of inferred_degrees, got shapes "
            f"{secret.shape} and {inferred.shape}"
        )
    if not (np.isfinite(inferred).all() and np.isfinite(secret).all()):
        raise ValueError("inferred_degrees and secret_degrees must be finite")
    cosines = np.cos(np.radians(inferred - secret))
    return {
        "cosine_mean": float(cosines.mean()),
        "cosine_std": float(cosines.std()),
        "cosines": cosines.tolist(),
    }
