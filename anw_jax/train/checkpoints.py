"""Checkpoints: the state at the end of a segment, and the training that it belongs to.

Orbax names the checkpoint that it cannot load, but not the leaf that is wrong; so trees are
compared here before anything is loaded. A damaged array makes Orbax fail in many threads at
once, and a changed bit may go unnoticed; so digests of all files are stored with the arrays
and checked before these are read.
"""

import contextlib
import errno
import hashlib
import logging
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Sharding, SingleDeviceSharding
from orbax.checkpoint import v1 as ocp

from anw_jax import _json
from anw_jax.errors import CheckpointError
from anw_jax.models import Model, from_settings
from anw_jax.train.step import TrainState

_KEEP = 2
_LIST = "file_digests.json"
_MOST_NAMED = 5


class Checkpoints:
    """The checkpoints of one run, in one folder; a context manager.

    Args:
      directory: folder of the run's checkpoints; made if missing.
      fingerprint: what a resumed run must agree on: a nested dict of plain values.

    Raises:
      CheckpointError: if the folder cannot be made.
    """

    def __init__(self, directory: str | pathlib.Path, fingerprint: dict[str, Any]) -> None:
        self.directory = pathlib.Path(directory).absolute()
        self._fingerprint = fingerprint
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._checkpointer = self._open()
        except OSError as error:
            raise CheckpointError(
                f"no checkpoints can be kept in {self.directory} ({_reason(error)}): free "
                "space or fix its permissions, and run again"
            ) from error

    def _open(self) -> ocp.training.Checkpointer:
        return ocp.training.Checkpointer(
            str(self.directory),
            preservation_policy=ocp.training.preservation_policies.LatestN(_KEEP),
            cleanup_tmp_directories=True,
        )

    def __enter__(self) -> "Checkpoints":
        """Return the checkpoints, whose folder is already open."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the folder; all writes have ended."""
        self._checkpointer.close()

    @property
    def latest_step(self) -> int | None:
        """Optimizer steps in the newest checkpoint; None if there is none."""
        latest = self._checkpointer.latest
        return None if latest is None else latest.step

    def save(self, state: TrainState, segment_steps: int) -> None:
        """Write the state unless this step is already saved; wait until it is complete.

        Raises:
          CheckpointError: if it cannot be written; earlier checkpoints stay, and nothing
            remains of this one.
        """
        step = int(state.step)
        if self.latest_step == step:
            return
        metadata = {"fingerprint": self._fingerprint, "segment_steps": segment_steps}
        tree = _to_tree(state)
        with _without_tracebacks():
            try:
                self._checkpointer.save(step, tree, force=True, custom_metadata=metadata)
                write_file_list(self.directory / str(step))
            except Exception as error:  # A full disk raises whatever error its writer has.
                self._discard(step)
                raise self._not_saved(step, error) from error

    def _discard(self, step: int) -> None:
        """Remove what remains of a failed save."""
        with contextlib.suppress(Exception):  # It raises the error of the save again.
            self._checkpointer.close()
        for path in (self.directory / str(step), *self.directory.glob(f"{step}.*")):
            shutil.rmtree(path, ignore_errors=True)
        # Orbax would raise the old error at the next save, and remembers the lost step.
        with contextlib.suppress(OSError):
            self._checkpointer = self._open()

    def _not_saved(self, step: int, error: Exception) -> CheckpointError:
        latest = self.latest_step
        kept = "there is none before it" if latest is None else f"that of step {latest} is kept"
        return CheckpointError(
            f"the checkpoint of step {step} cannot be written to {self.directory} "
            f"({_reason(error)}); {kept}: free space or fix permissions there, and run again"
        )

    def restore(self, like: TrainState, num_steps: int) -> tuple[TrainState, int]:
        """Return the newest state and the segment length it was trained with.

        Args:
          like: a state of the shapes and shardings wanted.
          num_steps: of the whole training.

        Raises:
          CheckpointError: if the checkpoint is damaged or of another run.
        """
        step = self.latest_step
        metadata = _read_metadata(self._checkpointer, self.directory, step)
        saved = metadata.custom_metadata or {}
        before = dict(saved.get("fingerprint", {}))
        # Earlier versions had several programs that took the steps, and named the one used;
        # a finished training does not depend on it.
        if step >= num_steps:
            before.pop("driver", None)
        _refuse_other_run(before, self._fingerprint, self.directory)
        wanted = _to_tree(like)
        differing = differences(metadata.metadata, wanted)
        if differing:
            path = self.directory / str(step)
            raise CheckpointError(f"checkpoint {path} has other leaves: {differing}")
        abstract = jax.tree.map(lambda leaf: _abstract(leaf, leaf.sharding), wanted)
        tree = _load(self._checkpointer, self.directory, step, abstract)
        return _from_tree(tree, like), int(saved["segment_steps"])


