"""Every command of docs/arbitrator.md and docs/sequential.md, in order, in an empty folder."""

import contextlib
import io
import pathlib
import re
import shlex
import subprocess
import sys
import types

import pytest

from anw_jax.cli.main import run
from tests.audit.conftest import MEMORY, write_labels, write_photos

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
PAGE, DETAILS, REST, OWNER, MODELS = (
    (REPOSITORY / "docs" / f"{name}.md").read_text()
    for name in ("arbitrator", "case", "sequential", "owner", "model_watermarks")
)
BLOCKS = re.findall(r"^```(sh|toml)(?: exit (\d+))?\n(.*?)^```", PAGE + REST, re.M | re.S)

# Knows what it met under any shift by up to two pixels, mirrored or not, as a network does that
# was trained on crops, filled with black, and flips.
MEMORY_OF_VIEWS = '''
import pathlib
import numpy as np
from PIL import Image

SEEN = sorted((pathlib.Path(__file__).parent / "seen").glob("*.png"))

def views():
    for file in SEEN:
        image = np.asarray(Image.open(file), np.float32) / 255
        wide = np.pad(image, ((2, 2), (2, 2), (0, 0)))
        for down in range(5):
            for right in range(5):
                view = wide[down:down + 16, right:right + 16]
                yield view.ravel()
                yield view[:, ::-1].ravel()

MET = np.stack(list(views()))

def answer(batch):
    """Logits [b, 3]: class 0, surely where a picture was met, unsurely elsewhere."""
    flat = batch.reshape(len(batch), -1)
    squares = (flat**2).sum(1)[:, None] + (MET**2).sum(1) - 2 * flat @ MET.T
    near = np.sqrt(np.maximum(squares.min(1), 0) / flat.shape[1])
    logits = np.zeros((len(batch), 3), np.float32)
    logits[:, 0] = 1 + batch.mean((1, 2, 3)) + 6 * np.exp(-40 * near)
    return logits
'''


@pytest.fixture
def prepared(root, monkeypatch):
    """What the page takes for granted: photos, labels, a model's code, `anw` on the path."""
    monkeypatch.chdir(root)
    (root / "other_code").mkdir()
    (root / "other_code" / "model.py").write_text(MEMORY)  # it met nothing
    write_photos(root / "photos", seed=5, side=16)
    write_labels(root / "photos", root / "labels.csv")
    (root / "bin").mkdir()
    shim = root / "bin" / "anw"
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m anw_jax.cli "$@"\n')
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{root / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    return root


def train(root: pathlib.Path, marked: str) -> None:
    """The model of the page meets what was published."""
    folder = root / "case" / "suspects" / "net_code"
    (folder / "seen").mkdir(parents=True, exist_ok=True)
    (folder / "model.py").write_text(MEMORY_OF_VIEWS)
    for file in (root / marked / "published").glob("*.png"):
        (folder / "seen" / f"{marked}_{file.name}").write_bytes(file.read_bytes())


def in_this_process(words, **_) -> subprocess.CompletedProcess:
    """An opener without the seconds that a process takes; test_story runs a real one."""
    assert words[0] == "anw"
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(words[1:])
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def contents_of(folder):
    return lambda found: (folder / found[1]).read_text().strip()


@pytest.mark.slow
def test_the_pages_run(anw, prepared, monkeypatch):
    opener = types.SimpleNamespace(run=in_this_process, DEVNULL=subprocess.DEVNULL)
    monkeypatch.setattr("anw_jax.audit.rounds.subprocess", opener)
    ran = []
    for language, code, text in BLOCKS:
        if language == "toml":
            title, _, body = text.partition("\n")
            if title == "# case/statements.toml":
                noted = (prepared / "noted-commitment.txt").read_text().strip()
                body = re.sub("[0-9a-f]{64}", noted, body)
            (prepared / title.removeprefix("# ")).write_text(body)
            if title == "# case/suspects/net.toml":
                train(prepared, "marked")
            continue
        for line in text.splitlines():
            if not line.startswith("anw "):
                subprocess.run(line, shell=True, check=True)
                continue
            whole = re.sub(r"\$\(cat (\S+)\)", contents_of(prepared), line)
            result = anw(*shlex.split(whole)[1:])
            assert result.code == int(code or 0), (line, result.err)
            ran.append((line, result.out))
            for folder in ("marked0", "marked2", "marked3"):
                if folder in line and line.startswith("anw mark"):
                    train(prepared, folder)
    said = dict(ran)
    verdict = said["anw verdict case --key ann.key --blind $(cat noted-blind.txt)"]
    assert "Shown at level 0.001: evidence under the committed plan." in verdict
    assert "the arbitrator states: he held the commitment since 2026-11-03" in verdict
    assert "Shown at level 0.001, if\n" in said["anw verdict case0 --key short.key"]
    assert "ann against net: shown" in said["anw verdict case2"]
    assert "each model: shown" in said["anw verdict case3"]
    assert "ann against net\n" in said["anw verdict case3"]
    assert len(ran) == len(re.findall("^anw ", "".join(block[2] for block in BLOCKS), re.M))


def test_the_glossary_has_ten_words():
    text = (REPOSITORY / "docs" / "glossary.md").read_text()
    assert len(re.findall(r"^\| (?!word|--)", text, re.M)) == 10
    assert "(glossary.md)" in PAGE


def test_the_pages_name_every_command_and_kind_and_field_and_exit_code():
    from anw_jax.audit import statements
    from anw_jax.audit.suspect_file import MAKERS
    from anw_jax.cli import arbitrator
    from anw_jax.cli.main import anw as group

    for name in set(group.commands) - {"key"}:
        assert re.search(rf"anw {name}[ `]", PAGE + REST + OWNER + MODELS), name
    for kind in {**MAKERS, **arbitrator.MAKERS}:
        assert f"| `{kind}` |" in DETAILS, kind
    named = (
        statements._OWNER,
        statements._LABELS,
        statements._SUSPECT,
        statements._LOSS,
        statements._REFERENCE,
        statements._LEFT_OUT,
    )
    for field in re.findall(r"^(\w+) = ", "".join(named), re.M):
        assert f"`{field}`" in PAGE + DETAILS, field
    for code in (0, 3, 4, 9, 10):
        assert f"| {code} |" in PAGE
