"""Pieces are small enough, checked, and give back what was packed."""

import json
import os
import tarfile

import numpy as np
import pytest

from anw_jax.reproduce import travel
from anw_jax.reproduce.travel import TravelError, pack, unpack


@pytest.fixture
def inputs(tmp_path):
    """A folder with a secret key, an empty folder and 2.5 MiB of noise; and a file."""
    folder = tmp_path / "home" / "workdir"
    (folder / "keys").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "keys" / "a.key").write_text("secret")
    (folder / "keys" / "a.key").chmod(0o600)
    (folder / "big.bin").write_bytes(np.random.default_rng(0).bytes(5 * 2**19))
    (tmp_path / "home" / "wheel.whl").write_bytes(b"w" * 10)
    return [folder, tmp_path / "home" / "wheel.whl"]


@pytest.fixture
def packed(inputs, tmp_path):
    """Pieces of at most 1 MiB."""
    pack(inputs, tmp_path / "pieces", piece_mib=1)
    return tmp_path / "pieces"


def contents(folder):
    """Every file below, with its bytes and permissions."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mode & 0o777)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_what_is_unpacked_is_what_was_packed(packed, inputs, tmp_path):
    found = unpack(packed, tmp_path / "there")
    assert found == [tmp_path / "there" / "workdir", tmp_path / "there" / "wheel.whl"]
    assert contents(found[0]) == contents(inputs[0])
    assert found[1].read_bytes() == inputs[1].read_bytes()
    assert (found[0] / "empty").is_dir()
    assert (found[0] / "keys" / "a.key").stat().st_mode & 0o777 == 0o600


def test_no_piece_is_larger_than_allowed_and_all_are_listed(packed):
    sizes = [path.stat().st_size for path in sorted(packed.glob("piece*.bin"))]
    assert len(sizes) == 3
    assert sizes[:-1] == [2**20] * 2
    assert 0 < sizes[-1] <= 2**20
    listed = json.loads((packed / travel.LIST).read_text())
    assert [piece["bytes"] for piece in listed["pieces"]] == sizes


def test_equal_inputs_give_equal_pieces(packed, inputs, tmp_path):
    for path in inputs:
        os.utime(path, (1, 1))
    pack(inputs, tmp_path / "again", piece_mib=1)
    assert contents(tmp_path / "again") == contents(packed)


@pytest.mark.parametrize("number", [0, 2])
def test_a_damaged_piece_is_named_and_nothing_is_written(packed, tmp_path, number):
    piece = packed / f"piece000{number}.bin"
    body = bytearray(piece.read_bytes())
    body[len(body) // 2] ^= 1
    piece.write_bytes(body)
    with pytest.raises(TravelError, match=rf"piece000{number}.bin is damaged .* copy it again"):
        unpack(packed, tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_a_missing_piece_is_named(packed, tmp_path):
    (packed / "piece0001.bin").unlink()
    with pytest.raises(TravelError, match=r"piece0001.bin is missing: copy it again"):
        unpack(packed, tmp_path / "there")


def test_what_is_there_is_not_overwritten(packed, inputs, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "wheel.whl").write_text("mine")
    with pytest.raises(TravelError, match=r"wheel.whl is there already: remove it first"):
        unpack(packed, tmp_path / "there")
    with pytest.raises(TravelError, match=r"pieces.json is there already"):
        pack(inputs, packed)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{ half", "pieces.json is damaged"),
        ('{"names": ["../x"], "pieces": []}', "names must be plain file names"),
        ('{"names": []}', "pieces.json is damaged"),
    ],
)
def test_a_damaged_list_is_named(packed, tmp_path, text, message):
    (packed / travel.LIST).write_text(text)
    with pytest.raises(TravelError, match=message):
        unpack(packed, tmp_path / "there")


def test_pieces_cannot_write_elsewhere(inputs, tmp_path, monkeypatch):
    def outside(entry):
        entry.name = "../outside"
        return entry

    monkeypatch.setattr(travel, "_without_traces", outside)
    pack([inputs[1]], tmp_path / "pieces")
    with pytest.raises(TravelError, match="are no archive of ours"):
        unpack(tmp_path / "pieces", tmp_path / "there")
    assert not (tmp_path / "outside").exists()


def test_inputs_are_checked(inputs, tmp_path):
    with pytest.raises(TravelError, match=r"nothing does not exist"):
        pack([tmp_path / "nothing"], tmp_path / "pieces")
    with pytest.raises(TravelError, match="inputs must have different names"):
        pack([inputs[0], inputs[0]], tmp_path / "pieces")
    with pytest.raises(ValueError, match="piece_mib must be at least 1, got 0"):
        pack(inputs, tmp_path / "pieces", piece_mib=0)


@pytest.mark.parametrize("below", ["", "pieces"])
def test_pieces_do_not_go_into_what_is_packed(tmp_path, below):
    (tmp_path / "data").mkdir()
    with pytest.raises(TravelError, match="would pack its own pieces"):
        pack([tmp_path / "data"], tmp_path / "data" / below)
    assert list((tmp_path / "data").iterdir()) == []


def test_the_pieces_are_a_plain_tar_archive(packed, tmp_path):
    """Without this package: cat piece*.bin | tar x."""
    whole = tmp_path / "whole.tar"
    whole.write_bytes(b"".join(p.read_bytes() for p in sorted(packed.glob("piece*.bin"))))
    with tarfile.open(whole) as archive:
        assert "workdir/big.bin" in archive.getnames()
