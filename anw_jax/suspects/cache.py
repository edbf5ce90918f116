"""On-disk cache of a suspect's answers; survives a killed process.

A file is only ever appended to. Each record carries a checksum:

    mark (2 bytes) | kind (1) | length of the payload (4) | key (32) | payload | CRC-32 (4)

Kinds: *asked* (written before a paid query is sent), *answer* (the payload is the answer),
*refused* (certainly not answered and so not paid for: it is queried again), *unusable* (there
is no usable answer and there will be no further query; the payload is the reason). The key is
the SHA-256 of the suspect's declaration and of the exact 8-bit picture. Files from before the
kind *unusable* existed have no such records and are read in the same way.

The format is our own and not a sqlite3 database because the SHA-256 of the file is sealed in
`blind.json` and checked again in a replay: a database has no canonical bytes, and the files of
sealed cases would still need this reader.

**After a kill.** A record goes to the operating system in one `write` before anything else
happens, so the death of this process, by any signal, loses nothing that was received. An
unfinished record can only be the last one; it is cut off when the file is opened again. A query
with *asked* and without *answer* was in flight when the process died: it may have been paid
for, counts against the budget, and is reported in `num_in_doubt`. **After a power cut.**
`fsync` is called at most every `sync_seconds` and on closing, because a call for each answer
would take longer than most answers do. So a power cut can lose the last second; with
`sync_seconds=0` each record is synced.
"""

import contextlib
import hashlib
import io
import mmap
import os
import pathlib
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Self

import numpy as np

from anw_jax import _check, _files
from anw_jax.errors import CacheError, SuspectError
from anw_jax.suspects.declaration import Declaration
from anw_jax.suspects.protocol import Answers, checked

_TITLE = b"anw_jax answers, version 1\n"
_TAG = b"anw_jax/v1/question\0"
_MARK = b"\xa7\x1e"
_HEAD = struct.Struct("<2sBI32s")
_SUM = struct.Struct("<I")
_ASKED, _ANSWER, _REFUSED, _UNUSABLE = _KINDS = 1, 2, 3, 4
# Largest number of characters of the reason why a picture has no usable answer.
_LONGEST_REASON = 240


def question_key(declaration_digest: str, image: np.ndarray) -> bytes:
    """SHA-256 over the declaration and the shape and bytes of one uint8 picture.

    Example:
      >>> question_key("", np.zeros((1, 1, 3), np.uint8)).hex()[:16]
      '22429282c0c09c84'
    """
    height, width, _ = image.shape
    head = _TAG + declaration_digest.encode() + struct.pack(">QQ", height, width)
    return hashlib.sha256(head + image.tobytes()).digest()


