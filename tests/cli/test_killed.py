"""Commands that are killed at any write: no half file under its name, and a rerun completes."""

import io
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tomllib
import zipfile

import numpy as np
import PIL.Image
import pytest

from tests.audit.conftest import receive, write_labels, write_photos, write_suspect
from tests.cli.test_conditions import VALUE, state

pytestmark = pytest.mark.slow

POINTS = int(os.environ.get("ANW_KILL_POINTS", 20))
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
MARKED = ("--key", "ann.key", "--out", "marked")
STEPS = {
    "key": ("key", "new", "ann.key"),
    "commit": (
        "commit", "photos", *MARKED, "--labels", "labels.csv", "--alpha", "0.001",
        "--mark", "hue", "--beacon", "arbitrator:Jane Doe",
    ),
    "mark": ("mark", "photos", *MARKED, "--beacon-value", VALUE),
    "probe": ("probe", "case"),
    "declare": ("declare", "case", "--beacon", VALUE),
    "audit": ("audit", "case"),
    "verdict": ("verdict", "case", "--key", "ann.key"),
    "report": ("report", "case"),
    "bundle": ("bundle", "case", "--key", "ann.key", "--out", "evidence.zip"),
    "signing": ("key", "signing", "ann.sign"),
    "sign": ("sign", "case/declared.json", "--key", "ann.sign"),
    "case new": ("case", "new", "other", "--owner", "ann", "--suspect", "net=onnx"),
}  # fmt: skip
CODES = {"verdict": 10}
NEVER_OVERWRITTEN = (
    "key", "signing", "case new", "mark", "declare", "report", "bundle",
)  # fmt: skip


class Forks:
    """Runs `anw` in forks of one process.

    Args:
      folder: for its own files.
      environment: more variables of it.
    """

    def __init__(self, folder: pathlib.Path, **environment: str):
        self._folder = folder
        path = os.pathsep.join([str(pathlib.Path(__file__).parent / "killed"), str(REPOSITORY)])
        self.server = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.killed.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": path, "JAX_PLATFORMS": "cpu", **environment},
            text=True,
        )

    def __call__(self, root: pathlib.Path, words, at: int = 0) -> tuple[int, int, str]:
        """Exit code, number of changes, and what was printed."""
        counts, output = self._folder / "counts", self._folder / "output"
        for file in (counts, output):
            file.write_bytes(b"")
        job = {"root": str(root), "words": words, "at": at, "counts": str(counts)}
        print(json.dumps(job | {"output": str(output)}), file=self.server.stdin, flush=True)
        code = int(self.server.stdout.readline())
        return code, counts.stat().st_size, output.read_text()

    def first(self, root: pathlib.Path, copy: pathlib.Path, words, expected: int = 0):
        """Keep a copy of the folder, and run a step: the copy, its changes, files after it."""
        shutil.copytree(root, copy)
        code, number, said = self(root, words)
        assert code == expected, (words, said)
        return copy, number, files_of(root)

    def close(self) -> None:
        with self.server:  # its end closes both pipes
            self.server.stdin.close()
        assert self.server.returncode == 0


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """The folder as it is before each step, and the number of changes that the step makes."""
    top = tmp_path_factory.mktemp("killed")
    forks, root, before = Forks(top), top / "now", {}
    write_photos(root / "photos", seed=5, number=8)
    write_labels(root / "photos", root / "labels.csv")
    for step, words in STEPS.items():
        if step == "probe":
            receive(root / "marked", root / "photos", root / "case", "ann")
            write_suspect(root / "case", root / "marked" / "published")
            state(root / "case")
        before[step] = forks.first(root, top / step, words, CODES.get(step, 0))
    yield forks, before
    forks.close()


def files_of(root: pathlib.Path) -> dict[str, bytes]:
    found = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in found}


def check_whole(name: str, body: bytes) -> None:
    """Fails for a file that was not written to its end."""
    kind = name.rpartition(".")[2]
    if kind in ("json", "key", "sign", "sig"):
        json.loads(body)
    elif kind == "jsonl":
        assert body.endswith(b"\n")
        list(map(json.loads, body.splitlines()))
    elif kind == "png":
        PIL.Image.open(io.BytesIO(body)).load()
    elif kind == "toml":
        tomllib.loads(body.decode())
    elif kind == "md":
        assert body.decode().startswith("# ")
    elif kind == "csv":
        assert body.endswith(b"\n")
    elif kind == "npz":
        with np.load(io.BytesIO(body)) as stored:
            dict(stored)
    elif kind == "zip":
        assert zipfile.ZipFile(io.BytesIO(body)).testzip() is None
    elif kind == "html":
        assert body.rstrip().endswith(b"</html>")
    elif kind == "tsq":
        assert body[1] == len(body) - 2
    elif kind != "answers":  # a log: a line that was cut off is dropped when it is read
        assert kind == "py" or name.endswith("LOCK"), name


def is_temporary(name: str) -> bool:
    """Whether a name says that a file is unfinished."""
    endings = (".partial", ".unfinished", "LOCK")
    return any(part.endswith(endings) for part in name.split("/"))


def is_link(name: str, files: dict[str, bytes]) -> bool:
    """Whether a file is the second name of a whole one, which was not removed any more."""
    whole = name.rpartition(".")[0].rpartition(".")[0]
    return name.endswith(".partial") and files.get(whole) == files[name]


def is_fixed(name: str) -> bool:
    """Whether a file holds no time and nothing random."""
    return name.endswith(
        (".png", ".npz", ".answers", ".csv", ".md", ".toml")
    ) or name.startswith("case/suspects")


def check_killed(
    story, tmp_path, step, words, code=0, refused="", appends=False, points=POINTS
) -> None:
    """Kills a step at random writes: whole files then, and all of them after a rerun.

    Args:
      story: the forks, and for each step the folder before it, the number of its changes, and
        the files after it.
      tmp_path: an empty folder.
      step: its name.
      words: the command.
      code: with which it ends.
      refused: what it says, ending with 1, 2 or 8, where it was complete before it was killed.
      appends: whether a rerun may append once more what the killed step had appended to a log.
      points: at how many writes it is killed.
    """
    forks, before = story
    start, number, after = before[step]
    points = random.Random(step).sample(range(1, number + 1), min(points, number))
    for at in sorted(points):
        root = shutil.copytree(start, tmp_path / f"at{at}")
        ended, _, said = forks(root, words, at)
        assert ended == -9, (at, said)
        for name, body in files_of(root).items():
            if not is_temporary(name):
                check_whole(name, body)
        ended, _, said = forks(root, words)
        now = files_of(root)
        if ended in (1, 2, 8) and refused:
            assert refused in said, (at, said)
        else:
            assert ended == code, (at, said)
        now = {name: body for name, body in now.items() if not is_link(name, now)}
        now = {name: body for name, body in now.items() if body or not name.endswith("LOCK")}
        others = now.keys() ^ after.keys()
        assert all(appends and name.startswith("log/") for name in others), (at, others)
        for name, body in now.items():
            check_whole(name, body)
            assert body == after.get(name, body) or not is_fixed(name), (at, name)
        shutil.rmtree(root)


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_write(story, tmp_path, step):
    refused = "exist" if step in NEVER_OVERWRITTEN else ""
    check_killed(story, tmp_path, step, STEPS[step], CODES.get(step, 0), refused)
