"""The first line of a record: whole or not there, and it says what is asked about."""

import json
import os

import pytest

from anw_jax import sequential
from anw_jax.errors import CommitmentError, RecordError
from anw_jax.sequential.lines import chained
from tests.sequential.test_sequential import MANIFEST, OWNER, PLAN, _row

ABOUT = "ab" * 32


def started(path=None, about=ABOUT):
    return sequential.SequentialRecord(OWNER.root, MANIFEST, PLAN, path=path, about=about)


@pytest.mark.parametrize("call", ["fsync", "link"])
def test_a_kill_in_the_first_line_leaves_no_part_of_it(tmp_path, monkeypatch, call):
    path, seen = tmp_path / "record.jsonl", []

    def dies(*arguments, **options):
        seen.append(path.exists())
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, call, dies)
        with pytest.raises(KeyboardInterrupt):
            started(path)
    assert seen == [False]
    assert list(tmp_path.iterdir()) == []
    assert len(started(path).lines) == 1
    assert sequential.resume(path, MANIFEST, PLAN).next_unit == started().next_unit


def test_a_record_is_never_overwritten(tmp_path):
    path = tmp_path / "record.jsonl"
    record = started(path)
    record.write_row(record.next_unit, _row(record.next_unit, 1.0))
    body = path.read_bytes()
    with pytest.raises(FileExistsError):
        started(path)
    assert path.read_bytes() == body


def test_every_hash_holds_what_is_asked_about(tmp_path):
    records = [started(about=about) for about in ("", ABOUT, "cd" * 32)]
    for record in records:
        record.write_row(record.next_unit, _row(record.next_unit, 1.0))
    assert len({record.head for record in records}) == 3
    assert '"about"' not in records[0].lines[0]
    for record in records:
        record.open_leaf(OWNER.open(record.next_unit))
        record.close()
        assert sequential.replay(record.lines, MANIFEST, PLAN) == record.result()


@pytest.mark.parametrize("about", [3, None, ["a"]])
def test_what_is_asked_about_is_text(about):
    record = started()
    record.close()
    header = {
        "about": about,
        **{n: v for n, v in _body(record.lines[0]).items() if n != "about"},
    }
    with pytest.raises((RecordError, CommitmentError), match="line 1"):
        sequential.replay([chained("", header)], MANIFEST, PLAN)
    with pytest.raises(TypeError, match="about must be a str"):
        started(about=3)


def _body(line):
    return {n: v for n, v in json.loads(line).items() if n not in ("hash", "previous")}