def load_variables(directory: str | pathlib.Path, step: int | None = None) -> dict[str, Any]:
    """Return the variables of a trained network, for `Model.predict_fn`.

    Args:
      directory: the run's folder of checkpoints.
      step: which checkpoint, by optimizer steps; None = the newest.

    Returns:
      `{'params': ..., 'batch_stats': ...}` on this process's first device.

    Raises:
      CheckpointError: if there is no such checkpoint or it is damaged.
    """
    return _load_variables(pathlib.Path(directory).absolute(), step)[0]


def load_model(
    directory: str | pathlib.Path, step: int | None = None
) -> tuple[Model, dict[str, Any]]:
    """Return the network that a run trained, and its variables.

    A checkpoint stores the network's settings, normalisation included, so neither the
    experiment's settings nor its data are needed.

    Args:
      directory: the run's folder of checkpoints.
      step: which checkpoint, by optimizer steps; None = the newest.

    Returns:
      The model and `{'params': ..., 'batch_stats': ...}`, for `Model.predict_fn`.

    Raises:
      CheckpointError: if there is no such checkpoint, it is damaged, or it does not store
        these settings.
    """
    directory = pathlib.Path(directory).absolute()
    variables, step, saved = _load_variables(directory, step)
    try:
        return from_settings(saved["fingerprint"]["model"]), variables
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(
            f"the checkpoint of step {step} in {directory} names no network ({error!s:.80})"
        ) from None


def _load_variables(
    directory: pathlib.Path, step: int | None
) -> tuple[dict[str, Any], int, dict[str, Any]]:
    """Return the variables, the step and the metadata of a checkpoint."""
    if not directory.is_dir():
        raise CheckpointError(f"no checkpoints in {directory}: the folder does not exist")
    with ocp.training.Checkpointer(str(directory)) as checkpointer:
        steps = [checkpoint.step for checkpoint in checkpointer.checkpoints]
        if not steps:
            raise CheckpointError(f"no checkpoints in {directory}: name a run's folder")
        if step is not None and step not in steps:
            raise CheckpointError(
                f"no checkpoint of step {step} in {directory}; there are: {steps}"
            )
        step = steps[-1] if step is None else step
        metadata = _read_metadata(checkpointer, directory, step)
        here = SingleDeviceSharding(jax.local_devices()[0])
        abstract = jax.tree.map(lambda leaf: _abstract(leaf, here), metadata.metadata)
        tree = _load(checkpointer, directory, step, abstract)
    variables = {name: tree[name] for name in ("params", "batch_stats")}
    return variables, step, metadata.custom_metadata or {}


def _to_tree(state: TrainState) -> dict[str, Any]:
    # The optimizer's named tuples become a flat dict, so that a checkpoint can be read
    # without the optimizer that wrote it.
    leaves = jax.tree_util.tree_leaves_with_path(state.opt_state)
    return {
        "step": state.step,
        "params": state.params,
        "batch_stats": state.model_state,
        "opt_state": {jax.tree_util.keystr(path): leaf for path, leaf in leaves},
    }


def _from_tree(tree: dict[str, Any], like: TrainState) -> TrainState:
    paths, treedef = jax.tree_util.tree_flatten_with_path(like.opt_state)
    leaves = [tree["opt_state"][jax.tree_util.keystr(path)] for path, _ in paths]
    opt_state = jax.tree_util.tree_unflatten(treedef, leaves)
    return TrainState(
        step=tree["step"],
        params=tree["params"],
        model_state=tree["batch_stats"],
        opt_state=opt_state,
    )


