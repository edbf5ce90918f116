"""docs/walkthrough.md runs in an empty folder, and prints what stands there.

With `ANW_WRITE_WALKTHROUGH=1` it writes what they print into the page.
"""

import datetime
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from anw_jax.cli import output, owner
from tests.audit.authority import Authority
from tests.cli import mixed_photos
from tests.keys.drand import APPEARED, ROUND_1000

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "walkthrough.md"
BLOCK = re.compile(r"^```(console|python|toml)\n(.*?)^```$", re.M | re.S)
NOW = APPEARED - datetime.timedelta(hours=2)
STAMPED = NOW + datetime.timedelta(minutes=1)


@pytest.fixture
def empty(root, monkeypatch):
    """An empty folder with the photos and their labels; nothing else."""
    monkeypatch.chdir(root)
    monkeypatch.setattr(owner, "clock", lambda: NOW)
    assert mixed_photos.write_mixed_photos(root / "photos") == 60
    names = sorted(
        file.relative_to(root / "photos").as_posix()
        for file in (root / "photos").rglob("[!.]*.*")
        if file.relative_to(root / "photos").as_posix() not in mixed_photos.PASSED_OVER
    )
    classes = [mixed_photos.FOLDERS.index(name.partition("/")[0]) for name in names]
    rows = "".join(f"{name},{each}\n" for name, each in zip(names, classes, strict=True))
    (root / "labels.csv").write_text("file,label\n" + rows)
    (root / "tools").mkdir()
    (root / "tools" / "replay.py").write_bytes((REPOSITORY / "tools/replay.py").read_bytes())
    return root


def download(words: list[str], authority: Authority) -> None:
    """What `curl` would fetch: the stamp, the authority's root, the recorded round."""
    out = pathlib.Path(words[words.index("-o") + 1])
    if out.name == "round.json":
        assert words[-1].endswith(f"/public/{ROUND_1000['round']}")
        out.write_text(json.dumps(ROUND_1000))
    elif out.suffix == ".pem":
        out.write_bytes(authority.pem)
    else:
        document = out.with_name("commitment.json").read_bytes()
        out.write_bytes(authority.answer(document, STAMPED))


def printed(anw, command: str, authority: Authority) -> str:
    """Run a line of the page; return what a terminal shows, with the exit code if not 0."""
    filled = re.sub(r"\$\((cat \S+)\)", lambda found: _shell(found[1]).strip(), command)
    words = shlex.split(filled)
    if words[0] == "anw":
        ran = anw(*words[1:])
        text = ran.err + ran.out
        assert ran.code in (output.DONE, output.PASSED_OVER), (command, text)
        return text + (f"(exit code {ran.code})\n" if ran.code else "")
    if words[0] == "curl":
        download(words, authority)
        return ""
    return _shell(re.sub("^python ", f"{sys.executable} ", filled))


def _shell(command: str) -> str:
    return subprocess.run(
        command, shell=True, check=True, capture_output=True, text=True
    ).stdout


def masked(text: str) -> str:
    """Leave out what depends on decoders (digests, numbers), and what is measured by now."""
    text = re.sub(r"^(changes most[^\n]*\n).*?(?=^look at)", r"\1", text, flags=re.M | re.S)
    return re.sub(r"[0-9a-f]{12}…|\d+(\.\d+)?(e-?\d+)?", "#", text)


@pytest.mark.slow
@pytest.mark.filterwarnings("always")  # the command prints them
def test_the_page_runs_and_prints_what_stands_there(anw, empty):
    authority, ran = Authority(), {}

    def block(found: re.Match) -> str:
        kind, body = found.groups()
        if kind != "console":
            title, _, content = body.partition("\n")
            pathlib.Path(title.removeprefix("# ")).write_text(content)
            return found[0]
        lines = []
        for command in re.findall(r"^\$ (.*)$", body, re.M):
            ran[command] = printed(anw, command, authority)
            here = ran[command].replace(f"{empty}/", "")
            shown = re.sub(r"\b([0-9a-f]{12})[0-9a-f]{20,}\b", r"\1…", here)
            lines.append(f"$ {command}\n{shown}")
        return f"```console\n{''.join(lines)}```"

    page = PAGE.read_text()
    written = BLOCK.sub(block, page)
    if os.environ.get("ANW_WRITE_WALKTHROUGH"):
        PAGE.write_text(written)
    else:
        assert masked(written) == masked(page)
    said = {shlex.split(line)[1]: text for line, text in ran.items() if line.startswith("anw")}
    for name in mixed_photos.PASSED_OVER:
        assert f"  {name}: " in said["preview"]
    assert "57 photos of 57 units marked" in said["mark"]
    assert "ann against net: shown" in said["verdict"]
    assert "Shown at level 0.001: evidence under the committed plan" in said["verdict"]
    assert "(exit code" not in said["verdict"] + said["replay"] + said["bundle"]
    independent = next(text for line, text in ran.items() if "tools/replay.py" in line)
    assert independent.endswith("\nconsistent\n")
    says_what_next(ran)


def says_what_next(ran: dict[str, str]) -> None:
    """Every `anw` step but the last names the command, or the act, that follows."""
    words = r"\b(then|publish|send|look at|keep)\b.*"
    steps = [(line, text) for line, text in ran.items() if line.startswith("anw")]
    assert [line for line, text in steps[:-1] if not re.search(words, text)] == []
