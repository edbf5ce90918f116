"""A data owner: his images stay in his process, activations and masked weights leave it.

In each step he sends activations at the cut (as his defence leaves them) and labels, gets their
gradient back, and moves his bottom half; at the end of a round he takes part in a masked sum of
the bottom halves.
"""

import contextlib
import functools
import pathlib
import secrets
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import _check, _files, data, train
from anw_jax.errors import AnwError, PartyError, SourceError
from anw_jax.partition.channel import Channel, Message
from anw_jax.partition.defence import distance_correlation, released
from anw_jax.partition.masked_sum import Member, to_fixed_point
from anw_jax.partition.settings import Params, SplitSettings, at_rate, to_vector

SERVER = "server"


class _Batch(NamedTuple):
    """Images float32 `[b, H, W, 3]`, and the gradient of the task's loss by activations."""

    images: jax.Array
    gradient: jax.Array


def owner_name(number: int) -> str:
    """Return the name of an owner in logs and messages, counted from 1."""
    return f"owner{number}"


def run_owner(
    connection: Connection,
    number: int,
    file: pathlib.Path,
    settings: SplitSettings,
    *,
    trace: pathlib.Path | None = None,
    keeps_bodies: bool = False,
) -> None:
    """Play a data owner until the server ends the training.

    Args:
      connection: to the server.
      number: of this owner, from 1.
      file: his `.npz` with `images` uint8 `[n, H, W, 3]` and `labels` integers `[n]`.
      settings: of the training.
      trace: folder of the log of his messages; None for no log.
      keeps_bodies: whether the bytes of messages are kept there.

    Raises:
      AnwError, ValueError: a wrong file, or a server that has gone; the server is told why.
    """
    name = owner_name(number)
    channel = Channel(connection, name, SERVER, trace=trace, keeps_bodies=keeps_bodies)
    try:
        _Owner(channel, number, file, settings).play()
    except (AnwError, ValueError, OSError) as error:
        with contextlib.suppress(PartyError):  # the server itself may be what failed
            channel.send("failed", reason=np.array(f"{type(error).__name__}: {error}"))
        raise
    finally:
        channel.close()


class _Owner:
    def __init__(
        self, channel: Channel, number: int, file: pathlib.Path, settings: SplitSettings
    ):
        self._channel, self._number, self._settings = channel, number, settings
        self._images, self._labels = read_images(file, settings)
        self._plan = data.BatchPlan(
            len(self._images), settings.batch_size, settings.seed + number
        )
        # Whoever knew it could subtract the noise: it is drawn here, and told to nobody.
        self._noise_key = jax.random.key(secrets.randbits(63))
        self._tree_of = settings.unravel()[0]

    def play(self) -> None:
        while (message := self._receive("model", "done")).kind == "model":
            number = int(message["round"])
            weights = self._round(number, self._tree_of(message["weights"]))
            self._add(to_vector(weights))

    def _round(self, number: int, weights: Params) -> Params:
        """Take the steps of a round, and return the own weights after them."""
        settings = self._settings
        step = owner_step(settings.program)
        state = step.init(weights)
        state = state.replace(opt_state=at_rate(state.opt_state, settings.rate(number)))
        release_fn, update_fn = _release_fn(settings.program), _update_fn(step)
        rows = self._plan.rows(number * settings.steps_per_round, settings.steps_per_round)
        for index, chosen in enumerate(rows):
            place = number * settings.steps_per_round + index
            key = jax.random.fold_in(self._noise_key, place)
            images = self._images[chosen].astype(np.float32) / np.float32(255.0)
            seen = release_fn(state.params["bottom"], images, jax.random.fold_in(key, 0))
            self._channel.send(
                "share", activations=np.asarray(seen), labels=self._labels[chosen]
            )
            gradient = self._receive("gradient")["gradient"]
            if gradient.shape != seen.shape:
                raise ValueError(f"the server sent a gradient of shape {gradient.shape}")
            batch = _Batch(images, gradient)
            state, _ = update_fn(state, batch, jax.random.fold_in(key, 1))
        return state.params

    def _add(self, vector: np.ndarray) -> None:
        """Take part in the masked sum of all owners' weights."""
        settings = self._settings
        member = Member(self._number, settings.num_owners, settings.needed_owners)
        self._channel.send("keys", keys=as_bytes(member.public_keys))
        own = member.share(by_number(self._receive("all_keys"), "keys"))
        self._channel.send("shares", **numbered(own, "shares"))
        packets = by_number(self._receive("packets"), "shares")
        masked = member.mask(to_fixed_point(vector, settings.num_owners), packets)
        self._channel.send("masked", masked=masked)
        arrived = self._receive("arrived")["numbers"]
        opened = member.reveal([int(number) for number in arrived])
        self._channel.send("revealed", **numbered(opened, "shares"))

    def _receive(self, *kinds: str) -> Message:
        return self._channel.receive(*kinds, seconds=2.0 * self._settings.silence_seconds)