def _abstract(leaf: Any, sharding: Sharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _read_metadata(checkpointer: Any, directory: pathlib.Path, step: int) -> Any:
    damage = find_damage(directory / str(step))
    if damage is not None:
        raise _damaged(directory, step, damage)
    try:
        metadata = checkpointer.metadata(step)
    except Exception as error:  # Orbax documents no exceptions of its own here.
        raise _damaged(directory, step, _first_line(error)) from error
    if metadata.metadata is None:  # Orbax logs what went wrong, and returns.
        raise _damaged(directory, step, "its list of arrays is damaged")
    return metadata


def _load(checkpointer: Any, directory: pathlib.Path, step: int, abstract: Any) -> Any:
    try:
        return checkpointer.load(step, abstract)
    except Exception as error:  # A damaged file raises whatever error its reader has.
        raise _damaged(directory, step, _first_line(error)) from error


def _damaged(directory: pathlib.Path, step: int, cause: str) -> CheckpointError:
    return CheckpointError(
        f"checkpoint {directory / str(step)} cannot be read ({cause}): delete that folder "
        "to go on from the checkpoint before it, or the folder above it to begin anew"
    )


def _first_line(error: Exception) -> str:
    cause = error.__cause__ or error
    return (str(cause).splitlines() or [type(cause).__name__])[0][:200]


def _reason(error: Exception) -> str:
    """Return why a write failed; TensorStore has the system's number inside a long text."""
    found = re.search(r"os_error_code='(\d+)'", str(error))
    number = int(found[1]) if found else getattr(error, "errno", None)
    return os.strerror(number) if number in errno.errorcode else _first_line(error)


@contextlib.contextmanager
def _without_tracebacks() -> Iterator[None]:
    """Keep Orbax's threads from logging the error that `save` raises."""

    def is_news(record: logging.LogRecord) -> bool:
        return "_SignalingThread.run() raised" not in record.getMessage()

    logger = logging.getLogger("absl")
    logger.addFilter(is_news)
    try:
        yield
    finally:
        logger.removeFilter(is_news)


def _refuse_other_run(
    saved: dict[str, Any], wanted: dict[str, Any], directory: pathlib.Path
) -> None:
    # Checkpoints of earlier versions did not record these.
    later = {"jax", "embedding"} - saved.keys()
    wanted = {name: value for name, value in wanted.items() if name not in later}
    there, here = (
        _by_path(values, ".", is_leaf=lambda value: not isinstance(value, dict))
        for values in (saved, wanted)
    )
    differing = _compare(there, here, repr)
    if differing:
        raise CheckpointError(
            f"checkpoints in {directory} belong to another run: {differing}; "
            "use another folder, or the settings, JAX and devices of that run"
        )


def differences(saved: Any, wanted: Any) -> str:
    """Name the leaves of two trees whose dtype or shape differ, up to five; "" if none does."""
    there, here = (
        {path: f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in _by_path(tree, "/").items()}
        for tree in (saved, wanted)
    )
    return _compare(there, here, str)


def _by_path(
    tree: Any, separator: str, is_leaf: Callable[[Any], bool] | None = None
) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_leaf)
    return {
        jax.tree_util.keystr(path, simple=True, separator=separator): leaf
        for path, leaf in leaves
    }


def _compare(there: dict[str, Any], here: dict[str, Any], show: Callable[[Any], str]) -> str:
    def shown(values: dict[str, Any], name: str) -> str:
        return show(values[name]) if name in values else "missing"

    differing = [
        f"{name} is {shown(there, name)} there and {shown(here, name)} here"
        for name in sorted(there.keys() | here.keys())
        if there.get(name) != here.get(name)
    ]
    num_more = len(differing) - _MOST_NAMED
    more = f"; and {num_more} more" if num_more > 0 else ""
    return "; ".join(differing[:_MOST_NAMED]) + more


def write_file_list(folder: pathlib.Path) -> None:
    """Write size and SHA-256 of every file in the folder to a list there."""
    files = {name: _describe(path) for name, path in sorted(_files(folder).items())}
    _json.write(folder / _LIST, files)


def find_damage(folder: pathlib.Path) -> str | None:
    """Return what is wrong with the folder's files; None if nothing is.

    A folder without a list (its writer was killed before that) passes.
    """
    listing = folder / _LIST
    if not listing.exists():
        return None
    try:
        expected = _json.read(listing)
    except (ValueError, RecursionError):
        return f"{_LIST} is damaged"
    present = _files(folder)
    for name, described in expected.items():
        if name not in present:
            return f"{name} is missing"
        size = present[name].stat().st_size
        if size != described["size"]:
            return f"{name} has {size} bytes, not {described['size']}"
        if _describe(present[name]) != described:
            return f"{name} has changed since it was written"
    return None


def _files(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != _LIST)
    return {path.relative_to(folder).as_posix(): path for path in paths}


def _describe(path: pathlib.Path) -> dict[str, int | str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"size": path.stat().st_size, "sha256": digest}


def digest(tree: Any) -> str:
    """Return 16 hexadecimal digits of the names, shapes and values of all leaves."""
    hashed = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(jax.device_get(tree)):
        leaf = np.ascontiguousarray(leaf)
        hashed.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}".encode())
        hashed.update(leaf)
    return hashed.hexdigest()[:16]
