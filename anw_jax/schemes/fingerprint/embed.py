"""Embed a customer's code: the smallest change of the weights, then a short repair."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import _check, data, train
from anw_jax.keys import Bits
from anw_jax.models import Model, by_path, from_paths
from anw_jax.schemes.fingerprint.carrier import Carrier, kernels


@dataclasses.dataclass(frozen=True)
class RepairSettings:
    """How a copy is repaired by training.

    Attributes:
      num_epochs: passes over the images; 0 = no repair.
      learning_rate: peak rate of SGD.
      batch_size: images per step.
      seed: of the batches.
    """

    num_epochs: int = 1
    learning_rate: float = 2e-3
    batch_size: int = 64
    seed: int = 0

    def __post_init__(self):
        _check.integer_at_least(0, num_epochs=self.num_epochs)
        _check.positive(learning_rate=self.learning_rate)
        _check.integer_at_least(1, batch_size=self.batch_size)
        _check.integer_at_least(0, seed=self.seed)


NO_REPAIR = RepairSettings(num_epochs=0)


def embed(
    carrier: Carrier,
    base: dict[str, Any],
    code: Bits,
    owner_bits: Bits,
    *,
    strength: float = 0.05,
) -> dict[str, Any]:
    """Embed a code and the owner's bits in closed form; no data and no other copy is used.

    Each row of the projection moves by the same amount in the direction of its bit. The change
    is the one of least norm that does so, in units of each layer's root mean square.

    Args:
      carrier: of the issue.
      base: weights of the clean model w_base.
      code: the customer's, `carrier.num_bits` long.
      owner_bits: the common mark, `carrier.num_owner_bits` long.
      strength: root mean square of the change, as a share of that of the weights.

    Returns:
      The weights of the copy.

    Raises:
      CommitmentError: another clean model than the carrier names.
      ValueError: codes of other lengths.
    """
    carrier.check_base(base)
    _check.positive(strength=strength)
    return embed_rows(carrier, base, _wanted(carrier, code, owner_bits, strength))


def embed_rows(carrier: Carrier, base: dict[str, Any], rows: np.ndarray) -> dict[str, Any]:
    """Move w_base by the least change after which its projection is `rows`, `[num_rows]`."""
    return _moved(carrier, base, base, rows)


def repair(
    carrier: Carrier,
    model: Model,
    base: dict[str, Any],
    copy: dict[str, Any],
    images: np.ndarray,
    labels: np.ndarray,
    settings: RepairSettings,
    *,
    train_settings: train.TrainSettings,
    **options: Any,
) -> dict[str, Any]:
    """Train a copy for a short time, then restore its projection in closed form.

    Uses the task's images, w_base and the copy itself. No other copy: a customer's copy would
    otherwise depend on the codes of others.

    Args:
      carrier: of the issue.
      model: the network.
      base: weights of the clean model w_base.
      copy: the result of `embed`.
      images: uint8 `[n, H, W, 3]`, of the task.
      labels: integers `[n]`.
      settings: how.
      train_settings: how w_base was trained; supplies momentum, weight decay, augmentation.
      **options: of `train.train`: `checkpoint_dir`, `should_stop` …
    """
    if settings.num_epochs == 0:
        return copy
    changed = dataclasses.replace(
        train_settings, warmup_epochs=0, **dataclasses.asdict(settings)
    )
    plan = data.BatchPlan(len(images), changed.batch_size, changed.seed)
    result = train.train(
        model, changed, images, labels, plan.rows, initial_variables=copy, **options
    )
    trained = _plain(result.state.variables)
    return _moved(carrier, base, trained, relative_projection(carrier, base, copy))


def relative_projection(
    carrier: Carrier, base: dict[str, Any], variables: dict[str, Any]
) -> np.ndarray:
    """Project the difference to w_base, in units of each layer, float64 `[num_rows]`."""
    return carrier.project(difference(carrier, base, variables))


def difference(carrier: Carrier, base: dict[str, Any], variables: dict[str, Any]) -> np.ndarray:
    """Return the carrier's weights minus those of w_base, in units of each layer.

    Raises:
      ValueError: another architecture, or weights that are not finite.
    """
    own, clean = kernels(variables, carrier.layers), kernels(base, carrier.layers)
    check_same_shapes(own, clean)
    units = carrier.units(base)
    return carrier.gather({n: (own[n] - clean[n]) / units[n] for n in carrier.layers})


def check_same_shapes(own: dict[str, np.ndarray], clean: dict[str, np.ndarray]) -> None:
    """Raise ValueError unless kernels have the shapes of the clean model's."""
    for name, kernel in own.items():
        if kernel.shape != clean[name].shape:
            raise ValueError(
                f"the network must have the architecture of the clean model: {name!r} has the "
                f"shape {kernel.shape}, and {clean[name].shape} there"
            )


def _wanted(carrier: Carrier, code: Bits, owner_bits: Bits, strength: float) -> np.ndarray:
    lengths = {"code": carrier.num_bits, "owner_bits": carrier.num_owner_bits}
    for (name, length), bits in zip(lengths.items(), (code, owner_bits), strict=True):
        if len(bits) != length:
            raise ValueError(f"{name} must have {length} bits, got {len(bits)}")
    size = strength * np.sqrt(carrier.num_weights / carrier.num_rows)
    return size * np.concatenate([code.signs, owner_bits.signs])


def _moved(
    carrier: Carrier, base: dict[str, Any], variables: dict[str, Any], wanted: np.ndarray
) -> dict[str, Any]:
    """Move weights by the least change after which their projection is `wanted`."""
    missing = wanted - relative_projection(carrier, base, variables)
    units, paths = carrier.units(base), by_path(_plain(variables))
    change = carrier.scatter(carrier.spread(missing), kernels(variables, carrier.layers))
    for name in carrier.layers:
        moved = np.asarray(paths[name], np.float64) + units[name] * change[name]
        paths[name] = jnp.asarray(moved.astype(np.float32))
    return {"params": {}, "batch_stats": {}} | from_paths(paths)


def _plain(variables: dict[str, Any]) -> dict[str, Any]:
    return jax.tree.map(jnp.asarray, jax.device_get(variables))
