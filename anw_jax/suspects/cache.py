"""Answers on disk: no query is paid twice, and a kill loses none.

One file per suspect, only ever appended to. Each record carries a checksum:

    mark (2 bytes) | kind (1) | length of the payload (4) | key (32) | payload | CRC-32 (4)

Kinds: *asked* (written before a paid query leaves), *answer* (its payload is the answer),
*refused* (surely not answered, hence not paid: it is asked again), *unusable* (no usable
answer, and none will be asked for; its payload says why). The key is the SHA-256 of the exact
8-bit picture that is asked and of the suspect's declaration. Files without records of the last
kind were written before it was there, and are read as ever.

**What a kill costs.** A record goes to the operating system in one `write` before anything
else happens, so the death of this process, by whatever signal, loses nothing that had been
received; a record that was cut off in the middle is the last one and is cut away when the file
is opened again. A query whose *asked* has no answer was in flight when the process died: it may
have been paid for, counts against the budget, and is reported as `num_in_doubt`; there are at
most as many as were in flight. **What a power cut costs.** The disk is waited for
(`fsync`) at most every `sync_seconds` and on closing: waiting for it at each answer would cost
more than most answers take. A power cut can so lose the last second; `sync_seconds=0` waits
every time.
"""

import contextlib
import hashlib
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
from anw_jax.errors import CacheError
from anw_jax.suspects.answers import Answers
from anw_jax.suspects.declaration import Declaration

