"""A tiny split training whose parties are threads, for tests of seconds."""

import contextlib
import functools
import multiprocessing
import threading

import numpy as np

from anw_jax.errors import AnwError
from anw_jax.models import SplitNet
from anw_jax.partition import Channel, SplitSettings, run_owner, serve
from anw_jax.partition.owner import _Owner
from anw_jax.partition.settings import to_vector

SHAPE = (8, 8, 3)


def tiny(**changes) -> SplitSettings:
    values = {
        "net": SplitNet(2, channels=2, width=4),
        "num_owners": 3,
        "image_shape": SHAPE,
        "num_rounds": 2,
        "steps_per_round": 3,
        "batch_size": 8,
        "silence_seconds": 600.0,
    }
    return SplitSettings(**values | changes)


def made_up(num_images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of noise whose classes differ in brightness."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, num_images)
    images = rng.integers(0, 150, (num_images, *SHAPE)) + 100 * labels[:, None, None, None]
    return images.astype(np.uint8), labels


def play(settings, files, folder, *, owners=None, keeps_bodies=False, **options):
    """Train with owners that are threads; `owners` replaces `run_owner` by number."""
    rehearse(settings.program, files[0])
    logged = {"trace": folder / "trace", "keeps_bodies": keeps_bodies}
    threads, channels = [], {}
    for number, file in enumerate(files, 1):
        ours, theirs = multiprocessing.Pipe()
        run = (owners or {}).get(number, run_owner)
        arguments = (run, theirs, number, file, settings, logged)
        threads.append(threading.Thread(target=_quietly, args=arguments, daemon=True))
        threads[-1].start()
        channels[number] = Channel(ours, "server", f"owner{number}", **logged)
    try:
        return serve(channels, settings, folder / "split.npz", **options)
    finally:
        for channel in channels.values():
            channel.close()
        for thread in threads:
            thread.join(600)


class _Alone:
    """A channel of an owner without a server: all gradients are 0."""

    def send(self, kind, activations, labels):
        self._gradient = np.zeros_like(activations)

    def receive(self, *kinds, seconds):
        return {"gradient": self._gradient}


@functools.cache
def rehearse(program, file):
    """Compile an owner's programs, which each thread would compile for itself."""
    owner = _Owner(_Alone(), 1, file, program)
    to_vector(owner._round(0, owner._tree_of(to_vector(program.first_weights()[0]))))


def _quietly(run, connection, number, file, settings, logged) -> None:
    with contextlib.suppress(AnwError, ValueError):
        run(connection, number, file, settings, **logged)
