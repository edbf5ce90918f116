"""Weights in the format of TensorFlow.js: `model.json` and binary shards, without TensorFlow.

The format is that of `tf.loadLayersModel` and `tf.loadGraphModel`: `weightsManifest` is a list
of groups, the shards of a group are one stream of little-endian numbers, and its weights
follow each other in that stream without gaps
(https://github.com/tensorflow/tfjs/blob/master/tfjs-core/src/io/types.ts).
"""

import math
import os
import pathlib
import tarfile
import zlib
from collections.abc import Collection
from typing import Any, NamedTuple, Protocol

import numpy as np

from anw_jax import _json
from anw_jax.errors import CheckpointError

_INDEX = "model.json"
_CHUNK = 1 << 20


class _Weight(NamedTuple):
    name: str
    shape: tuple[int, ...]
    dtype: str
    quantised_to: str | None

    @property
    def num_bytes(self) -> int:
        return 4 * math.prod(self.shape)


class _Group(NamedTuple):
    paths: tuple[str, ...]
    weights: tuple[_Weight, ...]


def load_tfjs(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read every weight of a TensorFlow.js model.

    Args:
      path: a folder or a `.tgz` (as `npm pack` leaves it) that holds one `model.json`, at
        whatever depth, with its shards beside it. Nothing is unpacked to disk.

    Returns:
      float32 arrays by their names in the manifest, in its order.

    Raises:
      CheckpointError: if the path does not exist or cannot be read, if it holds no or several
        `model.json`, if shards are missing or of the wrong length, or if weights are not plain
        float32; lists all names concerned, sorted.

    Example:
      >>> import tempfile
      >>> folder = pathlib.Path(tempfile.mkdtemp())
      >>> _ = (folder / "one.bin").write_bytes(np.float32([1, 2]).tobytes())
      >>> weights = [{"name": "fc/bias", "shape": [2], "dtype": "float32"}]
      >>> manifest = {"weightsManifest": [{"paths": ["one.bin"], "weights": weights}]}
      >>> _ = (folder / "model.json").write_text(_json.dumps(manifest))
      >>> load_tfjs(folder)
      {'fc/bias': array([1., 2.], dtype=float32)}
    """
    path = pathlib.Path(os.path.expanduser(path))
    files = _open(path)
    index = _only_index(files, path)
    groups = _parse(files.read({index})[index], f"{index} in {path}")
    _refuse_repeated_names(groups, path)
    _refuse_other_numbers(groups, path)
    shards = _read_shards(files, groups, index.removesuffix(_INDEX), path)
    arrays: dict[str, np.ndarray] = {}
    for group in groups:
        arrays |= _cut(b"".join(shards[name] for name in group.paths), group, path)
    return arrays


class _Files(Protocol):
    """A folder or an archive: the names of the files below it, and their bytes."""

    names: tuple[str, ...]

    def read(self, names: Collection[str]) -> dict[str, bytes]: ...


class _Folder:
    def __init__(self, root: pathlib.Path):
        self._root = root
        files = (file for file in root.rglob("*") if file.is_file())
        self.names = tuple(sorted(file.relative_to(root).as_posix() for file in files))

    def read(self, names: Collection[str]) -> dict[str, bytes]:
        return {name: (self._root / name).read_bytes() for name in names}


class _Archive:
    def __init__(self, path: pathlib.Path):
        self._path = path
        with tarfile.open(path, "r:*") as archive:
            self.names = tuple(member.name for member in archive if member.isfile())
            # Read to the end of the stream, where gzip has its checksum.
            while archive.fileobj.read(_CHUNK):
                pass

    def read(self, names: Collection[str]) -> dict[str, bytes]:
        # In the order of the archive: a step backwards would decompress from the start.
        with tarfile.open(self._path, "r:*") as archive:
            members = (member for member in archive if member.name in names)
            return {member.name: archive.extractfile(member).read() for member in members}


def _open(path: pathlib.Path) -> _Files:
    if path.is_dir():
        return _Folder(path)
    if not path.is_file():
        raise CheckpointError(
            f"{path} does not exist: give a folder that holds {_INDEX}, or a .tgz of one"
        )
    try:
        return _Archive(path)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise CheckpointError(
            f"{path} is not a whole .tgz: fetch it again, or give the folder that it unpacks to"
        ) from error


def _only_index(files: _Files, path: pathlib.Path) -> str:
    found = sorted(name for name in files.names if name.rpartition("/")[2] == _INDEX)
    if not found:
        raise CheckpointError(
            f"{path} holds no {_INDEX}: that file lists the weights of a TensorFlow.js model"
        )
    if len(found) > 1:
        raise CheckpointError(
            f"{path} holds {len(found)} models ({', '.join(found)}): give the folder of one"
        )
    return found[0]


def _parse(text: bytes, where: str) -> tuple[_Group, ...]:
    try:
        index = _json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{where} is not JSON: fetch it again") from error
    try:
        return tuple(_group(group) for group in index["weightsManifest"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{where} lists no weights as TensorFlow.js does: weightsManifest must be a list "
            "of groups with paths and weights (name, shape, dtype)"
        ) from error


def _group(group: dict[str, Any]) -> _Group:
    paths = tuple(str(path) for path in group["paths"])
    return _Group(paths, tuple(_weight(weight) for weight in group["weights"]))


def _weight(weight: dict[str, Any]) -> _Weight:
    shape = tuple(int(size) for size in weight["shape"])
    if min(shape, default=1) < 1:
        raise ValueError("a size must be at least 1")
    quantised_to = weight.get("quantization", {}).get("dtype")
    return _Weight(str(weight["name"]), shape, str(weight["dtype"]), quantised_to)


def _refuse_repeated_names(groups: tuple[_Group, ...], path: pathlib.Path) -> None:
    names = [weight.name for group in groups for weight in group.weights]
    repeated = sorted(name for name in {*names} if names.count(name) > 1)
    if repeated:
        raise CheckpointError(f"{path} lists weights more than once: {', '.join(repeated)}")


def _refuse_other_numbers(groups: tuple[_Group, ...], path: pathlib.Path) -> None:
    weights = sorted(weight for group in groups for weight in group.weights)
    quantised = [f"{w.name} ({w.quantised_to})" for w in weights if w.quantised_to]
    if quantised:
        raise CheckpointError(
            f"{path} holds weights rounded to fewer bits, from which the network that was "
            f"published cannot be restored: {', '.join(quantised)}; get it without quantisation"
        )
    others = [f"{w.name} ({w.dtype})" for w in weights if w.dtype != "float32"]
    if others:
        raise CheckpointError(
            f"{path} holds weights that are not float32: {', '.join(others)}; only float32 "
            "is read"
        )


def _read_shards(
    files: _Files, groups: tuple[_Group, ...], folder: str, path: pathlib.Path
) -> dict[str, bytes]:
    """Return the bytes of each shard by its plain name; an error lists all that are missing."""
    names = {folder + name: name for group in groups for name in group.paths}
    missing = sorted(names[full] for full in names.keys() - {*files.names})
    if missing:
        raise CheckpointError(
            f"{path} lacks {len(missing)} of {len(names)} shards: {', '.join(missing)}"
        )
    return {names[full]: content for full, content in files.read(names).items()}


def _cut(stream: bytes, group: _Group, path: pathlib.Path) -> dict[str, np.ndarray]:
    needed = sum(weight.num_bytes for weight in group.weights)
    if len(stream) != needed:
        last = f" to {group.paths[-1]}" if len(group.paths) > 1 else ""
        raise CheckpointError(
            f"{path}: {group.paths[0]}{last} hold {len(stream)} bytes, their weights need "
            f"{needed}: a shard was cut short or belongs to another model"
        )
    arrays, start = {}, 0
    for weight in group.weights:
        numbers = np.frombuffer(stream, "<f4", math.prod(weight.shape), start)
        arrays[weight.name] = numbers.reshape(weight.shape).astype(np.float32)
        start += weight.num_bytes
    return arrays
