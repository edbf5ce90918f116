"""The compute server: it runs the top half, and adds masked weights; it sees no image.

It is honest but curious. An owner who goes is left out from then on; below the threshold the
training stops, and goes on from the last whole round when all start again.
"""

import dataclasses
import functools
import pathlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import _files, _json, train
from anw_jax.errors import AggregationError, CheckpointError, DivergenceError, PartyError
from anw_jax.partition.channel import Channel, Message
from anw_jax.partition.masked_sum import from_fixed_point, unmasked_sum
from anw_jax.partition.owner import as_bytes, by_number, numbered, owner_name
from anw_jax.partition.settings import Params, SplitSettings, at_rate, to_vector


@dataclasses.dataclass(frozen=True)
class RoundReport:
    """One round of a split training.

    Attributes:
      number: rounds completed.
      loss: mean cross-entropy in nats.
      accuracy: on the batches of this round.
      num_owners: whose weights are in the average.
      seconds: of the round.
    """

    number: int
    loss: float
    accuracy: float
    num_owners: int
    seconds: float


@dataclasses.dataclass(frozen=True, eq=False)
class SplitResult:
    """A trained network in two halves.

    Attributes:
      bottom: weights of the owners' half.
      top: weights of the server's half.
      lost: owners who went, by number, with the reason.
      reports: one for each round of this call.
      completed: whether all rounds were played.
    """

    bottom: Params
    top: Params
    lost: Mapping[int, str]
    reports: tuple[RoundReport, ...]
    completed: bool


