"""`anw commit` and `anw mark` with several workers, stopped by Ctrl-C or killed."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from anw_jax import data
from anw_jax.cli.main import run
from anw_jax.cli.output import DONE, INTERRUPTED, USAGE
from anw_jax.keys import MarkKey

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
NUM = 24  # three shards


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(NUM):  # more bytes than this process would handle alone
        image = rng.integers(0, 256, (400, 320, 3), np.uint8)
        (tmp_path / "photos" / f"{number:02d}.png").write_bytes(data.png_of(image))
    MarkKey.for_experiment(1).save(tmp_path / "a.key")
    return tmp_path


@pytest.mark.parametrize("value", ["0", "-1", "two"])
def test_the_number_of_workers_is_checked(tmp_path, monkeypatch, capsys, value):
    monkeypatch.chdir(tmp_path)
    words = ["photos", "--key", "a.key", "--out", "out", "--workers", value]
    for command in ("commit", "mark"):
        assert run([command, *words]) == USAGE
        assert f"Invalid value for '--workers': '{value}'" in (
            capsys.readouterr().err.replace(f"{value} is", f"'{value}' is")
        )
    assert list(tmp_path.iterdir()) == []


def children_of(pid):
    """Processes whose parent this is; they survive as orphans if they do not end with it."""
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def wait_for(what, seconds=300):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_command_leaves_whole_files_and_goes_on(folder, which):
    words = ["mark", "photos", "--key", "a.key", "--out", "out", "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "anw_jax.cli", *words],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    wait_for(lambda: list(folder.glob("out/published.partial/*.png")) or process.poll())
    workers = children_of(process.pid)
    os.killpg(process.pid, which) if which == signal.SIGINT else process.kill()
    said = process.communicate(timeout=300)[1]
    if which == signal.SIGINT:
        assert process.returncode == INTERRUPTED
        assert said.strip().startswith("anw: stopped; finished work is kept, run the same")
        assert len(said.strip().splitlines()) == 1
        assert not list(folder.rglob("*.png.partial"))
    wait_for(lambda: not [pid for pid in workers if pathlib.Path(f"/proc/{pid}").exists()])
    assert not (folder / "out" / "published").exists()
    assert run(words) == DONE
    published = json.loads((folder / "out" / "published.json").read_text())["files"]
    assert len(published) == len(list((folder / "out" / "published").iterdir())) == NUM
    left = {path.name for path in (folder / "out").iterdir()}
    assert not {name for name in left if "partial" in name or name == "LOCK"}
