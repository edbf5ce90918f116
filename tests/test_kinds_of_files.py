"""What is no regular file is refused before it is read; hidden names are known as such."""

import os
import socket

import pytest

from anw_jax import _files
from anw_jax.errors import AnwError, FileKindError


def refused(path):
    with pytest.raises(FileKindError) as error:
        _files.check_regular(path)
    assert isinstance(error.value, AnwError)
    return str(error.value)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/urandom"])
def test_devices(device):
    assert refused(device) == f"{device} must be a file, but is a device"


def test_pipes_sockets_folders_and_links_to_them(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert refused(tmp_path / "pipe.png").endswith("pipe.png must be a file, but is a pipe")
    (tmp_path / "link.onnx").symlink_to(tmp_path / "pipe.png")
    assert refused(tmp_path / "link.onnx").endswith("but is a pipe")
    (tmp_path / "zero.toml").symlink_to("/dev/zero")
    assert refused(tmp_path / "zero.toml").endswith("but is a device")
    (tmp_path / "x.png").mkdir()
    assert refused(str(tmp_path / "x.png")).endswith("x.png must be a file, but is a folder")
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(os.path.relpath(tmp_path / "s"))
        assert refused(tmp_path / "s").endswith("but is a socket")


def test_a_path_with_a_nul_is_no_path():
    assert refused("a\0b") == "'a\\x00b' is no path of a file: embedded null byte"


def test_files_links_to_files_and_what_is_not_there_pass(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "broken").symlink_to("nowhere")
    for name in ("a", "link", "broken", "none"):
        _files.check_regular(tmp_path / name)


@pytest.mark.parametrize(
    "name",
    [".x", "._net.toml", "__MACOSX", "@eaDir", "THUMBS.DB", "Desktop.ini", "lost+found", "."],
)
def test_hidden_and_system_names(name):
    assert _files.is_hidden(name)


@pytest.mark.parametrize("name", ["a.png", "_a", "thumbs.png", "MACOSX", "eaDir", "a.", "…"])
def test_names_of_ones_own(name):
    assert not _files.is_hidden(name)