class AnswerCache:
    """The answers of one suspect by key of the picture; a context manager.

    Args:
      path: the file, created if it does not exist; None keeps answers in memory only.
      declaration: of the suspect; a file belongs to one declaration.
      sync_seconds: longest time between a record and its `fsync`, at least 0.

    Attributes:
      num_cut_bytes: length of an unfinished record that a kill left, cut off on opening.

    Raises:
      CacheError: the file is not a file of answers, is damaged, is in use by another process,
        or belongs to another suspect.

    Example:
      >>> with AnswerCache(None, Declaration(4, "label")) as cache:
      ...     cache.store([b"k" * 32], Answers("label", labels=np.array([2])))
      ...     cache.get(b"k" * 32).labels.tolist(), cache.num_queries
      ([2], 1)
    """

    def __init__(
        self,
        path: str | os.PathLike | None,
        declaration: Declaration,
        *,
        sync_seconds: float = 1.0,
    ):
        _check.is_instance(Declaration, declaration=declaration)
        self._sync_seconds = _check.in_interval(0.0, 3600.0, sync_seconds=sync_seconds)
        self._declaration, self.declaration_digest = declaration, declaration.digest
        self.num_cut_bytes = 0
        self._lock = threading.RLock()
        self._place: dict[bytes, tuple[int, int]] = {}
        self._why_unusable: dict[bytes, str] = {}
        self._open: Counter[bytes] = Counter()
        self._num_queries = 0
        self._is_closed = False
        self._last_sync = time.monotonic()
        self._path = None if path is None else pathlib.Path(path)
        self._file = io.BytesIO() if path is None else self._opened(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __len__(self) -> int:
        """Number of pictures with an answer."""
        return len(self._place)

    def __contains__(self, key: bytes) -> bool:
        return key in self._place

    @property
    def num_queries(self) -> int:
        """Pictures that were or may have been paid for, over the life of the file."""
        return self._num_queries

    @property
    def num_unusable(self) -> int:
        """Pictures that have no usable answer and are not queried again."""
        return len(self._why_unusable)

    @property
    def num_in_doubt(self) -> int:
        """Queries that were sent and neither answered nor refused."""
        return sum(self._open.values())

    def get(self, key: bytes, shape: tuple[int, ...] | None = None) -> Answers:
        """Return the answer to a picture, as a batch of one.

        Args:
          key: of the picture.
          shape: (H, W, 3) of the picture, which answers that are images must have.

        Raises:
          KeyError: there is none.
          CacheError: the cache is closed, the file was changed since it was opened, or the
            record is no answer of the suspect, though its checksum is right.
        """
        with self._lock:
            self._check_open()
            start, length = self._place[key]
            self._file.seek(start)
            record = self._file.read(_HEAD.size + length + _SUM.size)
            if _record_at(record, 0) != (_ANSWER, key, _HEAD.size, length):
                raise CacheError(f"{self._path} was changed at byte {start} while it was open")
        try:
            return _answer_in(record[_HEAD.size : -_SUM.size], self._declaration, shape)
        except (struct.error, IndexError, ValueError, SuspectError) as error:
            raise CacheError(
                f"{self._path} is damaged at byte {start}: a record with a right checksum "
                f"holds no answer of this suspect ({error}); restore the file from a copy"
            ) from None

    def note_asked(self, keys: Iterable[bytes]) -> None:
        """Record that these are about to be sent and may be paid for."""
        self._append([(_ASKED, key, b"") for key in keys])

    def note_refused(self, keys: Iterable[bytes]) -> None:
        """Record that these were sent and certainly not answered."""
        self._append([(_REFUSED, key, b"") for key in keys])

    def note_unusable(self, keys: Iterable[bytes], why: str) -> None:
        """Record that these have no usable answer and are not to be queried again."""
        payload = why[:_LONGEST_REASON].encode("utf-8", "replace")
        with self._lock:
            new = [key for key in keys if not self.is_settled(key)]
            self._append([(_UNUSABLE, key, payload) for key in new])

    def why_unusable(self, key: bytes) -> str | None:
        """Return why a picture has no usable answer; None if it has one or was not queried."""
        return self._why_unusable.get(key)

    def is_settled(self, key: bytes) -> bool:
        """Return whether a picture has an answer, or has none that is usable."""
        return key in self._place or key in self._why_unusable

    def store(self, keys: Iterable[bytes], answers: Answers, *, again: bool = False) -> None:
        """Store answers; the first answer to a picture stays the one that `get` returns.

        Args:
          keys: of the pictures.
          answers: to them, in order.
          again: record, and count as a query, also an answer to a settled picture: a control.
        """
        with self._lock:
            new = [(i, key) for i, key in enumerate(keys) if again or not self.is_settled(key)]
            self._append([(_ANSWER, key, answers.to_bytes(i)) for i, key in new])

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Lock the cache, to read `num_queries` and act on it."""
        with self._lock:
            yield

    def sync(self) -> None:
        """Wait until everything is on the disk."""
        with self._lock:
            if self._path is not None and not self._is_closed:
                os.fsync(self._file.fileno())
            self._last_sync = time.monotonic()

    def close(self) -> None:
        """Sync and close the file; nothing can be stored afterwards."""
        with self._lock:
            self.sync()
            self._file.close()
            self._is_closed = True

    def _check_open(self) -> None:
        if self._is_closed:
            raise CacheError("the cache is closed: answers to further queries would be lost")

    def _append(self, records: list[tuple[int, bytes, bytes]]) -> None:
        with self._lock:
            self._check_open()
            # Only what is written counts: Ctrl-C or a full disk may come at any line of this.
            starts = self._write(records)
            for (kind, key, payload), start in zip(records, starts, strict=True):
                self._count(kind, key, payload, start)
            if time.monotonic() - self._last_sync >= self._sync_seconds:
                self.sync()

    def _write(self, records: list[tuple[int, bytes, bytes]]) -> list[int]:
        """Write all of the records or none; return where each one begins."""
        end, body, starts = self._file.seek(0, os.SEEK_END), bytearray(), []
        for kind, key, payload in records:
            starts.append(end + len(body))
            record = _HEAD.pack(_MARK, kind, len(payload), key) + payload
            body += record + _SUM.pack(zlib.crc32(record))
        left = memoryview(body)
        try:
            # Unbuffered: once this returns, only the death of the machine can lose it.
            while left:
                left = left[self._file.write(left) :]
        except BaseException:
            self._file.truncate(end)
            raise
        return starts

    def _count(self, kind: int, key: bytes, payload: bytes, start: int) -> None:
        if kind == _ASKED:
            self._open[key] += 1
            self._num_queries += 1
            return
        if self._open[key] > 0:
            self._open[key] -= 1
            self._num_queries -= kind == _REFUSED
        elif kind == _ANSWER:
            self._num_queries += 1
        if kind == _REFUSED or self.is_settled(key):  # the first answer stays
            return
        if kind == _UNUSABLE:
            self._why_unusable[key] = payload.decode("utf-8", "replace")
        else:
            self._place[key] = (start, len(payload))

    def _opened(self, path: pathlib.Path) -> io.FileIO:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+b", buffering=0)
        try:
            message = f"{path} is in use by another process: wait for it, or name another file"
            _files.lock(file, lambda: CacheError(message))
            self._read(path, file)
        except BaseException:
            file.close()
            raise
        return file

    def _read(self, path: pathlib.Path, file: io.FileIO) -> None:
        title = _TITLE + self.declaration_digest.encode() + b"\n"
        file.seek(0)
        begin = file.read(len(title))
        if title.startswith(begin) and begin != title:  # new, or killed while writing it
            file.truncate(0)
            file.write(title)
            os.fsync(file.fileno())
            return
        if not begin.startswith(_TITLE):
            raise CacheError(f"{path} is not a file of answers: name another file")
        if begin != title:
            raise CacheError(
                f"{path} holds the answers of another suspect, or of this one under another "
                "declaration: name another file"
            )
        # Mapped: a file of answers may be larger than memory.
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as body:
            end, size = len(title), len(body)
            while (record := _record_at(body, end)) is not None:
                kind, key, place, length = record
                self._count(kind, key, body[place : place + length], end)
                end = place + length + _SUM.size
            _check_tail(path, body, end)
        if end < size:
            self.num_cut_bytes = size - end
            file.truncate(end)
            os.fsync(file.fileno())


def _answer_in(
    payload: bytes, declaration: Declaration, shape: tuple[int, ...] | None
) -> Answers:
    """Return an answer, and refuse what an edited file may hold in its place."""
    answers = checked(Answers.from_bytes(payload), declaration, 1)
    if answers.kind == "image" and shape not in (None, answers.scores.shape[1:]):
        raise ValueError(f"an image {answers.scores.shape[1:]} for one {shape}")
    return answers


def _check_tail(path: pathlib.Path, body: mmap.mmap, end: int) -> None:
    """Accept an unfinished last record; raise CacheError for damage before valid ones."""
    later = body.find(_MARK, end + 1)
    while later >= 0:
        if _record_at(body, later) is not None:
            raise CacheError(
                f"{path} is damaged at byte {end} (the checksum is wrong, and good records "
                "follow): restore it from a copy, or name another file and query again"
            )
        later = body.find(_MARK, later + 1)


def _record_at(body: bytes | mmap.mmap, start: int) -> tuple[int, bytes, int, int] | None:
    """Return kind, key, place and length of the payload of a whole record, or None."""
    if start + _HEAD.size > len(body):
        return None
    mark, kind, length, key = _HEAD.unpack_from(body, start)
    place = start + _HEAD.size
    end = place + length
    if mark != _MARK or kind not in _KINDS or end + _SUM.size > len(body):
        return None
    if _SUM.unpack_from(body, end)[0] != zlib.crc32(body[start:end]):
        return None
    return kind, key, place, length
