"""Files are whole or not there, and one process holds a folder."""

import os
import subprocess
import sys

import pytest

from anw_jax import _files
from anw_jax.errors import CaseError


def test_a_file_is_written_with_its_folder_and_replaced_whole(tmp_path):
    path = tmp_path / "a" / "b.bin"
    for body in (b"first", b"", b"second"):
        _files.write_whole(path, body, durable=body != b"")
        assert path.read_bytes() == body
    assert [file.name for file in path.parent.iterdir()] == ["b.bin"]


def test_a_failed_write_leaves_the_old_file_and_no_partial_one(tmp_path, monkeypatch):
    path = tmp_path / "kept.json"
    _files.write_whole(path, b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        _files.write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_second_process_is_kept_out_until_the_first_is_through(tmp_path):
    program = (
        "import pathlib, sys\n"
        "from anw_jax import _files\n"
        "from anw_jax.errors import CaseError\n"
        "with _files.only_one(pathlib.Path(sys.argv[1]), lambda: CaseError('busy')): pass\n"
    )
    other = [sys.executable, "-c", program, str(tmp_path)]
    with _files.only_one(tmp_path, lambda: CaseError("busy")):
        assert b"CaseError: busy" in subprocess.run(other, capture_output=True).stderr
    assert subprocess.run(other, capture_output=True).returncode == 0
