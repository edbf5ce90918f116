"""A network in one file: its settings and its weights, for owners and for nodes that judge.

A NumPy archive without pickled objects: one array per weight, named by its path, and the
settings of the network as JSON. The digest of the weights does not depend on the archive.
"""

import dataclasses
import hashlib
import io
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import _check, _files, _json, train
from anw_jax.errors import CaseError, CheckpointError
from anw_jax.keys.digests import length_prefixed
from anw_jax.models import Model, by_path, from_paths, from_settings

# Where a secret branch stands among the parameters of a network in training.
BRANCH = "c_wm"
# Of the clean model in an owner's folder of a case.
BASE_NAMES = ("base.npz", "base")

_TAG_WEIGHTS = b"anw_jax/v1/scheme-weights\0"
_TAG_SETTINGS = b"anw_jax/v1/scheme-settings\0"
_TAG_NETWORK = b"anw_jax/v1/scheme-network\0"
_FORMAT = "anw_jax network, version 1"
_SETTINGS = "settings.json"
_MOST_BYTES = 2**34
_NO_WEIGHTS: dict[str, Any] = {"params": {}, "batch_stats": {}}

Network = tuple[Model, dict[str, Any]]


def weights_digest(variables: Any) -> str:
    """Compute the SHA-256, as hex, of a tree of weights: names, types, shapes, values.

    Args:
      variables: a tree of arrays, with names and order as `jax.tree` has them.

    Example:
      >>> weights_digest({"w": np.zeros(2, np.float32)})[:16]
      '821b04304f04b7b8'
    """
    _check.is_instance(dict, variables=variables)
    parts = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(jax.device_get(variables)):
        array = np.ascontiguousarray(leaf)
        array = array.astype(array.dtype.newbyteorder("<"))
        head = f"{jax.tree_util.keystr(path)} {array.dtype.str} {array.shape}"
        parts += [head.encode(), array.tobytes()]
    return hashlib.sha256(_TAG_WEIGHTS + length_prefixed(parts)).hexdigest()


def settings_digest(model: Model) -> str:
    """Compute the SHA-256, as hex, of a network's settings: sizes, normalisation of inputs.

    The same weights answer otherwise under others; whoever may choose them chooses the scores.
    """
    return hashlib.sha256(
        _TAG_SETTINGS + _json.canonical(dataclasses.asdict(model))
    ).hexdigest()


def network_digest(network: Network) -> str:
    """Compute the SHA-256, as hex, of a network: its settings and its weights."""
    model, variables = network
    digests = bytes.fromhex(settings_digest(model) + weights_digest(variables))
    return hashlib.sha256(_TAG_NETWORK + digests).hexdigest()


def check_released(variables: dict[str, Any]) -> None:
    """Raise ValueError if weights that are to be released still hold a secret branch."""
    if BRANCH in variables.get("params", {}):
        raise ValueError(
            f"variables must hold no branch: the parameter {BRANCH!r} is secret; release the "
            "network alone"
        )


def save_network(path: str | os.PathLike, model: Model, variables: dict[str, Any]) -> str:
    """Write a network to a new file; return the digest of its weights.

    Args:
      path: the file, which must not exist.
      model: the network.
      variables: `{'params': …, 'batch_stats': …}`, trees of plain dicts.

    Raises:
      FileExistsError: the file exists.
      ValueError: weights that still hold a secret branch.
    """
    check_released(variables)
    settings = {"format": _FORMAT, "model": dataclasses.asdict(model)}
    arrays = {_SETTINGS: np.frombuffer(_json.canonical(settings), np.uint8)}
    arrays |= by_path(jax.device_get(variables))
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    _files.write_new(path, buffer.getvalue())
    return weights_digest(variables)


def open_network(path: pathlib.Path) -> Network:
    """Read a network: the folder of checkpoints of a run, or a file of `save_network`."""
    return train.load_model(path) if path.is_dir() else load_network(path)


def open_base(folder: pathlib.Path) -> Network:
    """Read the clean model in an owner's folder: "base.npz" or the folder "base".

    Raises:
      CaseError: neither is there, or both.
    """
    names = [name for name in BASE_NAMES if (folder / name).exists()]
    if len(names) != 1:
        raise CaseError(
            f"{folder} must hold the clean model as base.npz or as the folder base, got "
            f"{' and '.join(names) or 'neither'}"
        )
    return open_network(folder / names[0])


def load_network(path: str | os.PathLike) -> Network:
    """Read a network; the weights are checked against its settings.

    Raises:
      CheckpointError: the file is missing, damaged, of another kind, or holds other weights
        than such a network has.
    """
    path = pathlib.Path(path)
    try:
        body = _files.read_regular(path, _MOST_BYTES)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    try:
        # `save_network` does not compress: a file that expands is none of its files.
        arrays = _files.read_npz(body, len(body))
        settings = _json.loads(arrays.pop(_SETTINGS).tobytes())
        if settings["format"] != _FORMAT:
            raise KeyError("format")
        model = from_settings(settings["model"])
        variables = _NO_WEIGHTS | from_paths(arrays)
    except Exception:  # of numpy, zipfile, zlib and flax, which share no base
        raise CheckpointError(
            f"{path} is no network: expected the file that `anw model embed` writes"
        ) from None
    _check_weights(path, model, variables)
    return model, jax.tree.map(jnp.asarray, variables)


def _check_weights(path: pathlib.Path, model: Model, variables: dict[str, Any]) -> None:
    check_released(variables)
    try:
        wanted = jax.eval_shape(lambda: model.init(jax.random.key(0), (64, 64, 3)))
        same = jax.tree.map(
            lambda one, other: (one.shape, one.dtype) == (other.shape, other.dtype),
            wanted,
            variables,
        )
    except Exception:  # of jax and flax, about sizes that cannot be or another structure
        same = {"structure": False}
    if not all(jax.tree.leaves(same)):
        raise CheckpointError(
            f"{path} holds other weights than the network {model.name!r} of its settings has"
        )
