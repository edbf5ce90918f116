"""Files that stand for a model, and files that are no files."""

import gzip
import os
import pathlib
import zipfile

import numpy as np
import pytest

from anw_jax import _files
from anw_jax.errors import MissingLibraryError, SuspectError
from anw_jax.suspects import KerasSuspect, OnnxSuspect, RecordedSuspect, TorchSuspect
from anw_jax.suspects.adapters.files import (
    damage_in,
    file_digest,
    kind_of,
    placeholder_in,
    read_file,
)
from tests.suspects import twins

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 12345\n"
STAND_INS = {
    "lfs": (LFS, "a pointer of Git LFS and not the model itself: fetch it with git lfs pull"),
    "lfs of Windows": (LFS.replace(b"\n", b"\r\n"), "a pointer of Git LFS"),
    "lfs with a mark": (b"\xef\xbb\xbf" + LFS, "a pointer of Git LFS"),
    "annex": (b"../.git/annex/objects/x/MD5E-s1--a.pt\n", "a pointer of git-annex"),
    "annex of Windows": (b"..\\.git\\annex\\objects\\x\\a.pt", "a pointer of git-annex"),
    "page": (b"\n<!DOCTYPE html><html>Not found", "a web page and no model"),
    "old page": (b"<HTML><BODY>404", "a web page and no model"),
    "empty": (b"", "empty"),
    "zeros": (bytes(5000), "nothing but zero bytes"),
}
READERS = {
    "onnx": lambda path: OnnxSuspect(path, twins.NCHW),
    "script": lambda path: TorchSuspect.from_script(path, twins.NCHW),
    "weights": lambda path: TorchSuspect.from_weights(path, twins.torch_module(), twins.NCHW),
    "keras": lambda path: KerasSuspect.from_file(path, twins.NHWC),
    "recorded": RecordedSuspect.load,
}


def refused(reader, path):
    try:
        with pytest.raises(SuspectError) as error:
            READERS[reader](path)
    except (MissingLibraryError, ImportError) as missing:
        pytest.skip(str(missing))
    return str(error.value)


@pytest.mark.parametrize("what", STAND_INS)
def test_what_stands_for_a_model_is_named(tmp_path, what):
    body, message = STAND_INS[what]
    assert placeholder_in(body).startswith(message)
    path = tmp_path / "model.bin"
    path.write_bytes(body)
    with pytest.raises(SuspectError) as error:
        read_file(path)
    assert str(error.value).startswith(f"{path} is {message}")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_names_them_and_refuses_what_is_no_file(tmp_path, monkeypatch, reader):
    monkeypatch.setenv("KERAS_BACKEND", "numpy")
    path = tmp_path / "model.bin"
    path.write_bytes(LFS)
    assert refused(reader, path).startswith(f"{path} is a pointer of Git LFS")
    assert refused(reader, "/dev/zero") == ("/dev/zero cannot be read: it is a device")
    assert refused(reader, tmp_path) == f"{tmp_path} cannot be read: Is a directory"


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**40)
    paths = [tmp_path / name for name in ("pipe", "link", "loop", "huge", "none")]
    for path in [*paths, pathlib.Path("/dev/null"), pathlib.Path("/proc/self/maps")]:
        with pytest.raises(OSError, match=r".") as error:
            _files.read_regular(path)
        assert error.value.strerror
    for path in [*paths, pathlib.Path("/dev/urandom")]:
        with pytest.raises(SuspectError, match=r"cannot be read: \w"):
            file_digest(path)
    path = tmp_path / "ten"
    path.write_bytes(bytes(10))
    assert _files.read_regular(path, 10) == bytes(10)
    with pytest.raises(OSError, match="it has 10 bytes, more than 9"):
        _files.read_regular(path, 9)


def archive(path, **files):
    with zipfile.ZipFile(path, "w") as packed:
        for name, body in files.items():
            packed.writestr(name.replace("__", "/"), body)
    return path.read_bytes()


def test_other_kinds_are_named(tmp_path):
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    path = tmp_path / "x"
    np.savez(tmp_path / "a.npz", a=np.zeros(2))
    for body, kind in [
        (len(header).to_bytes(8, "little") + header + bytes(4), "(.safetensors)"),
        (
            archive(path, **{"m__archive_format": "pt2", "m__models__model.json": "{}"}),
            "(.pt2)",
        ),
        (archive(path, **{"serialized_exported_program.json": "{}"}), "(.pt2)"),
        (archive(path, **{"m__constants.pkl": "", "m__data.pkl": ""}), "TorchScript"),
        (archive(path, **{"m__data.pkl": ""}), "of PyTorch"),
        (archive(path, **{"config.json": "{}", "model.weights.h5": ""}), "of Keras"),
        ((tmp_path / "a.npz").read_bytes(), "(.npz)"),
        (archive(path, a="b"), "an archive (.zip)"),
        (b"\x89HDF\r\n\x1a\n....", "(.h5)"),
        (gzip.compress(b"model"), "unpack it first"),
        (b"\x80\x02}q\x00.", "a pickle"),
    ]:
        assert kind in kind_of(body)
    assert kind_of(b"\x08\x08\x12\x07pytorch") == ""


def test_archives_are_held_against_their_checksums(tmp_path):
    path = tmp_path / "x"
    body = archive(path, a="some text", b="more")
    assert damage_in(body) == ""
    at = body.index(b"some")
    assert damage_in(body[:at] + b"S" + body[at + 1 :]) == "a is damaged"
    assert damage_in(body[:-5]).startswith("BadZipFile")
    assert damage_in(body, most_bytes=5) == "it unpacks to 13 bytes, more than 5"
    with (
        pytest.warns(UserWarning, match="Duplicate name"),
        zipfile.ZipFile(path, "a") as packed,
    ):
        packed.writestr("a", "other")
    assert damage_in(path.read_bytes()) == "two files in it have one name"