def read_images(file: pathlib.Path, settings: SplitSettings) -> tuple[np.ndarray, np.ndarray]:
    """Read an owner's images and labels, checked against the settings.

    Raises:
      SourceError: the file is missing, damaged or does not fit; one line.
    """
    try:
        arrays = _files.read_npz(_files.read_regular(file))
        images = _check.uint8_images(images=arrays["images"])
        labels = _check.class_labels(
            len(images), settings.net.num_classes, labels=arrays["labels"]
        )
    except KeyError as error:
        raise SourceError(f"{file} has no array {error}") from None
    except (OSError, ValueError, TypeError, MemoryError) as error:
        raise SourceError(f"{file} cannot be used: {error}") from None
    if images.shape[1:] != tuple(settings.image_shape) or len(images) < settings.batch_size:
        raise SourceError(
            f"{file} must hold at least {settings.batch_size} images of shape "
            f"{settings.image_shape}, got {images.shape}"
        )
    return images, labels


@functools.lru_cache(maxsize=4)
def owner_step(settings: SplitSettings) -> train.Step:
    """Make an owner's step: the adversary moves, if there is one, then the bottom half.

    The bottom half follows the gradient that the server sent, minus `adversary` times that of
    the adversary's error (up to `cap`), plus `distance_correlation` times that of the distance
    correlation. Batches are images with the server's gradient. The learning rate is set in its
    state (`at_rate`), so trainings of equal `SplitSettings.program` share one step.
    """
    defence, optimizer = settings.defence, settings.optimizer

    def seen_of(params: Params, images: jax.Array, key: chex.PRNGKey) -> jax.Array:
        return released(settings.net.bottom(params["bottom"], images), defence, key)

    def error_of(params: Params, seen: jax.Array, images: jax.Array) -> jax.Array:
        rebuilt = settings.adversary(params["adversary"], seen)
        return jnp.square(rebuilt - images).mean()

    def adversary_loss(params: Params, state: Any, batch: _Batch, key: chex.PRNGKey) -> Any:
        seen = seen_of(params, batch.images, key)
        return error_of(params, seen, batch.images), (state, {})

    def bottom_loss(params: Params, state: Any, batch: _Batch, key: chex.PRNGKey) -> Any:
        seen = seen_of(params, batch.images, key)
        loss = (seen * batch.gradient).sum()
        if defence.adversary:
            error = error_of(params, seen, batch.images)
            loss -= defence.adversary * jnp.minimum(error, defence.cap)
        if defence.distance_correlation:
            likeness = distance_correlation(batch.images, seen)
            loss += defence.distance_correlation * likeness
        return loss, (state, {})

    bottom = train.make_step(bottom_loss, optimizer, trained=("bottom",))
    if not defence.adversary:
        return bottom
    adversary = train.make_step(adversary_loss, optimizer, trained=("adversary",))
    return train.chain(adversary=adversary, bottom=bottom)


@functools.lru_cache(maxsize=4)
def _update_fn(step: train.Step) -> Any:
    return jax.jit(step.update)


@functools.lru_cache(maxsize=4)
def _release_fn(settings: SplitSettings) -> Any:
    return jax.jit(
        lambda bottom, images, key: released(
            settings.net.bottom(bottom, images), settings.defence, key
        )
    )


def as_bytes(body: bytes) -> np.ndarray:
    """Return bytes as uint8 `[n]`."""
    return np.frombuffer(body, np.uint8)


def numbered(values: Mapping[int, bytes], name: str) -> dict[str, np.ndarray]:
    """Return byte strings of one length as arrays of a message, with their numbers."""
    bodies = [as_bytes(body) for body in values.values()]
    return {"numbers": np.array(list(values), np.int64), name: np.stack(bodies)}


def by_number(message: Message, name: str) -> dict[int, bytes]:
    """Return the byte strings of a message; the inverse of `numbered`."""
    pairs = zip(message["numbers"], message[name], strict=True)
    return {int(number): body.tobytes() for number, body in pairs}
