"""Files are whole or not there, and one process holds a folder."""

import io
import os
import subprocess
import sys

import numpy as np
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


def test_a_new_file_replaces_nothing_and_is_private_from_its_first_byte(tmp_path, monkeypatch):
    path, modes, link = tmp_path / "new.key", [], os.link

    def seen(source, target):
        modes.append(os.stat(source).st_mode & 0o777)
        link(source, target)

    monkeypatch.setattr(os, "link", seen)
    before = os.umask(0)
    try:
        _files.write_new(path, b"first", mode=0o600)
        with pytest.raises(FileExistsError):
            _files.write_new(path, b"second", mode=0o600)
    finally:
        os.umask(before)
    assert path.read_bytes() == b"first"
    assert modes == [0o600, 0o600]
    assert [file.name for file in tmp_path.iterdir()] == ["new.key"]


def test_a_new_folder_appears_whole_or_not_at_all(tmp_path):
    place = tmp_path / "out"

    def fill_in_part():
        with _files.new_folder(place) as whole:
            (whole / "a").write_bytes(b"1")
            raise ValueError("stopped")

    with pytest.raises(ValueError, match="stopped"):
        fill_in_part()
    assert not list(tmp_path.iterdir())
    (tmp_path / "out.partial").mkdir()  # what a killed process left
    (tmp_path / "out.partial" / "old").write_bytes(b"half")
    with _files.new_folder(place) as whole:
        (whole / "a").write_bytes(b"1")
        assert not place.exists()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == [
        "out",
        "out/a",
    ]
    with pytest.raises(OSError, match="not empty"), _files.new_folder(place):
        pass


def test_what_a_killed_process_left_of_a_new_file_is_removed_and_nothing_else(tmp_path):
    others = ("b.0f0f0f0f.partial", "a.partial", "a.0f.partial")
    left, held = tmp_path / "a.0f0f0f0f.partial", tmp_path / "a.12345678.partial"
    for path in (left, held, *(tmp_path / name for name in others)):
        path.write_bytes(b"half")
    with open(held, "ab") as file:  # of a process that is still writing
        _files.lock(file, BlockingIOError)
        _files.write_new(tmp_path / "a", b"whole")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted(["a", held.name, *others])


def test_a_new_file_where_there_are_no_links(tmp_path, monkeypatch):
    def none(source, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", none)
    _files.write_new(tmp_path / "new", b"first")
    with pytest.raises(FileExistsError):
        _files.write_new(tmp_path / "new", b"second")
    assert (tmp_path / "new").read_bytes() == b"first"
    assert len(list(tmp_path.iterdir())) == 1


def test_arrays_are_not_unpacked_beyond_a_size():
    buffer = io.BytesIO()
    np.savez_compressed(buffer, zeros=np.zeros(2**20))
    body = buffer.getvalue()
    assert len(body) < 2**14
    assert _files.read_npz(body)["zeros"].shape == (2**20,)
    with pytest.raises(MemoryError, match="the arrays fill more than 1,000,000 bytes"):
        _files.read_npz(body, 10**6)


def test_taking_a_lock_empties_no_file_that_it_finds(tmp_path):
    (tmp_path / "LOCK").write_text("somebody's")
    with _files.only_one(tmp_path, lambda: CaseError("busy")):
        pass
    assert (tmp_path / "LOCK").read_text() == "somebody's"


@pytest.mark.parametrize("is_left_behind", [False, True])
def test_no_lock_is_left(tmp_path, is_left_behind):
    if is_left_behind:  # by a kill
        (tmp_path / "LOCK").touch()
    with _files.only_one(tmp_path, lambda: CaseError("busy")):
        assert (tmp_path / "LOCK").exists()
    with pytest.raises(KeyError), _files.only_one(tmp_path, lambda: CaseError("busy")):
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_a_lock_that_was_removed_while_it_was_opened_is_taken_anew(tmp_path, monkeypatch):
    """Else two processes could hold a LOCK each, one of them of a file that is gone."""
    held, lock = [], _files.lock

    def late(file, busy):
        lock(file, busy)
        held.append(file)
        if len(held) == 1:  # the one who held it before removes it only now
            (tmp_path / "LOCK").unlink()

    monkeypatch.setattr(_files, "lock", late)
    with _files.only_one(tmp_path, lambda: CaseError("busy")):
        assert len(held) == 2
        assert held[0].closed
        with pytest.raises(CaseError, match="busy"):
            with _files.only_one(tmp_path, lambda: CaseError("busy")):
                pass


def test_a_second_process_is_kept_out_until_the_first_is_through(tmp_path):
    program = (
        "import pathlib, sys\nfrom anw_jax import _files\n"
        "from anw_jax.errors import CaseError\n"
        "with _files.only_one(pathlib.Path(sys.argv[1]), lambda: CaseError('busy')): pass\n"
    )
    other = [sys.executable, "-c", program, str(tmp_path)]
    with _files.only_one(tmp_path, lambda: CaseError("busy")):
        assert b"CaseError: busy" in subprocess.run(other, capture_output=True).stderr
    assert subprocess.run(other, capture_output=True).returncode == 0
