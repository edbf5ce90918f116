"""Files made to hang, fill memory or lead elsewhere: one line from the command that reads."""

import os
import time

import pytest

from tests.cli.bundling import finished
from tests.cli.fuzzing import Commands
from tests.cli.test_fuzz_case import FILES


def deep(path, before):
    path.write_bytes(b'{"format": ' + b"[" * 200_000)


def deep_objects(path, before):
    path.write_bytes(b'{"a":' * 100_000 + b"1" + b"}" * 100_000)


def a_long_number(path, before):
    path.write_bytes(b'{"format": ' + b"9" * 100_000 + b"}")


def a_terabyte(path, before):
    with open(path, "wb") as file:
        file.write(before)
        file.truncate(2**40)


def a_pipe(path, before):
    path.unlink()
    os.mkfifo(path)


def a_folder(path, before):
    path.unlink()
    path.mkdir()


def to_a_device(path, before):
    path.unlink()
    path.symlink_to("/dev/zero")


def to_itself(path, before):
    path.unlink()
    path.symlink_to(path.name)


def to_nowhere(path, before):
    path.unlink()
    path.symlink_to("../../../../../../nowhere")


pytestmark = pytest.mark.filterwarnings("always")

TRAPS = (
    deep, deep_objects, a_long_number, a_terabyte, a_pipe, a_folder, to_a_device, to_itself,
    to_nowhere,
)  # fmt: skip
# Removed and made again, so that the next trap finds a file.
FEW = ("blind.json", "owners/ann/manifest.json", "ann.key")


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("traps"))


@pytest.fixture
def anw(monkeypatch):
    return Commands(monkeypatch)


def fall_into(evidence, anw, name, trap):
    case, key = evidence.root / "case", evidence.root / "ann.key"
    path = key if name == key.name else case / name
    before, start = path.read_bytes(), time.monotonic()
    trap(path, before)
    try:
        command = "replay" if name == "verdict.json" else "verdict"
        ended = anw.checked(command, case, "--key", key, "--blind", evidence.blind)
        assert ended.code not in (0, 3, 4), (name, trap.__name__)
        assert ended.err or ended.code == 10
        assert time.monotonic() - start < 30, (name, trap.__name__)
    finally:
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        elif path.is_symlink() or path.exists():
            path.unlink()
        path.write_bytes(before)
        path.chmod(0o600)


@pytest.mark.parametrize("name", FEW)
@pytest.mark.parametrize("trap", TRAPS)
def test_a_trap(evidence, anw, name, trap):
    fall_into(evidence, anw, name, trap)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(FILES) - set(FEW)))
def test_every_trap_in(evidence, anw, name):
    for trap in TRAPS:
        fall_into(evidence, anw, name, trap)
