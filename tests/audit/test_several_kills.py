"""Killed at every write, in turn, the audit comes to the same bytes in the end."""

import contextlib
import os
import pathlib

import pytest

from anw_jax import _files, audit
from anw_jax.sequential import SequentialRecord
from anw_jax.suspects import AnswerCache
from tests.audit.several import NAMES, declared_case, open_all

# What a kill may not change: every row, bet, leaf, close and answer.
KEPT = ("records", "closed.json", "verdict.json", "answers")


class Killed(BaseException):
    """As a kill: nothing handles it."""


class Writes:
    """Counts the points at which a process could die while it writes, and dies at one."""

    def __init__(self, monkeypatch, die_at=None):
        self.count, self._die_at = 0, die_at
        line, append = SequentialRecord._write, AnswerCache._append

        def file_by(write):
            def write_file(*arguments, **options):
                self._point()
                write(*arguments, **options)
                self._point()

            return write_file

        def write_line(record, body):
            if record._path is None:
                return line(record, body)
            self._point()
            with self._half_written(record._path, record, body):
                head = line(record, body)
            self._point()
            return head

        def write_answers(cache, records):
            self._point()
            append(cache, records)
            self._point()

        for name in ("write_whole", "write_new"):
            monkeypatch.setattr(_files, name, file_by(getattr(_files, name)))
        monkeypatch.setattr(SequentialRecord, "_write", write_line)
        monkeypatch.setattr(AnswerCache, "_append", write_answers)

    def _point(self):
        self.count += 1
        if self.count == self._die_at:
            raise Killed

    @contextlib.contextmanager
    def _half_written(self, path: pathlib.Path, record, body):
        self.count += 1
        if self.count == self._die_at:
            with path.open("a") as file:
                file.write('{"kind":"ro')
            raise Killed
        yield


def walk(root, case_dir, keys):
    """Arbitrator and owners until the verdict."""
    standing = audit.run_rounds(audit.Case(case_dir))
    while standing.waiting:
        open_all(root, standing.waiting, keys)
        standing = audit.run_rounds(audit.Case(case_dir))
    audit.judge_record(audit.Case(case_dir), {})


def state(case_dir) -> dict[str, bytes]:
    """What is kept; answers to two owners may come in another order after a kill.

    Then the digest of their file, and with it that of `closed.json`, are others.
    """
    files = [f for name in KEPT for f in sorted(case_dir.glob(f"{name}/**/*"))]
    files += [case_dir / name for name in KEPT if (case_dir / name).is_file()]
    kept = {str(f.relative_to(case_dir)): f.read_bytes() for f in files if f.is_file()}
    return {name: without_order(name, body) for name, body in kept.items()}


def without_order(name: str, body: bytes) -> bytes:
    if name.startswith("answers"):
        return bytes(sorted(body))
    if name in ("closed.json", "verdict.json"):
        lines = body.splitlines()
        hashes = (b'"answers":', b'"previous": "')
        return b"\n".join(line for line in lines if not line.strip().startswith(hashes))
    return body


def reset(root, case_dir, owners):
    """As it was when the audit was declared."""
    for name in (*KEPT, "exchange"):
        for file in sorted(case_dir.glob(f"{name}/**/*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
        (case_dir / name).unlink() if (case_dir / name).is_file() else None
    for owner in owners:
        (root / f"{owner}_marked" / "openings.jsonl").unlink(missing_ok=True)


@pytest.fixture(autouse=True)
def without_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda file: None)


def tiny(root, case_dir, number=2, **fields):
    """So few photos that each point can be tried."""
    return declared_case(root, case_dir, alpha=0.2, number=number, **fields)


def one_kill(root, case_dir, keys, die_at, expected):
    reset(root, case_dir, keys)
    with pytest.MonkeyPatch.context() as patch:
        Writes(patch, die_at)
        with pytest.raises(Killed):
            walk(root, case_dir, keys)
    walk(root, case_dir, keys)
    assert state(case_dir) == expected, f"killed at write {die_at}"
    for owner in keys:
        log = (root / f"{owner}_marked" / "openings.jsonl").read_bytes()
        assert len(log.splitlines()) == len(set(log.splitlines()))


def killed_everywhere(root, case_dir, keys):
    with pytest.MonkeyPatch.context() as patch:
        writes = Writes(patch)
        walk(root, case_dir, keys)
    expected = state(case_dir)
    assert {"closed.json", "verdict.json"} < set(expected)
    for die_at in range(1, writes.count + 1):
        one_kill(root, case_dir, keys, die_at, expected)
    return writes.count


@pytest.mark.slow
def test_killed_at_every_write(root, case_dir):
    keys = tiny(root, case_dir, claim="each model")
    assert killed_everywhere(root, case_dir, keys) > 40


@pytest.mark.slow
@pytest.mark.parametrize("suspects", [NAMES, NAMES[:1]])
def test_two_owners_killed_at_every_write(root, case_dir, suspects):
    owners = ("ann", "bob")
    keys = tiny(root, case_dir, owners=owners, suspects=suspects, claim="list of models")
    assert killed_everywhere(root, case_dir, keys) > 40
