"""Makes verify.json: `python -m tests.golden.make_verify` from the repository.

Loss tables, grid searches and gradient searches of a tiny traced network with fixed weights.
"""

import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import keys, marks, verify

SPACE = keys.SignatureSpace()
OWNER_OF_IMAGE = np.array([0, 1, 0, 1])


def network(scale: float = 1.0) -> jax.tree_util.Partial:
    """A convolution of 5×5, its mean activations and one linear layer: 4 classes."""
    rng = np.random.default_rng(20261129)
    kernel = rng.normal(0, 0.4, (5, 5, 3, 6)).astype(np.float32)
    linear = rng.normal(0, 2.0 * scale, (6, 4)).astype(np.float32)

    def apply(weights: tuple[jax.Array, jax.Array], images: jax.Array) -> jax.Array:
        layout = ("NHWC", "HWIO", "NHWC")
        hidden = jax.lax.conv_general_dilated(
            images, weights[0], (1, 1), "SAME", dimension_numbers=layout
        )
        return jax.nn.softplus(hidden).mean((1, 2)) @ weights[1]

    return jax.tree_util.Partial(apply, (jnp.asarray(kernel), jnp.asarray(linear)))


def photos() -> tuple[np.ndarray, np.ndarray]:
    """Four originals, uint8 `[4, 8, 8, 3]`, and their labels."""
    rng = np.random.default_rng(7)
    return rng.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8), np.array([0, 1, 2, 3])


def all_marks() -> dict[str, Any]:
    """One mark of all photos, or those of two owners."""
    drawn = [marks.UserLCT.from_sub_key(bytes([i]) * 32) for i in range(2)]
    return {"hue": marks.HueRotation(), "private bases of two owners": drawn}


def golden(scale: float = 1.0) -> dict[str, Any]:
    """By mark: table and curves in nats, angles in degrees."""
    predict, (images, labels) = network(scale), photos()
    found = {}
    for name, mark in all_marks().items():
        owners = OWNER_OF_IMAGE if isinstance(mark, list) else None
        table = verify.loss_table(predict, images, labels, mark, SPACE, mark_of_image=owners)
        grid = verify.grid_search(table, SPACE, owners)
        fine = verify.gradient_search(
            predict,
            images,
            labels,
            mark,
            mark_of_image=owners,
            signature_of_image=owners,
            num_starts=3,
            num_steps=4,
            seed=1,
        )
        found[name] = {
            "loss_table": table.tolist(),
            "curve": grid.curve.tolist(),
            "inferred_degrees": np.asarray(grid.inferred_degrees).tolist(),
            "margin": np.asarray(grid.margin).tolist(),
            "descents_degrees": fine.degrees.tolist(),
            "descents_losses": fine.losses.tolist(),
            "best_degrees": fine.best_degrees.tolist(),
        }
    return found


if __name__ == "__main__":
    path = pathlib.Path(__file__).with_name("verify.json")
    path.write_text(json.dumps(golden()) + "\n")
