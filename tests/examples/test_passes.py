"""The examples, on the local runners of Beam and Ray: the same files as one machine writes."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from anw_jax import audit
from anw_jax.cli.main import run
from anw_jax.keys import MarkKey
from tests.audit.conftest import write_photos

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"
VALUE = "ab" * 32
LOCAL = {
    "beam": ["--runner=BundleBasedDirectRunner"],
    "ray": [],
}
LIBRARY = {"beam": "apache_beam", "ray": "ray"}


def play(words, folder):
    environment = {
        **os.environ,
        "PYTHONPATH": str(EXAMPLES.parent),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def contents(folder):
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.name not in ("commitment.json",)
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", LIBRARY)
def test_a_cluster_writes_what_one_machine_writes(name, tmp_path, monkeypatch):
    pytest.importorskip(LIBRARY[name], reason=f"the package {LIBRARY[name]} is not installed")
    write_photos(tmp_path / "photos" / "album", number=20)
    MarkKey.for_experiment(1).save(tmp_path / "ann.key")
    where = ["photos", "--key", "ann.key", "--mark", "hue"]
    beacon = ["--beacon", "arbitrator:a test"]
    monkeypatch.chdir(tmp_path)
    script = EXAMPLES / f"{name}_passes.py"

    play([script, "digest", "photos", "many", *LOCAL[name]], tmp_path)
    made = sorted(file.name for file in (tmp_path / "many.partial" / "shards").iterdir())
    assert made == ["0000000.jsonl", "0000001.jsonl", "0000002.jsonl"]
    assert run(["commit", *where, "--out", "many", *beacon]) == 0
    words = [script, "mark", "photos", "many", "--key=ann.key", f"--beacon_value={VALUE}"]
    said = play([*words, *LOCAL[name]], tmp_path)
    inodes = {f.name: f.stat().st_ino for f in (tmp_path / "many").rglob("*.png")}
    assert len(inodes) == 20
    assert run(["mark", *where[:3], "--out", "many", "--beacon-value", VALUE]) == 0
    assert {f.name: f.stat().st_ino for f in (tmp_path / "many").rglob("*.png")} == inodes

    # The registry numbers commitments, and slots depend on the number.
    (tmp_path / "anw-commitments.jsonl").unlink()
    assert run(["commit", *where, "--out", "one", *beacon]) == 0
    done = audit.publish_folder("photos", "ann.key", "one", beacon=bytes.fromhex(VALUE))
    assert contents(tmp_path / "many") == contents(tmp_path / "one")
    assert done.root in said
    bodies = [
        json.loads((tmp_path / f / "commitment.json").read_text()) for f in ("one", "many")
    ]
    assert bodies[0]["commitment"] == bodies[1]["commitment"]


@pytest.mark.parametrize("name", LIBRARY)
def test_the_examples_are_short(name):
    assert len((EXAMPLES / f"{name}_passes.py").read_text().splitlines()) <= 60
