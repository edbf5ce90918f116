"""A split training on one machine: the server here, each data owner a process."""

import multiprocessing
import pathlib
import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from anw_jax.partition.channel import Channel
from anw_jax.partition.owner import SERVER, owner_name, run_owner
from anw_jax.partition.server import SplitResult, serve
from anw_jax.partition.settings import SplitSettings

_TRACE = "trace"
_JOIN_SECONDS = 10.0


def train_split(
    files: Sequence[pathlib.Path],
    settings: SplitSettings,
    folder: pathlib.Path,
    *,
    keeps_bodies: bool = False,
    **options: Any,
) -> SplitResult:
    """Train with data owners who show no image; resume from the last whole round.

    Each owner is a new interpreter (the method "spawn") that alone reads its file; this process
    is the server. Owners on other machines call `run_owner`, and the server `serve`, with
    connections of `multiprocessing.connection.Client` and `Listener`.

    Args:
      files: of the owners, as `run_owner` reads them.
      settings: of the training.
      folder: for `split.npz` (the last whole round) and `trace/` (a log of all messages).
      keeps_bodies: whether the bytes of all messages are kept in `trace/`.
      **options: of `serve`: `on_round`, `should_stop`.

    Raises:
      ValueError: not one file for each owner.
      AggregationError, DivergenceError, CheckpointError: as `serve`.
    """
    if len(files) != settings.num_owners:
        raise ValueError(f"files must name {settings.num_owners} owners', got {len(files)}")
    folder.mkdir(parents=True, exist_ok=True)
    logged = {"trace": folder / _TRACE, "keeps_bodies": keeps_bodies}
    context = multiprocessing.get_context("spawn")
    processes, channels = [], {}
    try:
        for number, file in enumerate(files, 1):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_play,
                args=(theirs, number, pathlib.Path(file), settings, logged),
                daemon=True,
            )
            process.start()
            theirs.close()  # so that its end closes with its process
            processes.append(process)
            channels[number] = Channel(ours, SERVER, owner_name(number), **logged)
        return serve(channels, settings, folder / "split.npz", **options)
    finally:
        for channel in channels.values():
            channel.close()
        for process in processes:
            process.join(_JOIN_SECONDS)
            if process.is_alive():
                process.kill()


def _play(
    connection: Connection, number: int, file: pathlib.Path, settings: Any, logged: Any
) -> None:
    """Play an owner; the server has been told why one failed, so no traceback is printed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server says when to stop
    try:
        run_owner(connection, number, file, settings, **logged)
    except Exception as error:
        raise SystemExit(1) from error