_TITLE = b"anw_jax answers, version 1\n"
_TAG = b"anw_jax/v1/question\0"
_MARK = b"\xa7\x1e"
_HEAD = struct.Struct("<2sBI32s")
_SUM = struct.Struct("<I")
_ASKED, _ANSWER, _REFUSED, _UNUSABLE = _KINDS = 1, 2, 3, 4
# Most characters of the reason why a picture has no usable answer.
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
    """The answers of one suspect, by question; a context manager.

    Args:
      path: the file, made where it is not there; None keeps answers in memory only.
      declaration: of the suspect; a file belongs to one declaration for ever.
      sync_seconds: how long written records may wait for the disk; at least 0.

    Attributes:
      num_cut_bytes: what a kill had left of an unfinished record, cut away on opening.

    Raises:
      CacheError: the file is no file of answers, is damaged, is in use by another process, or
        belongs to another suspect.

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
        self.declaration_digest = declaration.digest
        self.num_cut_bytes = 0
        self._lock = threading.RLock()
        self._place: dict[bytes, tuple[int, int]] = {}
        self._memory: dict[bytes, bytes] = {}
        self._why_unusable: dict[bytes, str] = {}
        self._open: Counter[bytes] = Counter()
        self._num_queries = 0
        self._is_closed = False
        self._last_sync = time.monotonic()
        self._file = None
        if path is not None:
            self._open_file(pathlib.Path(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __len__(self) -> int:
        """How many questions have an answer."""
        return len(self._place) + len(self._memory)

    def __contains__(self, key: bytes) -> bool:
        return key in self._place or key in self._memory

    @property
    def num_queries(self) -> int:
        """Pictures that were or may have been paid for, over the life of the file."""
        return self._num_queries

    @property
    def num_unusable(self) -> int:
        """Questions that have no usable answer and are not asked again."""
        return len(self._why_unusable)

    @property
    def num_in_doubt(self) -> int:
        """Queries that were sent and neither answered nor refused."""
        return sum(self._open.values())

    def get(self, key: bytes) -> Answers:
        """The answer to a question, as a batch of one.

        Raises:
          KeyError: there is none.
          CacheError: the cache is closed, or the file was changed since it was opened.
        """
        with self._lock:
            self._check_open()
            if key in self._memory:
                return Answers.from_bytes(self._memory[key])
            place, length = self._place[key]
            start = place - _HEAD.size
            self._file.seek(start)
            record = self._file.read(_HEAD.size + length + _SUM.size)
            if _record_at(record, 0) != (_ANSWER, key, _HEAD.size, length):
                raise CacheError(f"{self._path} was changed at byte {start} while it was open")
            return Answers.from_bytes(record[_HEAD.size : -_SUM.size])

    def note_asked(self, keys: Iterable[bytes]) -> None:
        """Writes down that these are about to be sent and may be paid for."""
        self._append([(_ASKED, key, b"") for key in keys])

    def note_refused(self, keys: Iterable[bytes]) -> None:
        """Writes down that these were sent and surely not answered."""
        self._append([(_REFUSED, key, b"") for key in keys])

    def note_unusable(self, keys: Iterable[bytes], why: str) -> None:
        """Writes down, once and for all, that these have no usable answer."""
        payload = why[:_LONGEST_REASON].encode("utf-8", "replace")
        with self._lock:
            new = [key for key in keys if not self.is_settled(key)]
            self._append([(_UNUSABLE, key, payload) for key in new])

    def why_unusable(self, key: bytes) -> str | None:
        """Why a question has no usable answer; None where it has one, or is yet to be asked."""
        return self._why_unusable.get(key)

    def is_settled(self, key: bytes) -> bool:
        """Whether a question has an answer, or was found to have no usable one."""
        return key in self or key in self._why_unusable

    def store(self, keys: Iterable[bytes], answers: Answers) -> None:
        """Keeps answers; what is settled already stays as it is."""
        with self._lock:
            new = [(i, key) for i, key in enumerate(keys) if not self.is_settled(key)]
            self._append([(_ANSWER, key, answers.to_bytes(i)) for i, key in new])

    def store_control(self, key: bytes, answers: Answers) -> None:
        """Keeps the answer to a picture that was asked perhaps not for the first time.

        It counts as a query; the first answer stays the one that `get` gives.
        """
        self._append([(_ANSWER, key, answers.to_bytes(0))])

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keeps other threads out: for looking at `num_queries` and acting on it."""
        with self._lock:
            yield

    def sync(self) -> None:
        """Waits until everything is on the disk."""
        with self._lock:
            if self._file is not None:
                os.fsync(self._file.fileno())
            self._last_sync = time.monotonic()

    def close(self) -> None:
        """Waits for the disk and lets the file go; nothing may be stored afterwards."""
        with self._lock:
            if self._file is not None:
                self.sync()
                self._file.close()
                self._file = None
            self._is_closed = True

    def _check_open(self) -> None:
        if self._is_closed:
            raise CacheError("the cache is closed: what is asked now would be lost")

    def _append(self, records: list[tuple[int, bytes, bytes]]) -> None:
        with self._lock:
            self._check_open()
            places: list[int | None] = [None] * len(records)
            if self._file is not None and records:
                places = self._write(records)
            # Only what is written counts: Ctrl-C or a full disk may come at any line above.
            for (kind, key, payload), place in zip(records, places, strict=True):
                self._count(kind, key, payload, place)
            if self._file and time.monotonic() - self._last_sync >= self._sync_seconds:
                self.sync()

    def _write(self, records: list[tuple[int, bytes, bytes]]) -> list[int]:
        """Writes records whole or not at all; returns where each payload begins."""
        end, body, places = self._file.seek(0, os.SEEK_END), bytearray(), []
        for kind, key, payload in records:
            head = _HEAD.pack(_MARK, kind, len(payload), key)
            places.append(end + len(body) + len(head))
            body += head + payload + _SUM.pack(zlib.crc32(head + payload))
        left = memoryview(body)
        try:
            # Unbuffered: once this returns, only the machine's death can lose it.
            while left:
                left = left[self._file.write(left) :]
        except BaseException:
            self._file.truncate(end)
            raise
        return places

    def _count(self, kind: int, key: bytes, payload: bytes, start: int | None) -> None:
        if kind == _ASKED:
            self._open[key] += 1
            self._num_queries += 1
            return
        if self._open[key] > 0:
            self._open[key] -= 1
            self._num_queries -= kind == _REFUSED
        elif kind == _ANSWER:
            self._num_queries += 1
        if kind == _REFUSED or self.is_settled(key):  # what came first stands
            return
        if kind == _UNUSABLE:
            self._why_unusable[key] = payload.decode("utf-8", "replace")
        elif start is None:
            self._memory[key] = payload
        else:
            self._place[key] = (start, len(payload))

    def _open_file(self, path: pathlib.Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file = open(path, "a+b", buffering=0)
        try:
            message = f"{path} is in use by another process: wait for it, or name another file"
            _files.lock(self._file, lambda: CacheError(message))
            self._read(path)
        except BaseException:
            self._file.close()
            raise

    def _read(self, path: pathlib.Path) -> None:
        title = _TITLE + self.declaration_digest.encode() + b"\n"
        self._file.seek(0)
        begin = self._file.read(len(title))
        if title.startswith(begin) and begin != title:  # new, or killed in the midst of it
            self._file.truncate(0)
            self._file.write(title)
            self.sync()
            return
        if not begin.startswith(_TITLE):
            raise CacheError(f"{path} is not a file of answers: name another file")
        if begin != title:
            raise CacheError(
                f"{path} holds the answers of another suspect, or of this one under another "
                "declaration: name another file"
            )
        # Mapped: a file of answers may be larger than memory.
        with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as body:
            end, size = self._replay(body, len(title)), len(body)
            if end < size:
                self._check_tail(path, body, end)
        if end < size:
            self.num_cut_bytes = size - end
            self._file.truncate(end)
            self.sync()

    def _replay(self, body: mmap.mmap, start: int) -> int:
        """Takes up whole records from `start`; returns where the first bad one begins."""
        while (record := _record_at(body, start)) is not None:
            kind, key, place, length = record
            self._count(kind, key, body[place : place + length], place)
            start = place + length + _SUM.size
        return start

    def _check_tail(self, path: pathlib.Path, body: mmap.mmap, end: int) -> None:
        """Lets pass the tail that a kill left; refuses damage in the midst of good records."""
        later = body.find(_MARK, end + 1)
        while later >= 0:
            if _record_at(body, later) is not None:
                raise CacheError(
                    f"{path} is damaged at byte {end} (the checksum is wrong, and good records "
                    "follow): restore it from a copy, or name another file and ask again"
                )
            later = body.find(_MARK, later + 1)


def _record_at(body: bytes | mmap.mmap, start: int) -> tuple[int, bytes, int, int] | None:
    """Kind, key, place and length of the payload of a whole record; None if there is none."""
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