def serve(
    channels: Mapping[int, Channel],
    settings: SplitSettings,
    file: pathlib.Path,
    *,
    on_round: Callable[[RoundReport], None] = lambda report: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> SplitResult:
    """Play the server until the last round.

    Args:
      channels: to the owners, by number.
      settings: of the training.
      file: `.npz` of the last whole round; a training resumes from it.
      on_round: called after each round.
      should_stop: asked after each round.

    Raises:
      AggregationError: too few owners are left; the file holds the last whole round.
      DivergenceError: a loss that is not finite.
      CheckpointError: the file is damaged, or of a training with other settings.
    """
    return _Server(channels, settings, file).play(on_round, should_stop)


class _Server:
    def __init__(
        self, channels: Mapping[int, Channel], settings: SplitSettings, file: pathlib.Path
    ):
        self._channels, self._settings, self._file = dict(channels), settings, file
        self._owned_of, self._top_of = settings.unravel()
        self._first, self._owned, top = _restore(file, settings)
        self._top = self._top_of(top)
        self._lost: dict[int, str] = {}

    def play(
        self, on_round: Callable[[RoundReport], None], should_stop: Callable[[], bool]
    ) -> SplitResult:
        reports, completed = [], True
        for number in range(self._first, self._settings.num_rounds):
            reports.append(self._round(number))
            _save(self._file, self._settings, number + 1, self._owned, to_vector(self._top))
            on_round(reports[-1])
            if should_stop() and number + 1 < self._settings.num_rounds:
                completed = False
                break
        self._each(self._channels, lambda _, channel: channel.send("done"))
        bottom = self._owned_of(self._owned)["bottom"]
        return SplitResult(bottom, self._top, self._lost, tuple(reports), completed)

    def _round(self, number: int) -> RoundReport:
        start, settings = time.monotonic(), self._settings
        self._send("model", round=np.array(number), weights=self._owned)
        step_fn, init_fn = _top_step(settings.program)
        optimizer_state = at_rate(init_fn(self._top), settings.rate(number))
        numbers = []
        for _ in range(settings.steps_per_round):
            shares = self._gather("share")
            activations = np.concatenate([one["activations"] for one in shares.values()])
            labels = np.concatenate([one["labels"] for one in shares.values()])
            self._top, optimizer_state, gradient, metrics = step_fn(
                self._top, optimizer_state, activations, labels
            )
            numbers.append([float(value) for value in metrics])
            if not np.isfinite(numbers[-1][0]):
                raise DivergenceError(
                    f"the loss became {numbers[-1][0]} in round {number + 1}; "
                    f"{self._file.name} holds the round before; lower learning_rate"
                )
            self._return(
                dict(zip(shares, np.split(np.asarray(gradient), len(shares)), strict=True))
            )
        self._owned, count = self._average()
        loss, accuracy = np.mean(numbers, axis=0)
        seconds = time.monotonic() - start
        return RoundReport(number + 1, float(loss), float(accuracy), count, seconds)

    def _return(self, gradients: Mapping[int, np.ndarray]) -> None:
        self._each(
            gradients, lambda n, channel: channel.send("gradient", gradient=gradients[n])
        )

    def _average(self) -> tuple[np.ndarray, int]:
        """Return the mean of the owners' weights, float32 `[n]`, and of how many."""
        keys = {n: m["keys"].tobytes() for n, m in self._gather("keys").items()}
        self._send("all_keys", **numbered(keys, "keys"))
        sent = {n: by_number(m, "shares") for n, m in self._gather("shares").items()}

        def relay(receiver: int, channel: Channel) -> None:
            own = {n: packets[receiver] for n, packets in sent.items() if n != receiver}
            channel.send("packets", **numbered(own, "shares"))

        self._each(sent, relay)
        masked = {n: m["masked"] for n, m in self._gather("masked").items()}
        self._send("arrived", numbers=np.array(list(masked)))
        opened = {n: by_number(m, "shares") for n, m in self._gather("revealed").items()}
        total = unmasked_sum(masked, keys, sent, opened, self._settings.needed_owners)
        mean = from_fixed_point(total) / len(masked)
        return mean.astype(np.float32), len(masked)

    def _send(self, kind: str, **arrays: np.ndarray) -> None:
        self._each(self._channels, lambda _, channel: channel.send(kind, **arrays))

    def _gather(self, kind: str) -> dict[int, Message]:
        """Wait for a message from each owner."""
        found: dict[int, Message] = {}

        def receive(number: int, channel: Channel) -> None:
            seconds = self._settings.silence_seconds
            message = channel.receive(kind, "failed", seconds=seconds)
            if message.kind == "failed":
                raise PartyError(f"{owner_name(number)} failed: {message['reason']}")
            if kind == "share" and not self._fits(message):
                raise PartyError(f"{owner_name(number)} has sent activations of another shape")
            found[number] = message

        self._each(self._channels, receive)
        return found

    def _fits(self, share: Message) -> bool:
        """Return whether activations and labels are of the shapes that all owners send."""
        height, width, _ = self._settings.image_shape
        batch, channels = self._settings.batch_size, self._settings.net.channels
        expected = (batch, height // 2, width // 2, channels)
        return share["activations"].shape == expected and share["labels"].shape == (batch,)

    def _each(self, numbers: Iterable[int], do: Callable[[int, Channel], Any]) -> None:
        """Do something with the owners who are there; who is gone is left out from now on.

        Raises:
          AggregationError: fewer are left than the threshold.
        """
        for number in list(numbers):
            channel = self._channels.get(number)
            try:
                if channel is not None:
                    do(number, channel)
            except PartyError as error:
                self._lost[number] = _last_words(number, channel) or str(error)
                self._channels.pop(number).close()
        if len(self._channels) < self._settings.needed_owners:
            raise AggregationError(
                f"{len(self._channels)} of {self._settings.num_owners} owners are left, and "
                f"{self._settings.needed_owners} are needed "
                f"({'; '.join(self._lost.values())}): "
                f"start again with all of them: {self._file.name} holds the last whole round"
            )


def _last_words(number: int, channel: Channel) -> str:
    """Return why an owner gave up, if he said so before he went."""
    try:
        return (
            f"{owner_name(number)} failed: {channel.receive('failed', seconds=0.0)['reason']}"
        )
    except PartyError:
        return ""


@functools.lru_cache(maxsize=4)
def _top_step(settings: SplitSettings) -> tuple[Callable, Callable]:
    """Return a step of the top half, with the gradient by activations; and its optimizer."""
    optimizer = settings.optimizer

    def loss_fn(top: Params, seen: jax.Array, labels: jax.Array) -> tuple[jax.Array, Any]:
        logits = settings.net.top(top, seen)
        accuracy = (logits.argmax(-1) == labels).astype(jnp.float32).mean()
        return train.cross_entropy(logits, labels).mean(), accuracy

    @jax.jit
    def step(top: Params, state: Any, seen: jax.Array, labels: jax.Array) -> Any:
        (loss, accuracy), gradients = jax.value_and_grad(loss_fn, (0, 1), has_aux=True)(
            top, seen, labels
        )
        updates, state = optimizer.update(gradients[0], state, top)
        top = jax.tree.map(jnp.add, top, updates)
        # Each owner gets the gradient of the mean over his own images.
        num_owners = jnp.float32(len(labels) // settings.batch_size)
        return top, state, gradients[1] * num_owners, (loss, accuracy)

    return step, optimizer.init


def _save(
    file: pathlib.Path, settings: SplitSettings, number: int, owned: Any, top: Any
) -> None:
    arrays = {"round": np.array(number), "owned": owned, "top": top}
    _files.write_npz(file, {**arrays, "settings": as_bytes(_described(settings))})


def _restore(file: pathlib.Path, settings: SplitSettings) -> tuple[int, np.ndarray, np.ndarray]:
    """Return the number of whole rounds, the owners' weights and the server's."""
    first = tuple(to_vector(tree) for tree in settings.first_weights())
    if not file.exists():
        return 0, *first
    try:
        arrays = _files.read_npz(file.read_bytes())
        described = arrays["settings"].tobytes()
        found = int(arrays["round"]), arrays["owned"], arrays["top"]
    except Exception:  # what a damaged file raises has no common base
        raise CheckpointError(f"{file} is damaged: delete it to start afresh") from None
    if described != _described(settings):
        raise CheckpointError(f"{file} is of a training with other settings: delete it")
    return found


def _described(settings: SplitSettings) -> bytes:
    return _json.canonical(dataclasses.asdict(settings))
