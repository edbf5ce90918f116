"""Check, once per process, that the installed jax computes correct results."""

import functools
import operator
import os
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib.version
import numpy as np

from anw_jax import _jax_flags, _jax_settings
from anw_jax.errors import JaxError
from anw_jax.marks import MarkTables
from anw_jax.verify.chunks import QueryPlan, run_traced, run_untraced
from anw_jax.verify.losses import cross_entropy
from anw_jax.verify.objective import PRECISION

# On CPU, correct versions are within 1e-6 of the largest value; faulty ones are off by 1e-2 or
# more.
_TOLERANCE = 1e-4


def check_jax() -> dict[str, Any]:
    """Compare jax with NumPy on programs that some versions compute wrongly.

    Takes about 0.2 s on the first call; the result is cached. Called before the first loss
    table and the first training.

    Returns:
      `jax_record()`.

    Raises:
      JaxError: jax is wrong by more than rounding, or cannot start.
    """
    record = jax_record()
    if not record["self_check"]["passed"]:
        raise JaxError(_message(record))
    return record


def jax_record() -> dict[str, Any]:
    """Return version, settings and self-check of jax, for provenance and seals.

    Returns:
      "jax" and "jaxlib" (versions), "settings" (jax configuration that affects numerical
      results) and "self_check": "passed", and "errors", the largest difference from NumPy of
      each program relative to its largest value (None: not finite).

    Raises:
      JaxError: jax cannot start.

    Example:
      >>> record = jax_record()
      >>> record["self_check"]["passed"], sorted(record["self_check"]["errors"])
      (True, ['broadcast_product', 'loss_table', 'row_sums'])
    """
    settings = _jax_settings.number_settings()
    errors = dict(_errors())
    return {
        "jax": jax.__version__,
        "jaxlib": jaxlib.version.__version__,
        "settings": settings,
        "self_check": {
            "passed": not any(_is_wrong(error) for error in errors.values()),
            "errors": errors,
        },
    }


@functools.cache
def _errors() -> tuple[tuple[str, float | None], ...]:
    with jax.default_matmul_precision(PRECISION):
        pairs = {
            "row_sums": _row_sums(),
            "broadcast_product": _broadcast_product(),
            "loss_table": _loss_table(),
        }
    return tuple((name, _error(*pair)) for name, pair in pairs.items())


def _error(got: np.ndarray, right: np.ndarray) -> float | None:
    error = float(np.abs(got - right).max() / np.abs(right).max())
    return float(f"{error:.1e}") if np.isfinite(error) else None


def _is_wrong(error: float | None) -> bool:
    return error is None or error >= _TOLERANCE


def _row_sums() -> tuple[np.ndarray, np.ndarray]:
    """Reproduce JAX issue 39103: wrong last 32 of 32,800 rows, jaxlib 0.9.2 to 0.10.2."""
    rows = np.arange(3 * 32_800, dtype=np.float32).reshape(-1, 3) % 7 - 3
    matrix = np.array([[1, 2, -1], [0, 3, 1], [2, -1, 1]], np.float32)
    got = jax.jit(jax.vmap(lambda row: (matrix @ row).sum()))(rows)
    return np.asarray(got, np.float64), (rows.astype(np.float64) @ matrix.T).sum(axis=1)


def _broadcast_product() -> tuple[np.ndarray, np.ndarray]:
    """Reproduce a product with a broadcast scalar that is wrong in jaxlib 0.10.2 to 0.12.0.1.

    Gradients of sums hold such products.
    """
    values = np.arange(5 * 60 * 60, dtype=np.float32).reshape(5, 60, 60) % 11 - 5
    got = jax.jit(lambda v, one: ((v @ jnp.broadcast_to(one, v.shape)) * v).sum(axis=-1))(
        values, np.float32(0.5)
    )
    right = values.astype(np.float64)
    return np.asarray(got, np.float64), ((right @ np.full_like(right, 0.5)) * right).sum(-1)


def _loss_table() -> tuple[np.ndarray, np.ndarray]:
    """Compute the losses of a two-layer network as `loss_table` does, and with NumPy.

    The mark is cheap to compile: an exclusive or with the slot.
    """
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    weights = tuple(
        rng.normal(0, scale, shape).astype(np.float32)
        for scale, shape in ((0.3, (192, 16)), (0.6, (16, 3)))
    )
    slots = np.arange(12, dtype=np.uint8)[None]
    tables = MarkTables(operator.xor, slots, np.zeros(3, np.int32))
    num_devices = len(jax.local_devices())
    plan = QueryPlan(3, 12, chunk_size=-(-36 // num_devices) * num_devices)
    asked = (images, np.array([0, 1, 2], np.int32), tables, plan)

    def network(weights: Any, batch: Any) -> Any:
        hidden = batch.reshape(len(batch), -1) @ weights[0]
        return hidden.clip(0) @ weights[1]

    traced = run_traced(cross_entropy, jax.tree_util.Partial(network, weights), *asked)
    called = run_untraced(cross_entropy, functools.partial(network, weights), *asked)
    got, right = (np.concatenate([losses for _, losses in run]) for run in (traced, called))
    return got.astype(np.float64), right.astype(np.float64)


def _message(record: dict[str, Any]) -> str:
    check = record["self_check"]["errors"]
    wrong = [
        f"{name} by {'no finite number' if error is None else f'{error:.0e} of its largest'}"
        for name, error in check.items()
        if _is_wrong(error)
    ]
    flag = f"{_jax_flags.FLAG}="
    has = os.environ.get("XLA_FLAGS", "")
    return (
        f"jax {record['jax']} (jaxlib {record['jaxlib']}) computes wrong numbers on "
        f"{record['settings']['platform']}: {', '.join(wrong)}; set XLA_FLAGS={flag} (an empty "
        f"value; it is {has!r}) before jax computes anything (import anw_jax first), or "
        "install another jax"
    )
