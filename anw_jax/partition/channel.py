"""Messages between processes: one function sends them, and logs each.

The transport is `multiprocessing.connection` (pipes, or sockets with a password). A message is
its kind and named arrays, as the bytes of an uncompressed `.npz`: unlike pickles, such bytes
run no code where they are read.
"""

import dataclasses
import hashlib
import io
import pathlib
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection

import numpy as np

from anw_jax import _files, _json
from anw_jax.errors import PartyError

_KIND = "kind"
_MOST_BYTES = 2**28
# A piece of an image this long is taken for the image.
_PIECE_BYTES = 24


@dataclasses.dataclass(frozen=True, eq=False)
class Message:
    """One message: its sender, its kind, and arrays by name."""

    sender: str
    kind: str
    arrays: Mapping[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.arrays:
            raise PartyError(f"{self.sender} has sent {self.kind!r} without {name!r}")
        return self.arrays[name]


class Channel:
    """One end of a connection between two parties.

    Args:
      connection: of `multiprocessing.connection`.
      sender: the name of this end's party.
      receiver: the name of the other.
      trace: folder of the log, `<sender>-<receiver>.jsonl`; None for no log.
      keeps_bodies: whether the bytes of each message are kept beside the log.
    """

    def __init__(
        self,
        connection: Connection,
        sender: str,
        receiver: str,
        *,
        trace: pathlib.Path | None = None,
        keeps_bodies: bool = False,
    ):
        self._connection, self.sender, self.receiver = connection, sender, receiver
        self._trace, self._keeps_bodies = trace, keeps_bodies
        self._number = 0

    def send(self, kind: str, **arrays: np.ndarray) -> None:
        """Log a message, and send it.

        Raises:
          PartyError: the other party has gone.
        """
        buffer = io.BytesIO()
        np.savez(buffer, **{_KIND: np.array(kind)}, **arrays)
        body = buffer.getvalue()
        self._number += 1
        if self._trace is not None:
            self._log(kind, arrays, body)
        try:
            self._connection.send_bytes(body)
        except (OSError, ValueError):
            raise PartyError(f"{self.receiver} has gone: its connection is closed") from None

    def receive(self, *kinds: str, seconds: float) -> Message:
        """Wait for a message of one of some kinds.

        Raises:
          PartyError: the other party has gone, stays silent, or sends something else.
        """
        try:
            if not self._connection.poll(seconds):
                raise PartyError(f"{self.receiver} has sent nothing for {seconds:g} s")
            body = self._connection.recv_bytes(_MOST_BYTES)
        except (EOFError, OSError):
            raise PartyError(f"{self.receiver} has gone: its connection is closed") from None
        try:
            arrays = _files.read_npz(body, _MOST_BYTES)
            kind = str(arrays.pop(_KIND))
        except Exception:  # what a damaged file raises has no common base
            raise PartyError(f"{self.receiver} has sent a damaged message") from None
        if kind not in kinds:
            raise PartyError(f"{self.receiver} has sent {kind!r:.40} instead of {kinds[0]!r}")
        return Message(self.receiver, kind, arrays)

    def close(self) -> None:
        """Close the connection; the other party then finds this one gone."""
        self._connection.close()

    def _log(self, kind: str, arrays: Mapping[str, np.ndarray], body: bytes) -> None:
        name = f"{self.sender}-{self.receiver}"
        self._trace.mkdir(parents=True, exist_ok=True)
        line = {
            "number": self._number,
            "kind": kind,
            "arrays": {n: [str(a.dtype), list(np.shape(a))] for n, a in arrays.items()},
            "bytes": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
        }
        if self._keeps_bodies:
            path = self._trace / f"{name}-{self._number:06d}.npz"
            _files.write_whole(path, body, durable=False)
        with (self._trace / f"{name}.jsonl").open("a") as file:
            file.write(_json.dumps(line) + "\n")


@dataclasses.dataclass(frozen=True)
class Leak:
    """An image that was found in a message.

    Attributes:
      message: the file of the message.
      image: the row of the image.
      how: "bytes" (its pixels as they are) or "copy" (an array that follows its pixels).
    """

    message: str
    image: int
    how: str


def find_images(trace: pathlib.Path, images: np.ndarray, least: float = 0.95) -> list[Leak]:
    """Search the kept messages of a trace for images.

    It finds the pixels' bytes at any place, as uint8 or as float32 in [0, 1]; and arrays whose
    rows have the size of an image and correlate with one: shifted, scaled or noisy copies. It
    does not find a copy that is encrypted, compressed or of another size.

    Args:
      trace: folder of messages that were kept.
      images: uint8 `[n, H, W, 3]`.
      least: correlation from which an array is a copy.

    Returns:
      One entry for each message, image and way.

    Raises:
      ValueError: no message was kept there.

    Example:
      `assert find_images(folder, images) == []`
    """
    files = sorted(trace.glob("*.npz"))
    if not files:
        raise ValueError(f"{trace} holds no kept messages (keeps_bodies=True keeps them)")
    flat = images.reshape(len(images), -1)
    pieces = [_pieces(flat), _pieces(flat.astype(np.float32) / np.float32(255.0))]
    normal = _normal(flat.astype(np.float32))
    found = []
    for file in files:
        body = file.read_bytes()
        hits = {(row, "bytes") for known in pieces for row in _rows_in(body, known)}
        for array in _files.read_npz(body).values():
            hits |= {(row, "copy") for row in _copies(array, normal, least)}
        found += [Leak(file.name, row, how) for row, how in sorted(hits)]
    return found


def _pieces(flat: np.ndarray) -> dict[bytes, int]:
    """Return the bytes from the middle of each image, and its row; flat pieces say nothing."""
    found = {}
    for row, pixels in enumerate(flat):
        middle = pixels.tobytes()[pixels.nbytes // 2 :][:_PIECE_BYTES]
        if len(set(middle)) > 4:
            found[middle] = row
    return found


def _rows_in(body: bytes, pieces: Mapping[bytes, int]) -> Iterator[int]:
    """Yield the images whose piece stands anywhere in some bytes."""
    heads = np.unique(np.array([np.frombuffer(p[:8], "<u8")[0] for p in pieces], np.uint64))
    for shift in range(8):
        count = (len(body) - shift) // 8
        words = np.frombuffer(body, "<u8", count=max(count, 0), offset=min(shift, len(body)))
        for place in np.flatnonzero(np.isin(words, heads)):
            start = shift + 8 * int(place)
            row = pieces.get(body[start : start + _PIECE_BYTES])
            if row is not None:
                yield row


def _copies(array: np.ndarray, normal: np.ndarray, least: float) -> Iterator[int]:
    size = normal.shape[1]
    if array.dtype.kind not in "fiu" or array.size == 0 or array.size % size:
        return
    rows = _normal(np.nan_to_num(array.reshape(-1, size).astype(np.float32)))
    for start in range(0, len(rows), 256):
        likeness = np.abs(rows[start : start + 256] @ normal.T)
        yield from map(int, np.flatnonzero((likeness >= least).any(axis=0)))


def _normal(rows: np.ndarray) -> np.ndarray:
    """Return rows of mean 0 and length 1; constant rows become 0."""
    rows = rows - rows.mean(axis=1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
