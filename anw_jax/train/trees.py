"""Trees of weights: naming what differs, and digests."""

import hashlib
from typing import Any

import jax
import numpy as np

from anw_jax.models import Model

_MOST_NAMED = 5


def shapes(tree: Any) -> dict[str, str]:
    """Return the dtype and shape of each leaf, by its path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): (
            f"{leaf.dtype}{list(leaf.shape)}"
        )
        for path, leaf in leaves
    }


def differences(saved: Any, wanted: Any) -> list[str]:
    """Return a line for each leaf whose dtype or shape the other tree does not share."""
    saved, wanted = shapes(saved), shapes(wanted)
    return [
        f"{name} is {saved.get(name, 'missing')} there and {wanted.get(name, 'unknown')} here"
        for name in sorted(saved.keys() | wanted.keys())
        if saved.get(name) != wanted.get(name)
    ]


def some(differing: list[str]) -> str:
    """Return the first few lines, and how many more there are."""
    named = "; ".join(differing[:_MOST_NAMED])
    num_more = len(differing) - _MOST_NAMED
    return f"{named}; and {num_more} more" if num_more > 0 else named


def digest(tree: Any) -> str:
    """Return 16 hexadecimal digits of the names, shapes and values of all leaves."""
    hashed = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(jax.device_get(tree)):
        leaf = np.ascontiguousarray(leaf)
        hashed.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}".encode())
        hashed.update(leaf)
    return hashed.hexdigest()[:16]


def check_variables(model: Model, image_shape: tuple[int, int, int], variables: Any) -> None:
    """Refuse weights that are not those of this model.

    Raises:
      ValueError: naming up to five leaves that differ.
      TypeError: if `variables` is no dict of arrays.
    """
    is_tree = isinstance(variables, dict) and all(
        hasattr(leaf, "dtype") and hasattr(leaf, "shape") for leaf in jax.tree.leaves(variables)
    )
    if not is_tree:
        raise TypeError(
            "initial_variables must be a dict of arrays, "
            f"got {type(variables).__name__}: {variables!r:.80}"
        )
    wanted = jax.eval_shape(lambda: model.init(jax.random.key(0), image_shape))
    differing = differences(variables, wanted)
    if differing:
        raise ValueError(
            f"initial_variables must be of model {model.name!r} with {model.num_classes} "
            f"classes: {some(differing)}"
        )
