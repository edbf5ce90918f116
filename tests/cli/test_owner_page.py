"""Every command of docs/owner.md, in its order, with a stamp and a round made for it."""

import datetime
import json
import pathlib
import re
import shlex

import pytest

from anw_jax.cli import owner
from tests.audit.authority import Authority
from tests.audit.conftest import write_labels, write_photos

PAGE = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "owner.md").read_text()
COMMANDS = [line for line in re.findall(r"^ *(anw .*)", PAGE, re.M) if " FILE" not in line]
NOW = datetime.datetime(2026, 11, 3, 10, tzinfo=datetime.UTC)
MINUTE = datetime.timedelta(minutes=1)


@pytest.fixture
def prepared(root, monkeypatch):
    monkeypatch.chdir(root)
    monkeypatch.setattr(owner, "clock", lambda: NOW)
    write_photos(root / "photos", seed=5, side=16)
    write_labels(root / "photos", root / "labels.csv")
    return root


def after_the_commitment(root):
    """The stamp that `curl` fetches, the root certificate, and the beacon's round."""
    authority, marked = Authority(), root / "marked"
    (root / "freetsa_root.pem").write_bytes(authority.pem)
    document = (marked / "commitment.json").read_bytes()
    (marked / "commitment.tsr").write_bytes(authority.answer(document, NOW + MINUTE))
    number = json.loads(document)["plan"]["beacon"].rpartition(":")[2]
    body = {"round": int(number), "randomness": "0f" * 32}
    (root / "round.json").write_text(json.dumps(body))


def test_the_page_runs_and_every_file_to_keep_exists(anw, prepared):
    said = {}
    for line in COMMANDS:
        ran = anw(*shlex.split(line)[1:])
        assert (ran.code, ran.err) == (0, ""), line
        said[shlex.split(line)[1]] = ran.out
        if line.startswith("anw commit"):
            after_the_commitment(prepared)
    assert list(said) == ["key", "preview", "commit", "stamp", "mark"]
    assert "look at look/preview.html; then: anw commit photos" in said["preview"]
    assert "curl -sS -H 'Content-Type: application/timestamp-query'" in said["commit"]
    assert "early enough for the beacon's value" in said["stamp"]
    assert "12 photos of 12 units marked; in marked/published" in said["mark"]
    kept = PAGE.partition("## 7. Keep")[2].partition("\n## ")[0]
    names = {*re.findall(r"`([\w./]+\.\w+)`", kept), "anw-commitments.jsonl"}
    assert len(names) >= 9
    for name in names:
        assert (prepared / name).exists() or (prepared / "marked" / name).exists(), name
