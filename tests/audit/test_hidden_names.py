"""What a system leaves in a case is no owner, no suspect, no photo and no table."""

import os

import pytest

from anw_jax import audit
from anw_jax.errors import CaseError
from tests.audit.conftest import hand_over, write_suspect

HIDDEN = [".DS_Store", "._net.toml", ".hidden.json", "Thumbs.db", "desktop.ini"]
FOLDERS = ["__MACOSX", ".ipynb_checkpoints", "@eaDir", ".git", "#recycle", "lost+found"]


@pytest.fixture
def case(root, case_dir):
    hand_over(root, case_dir)
    write_suspect(case_dir, root / "ann_marked" / "published")
    return case_dir


@pytest.mark.parametrize("place", ["suspects", "owners", "owners/ann/originals"])
def test_hidden_names_are_passed_over(case, place):
    for name in HIDDEN:
        (case / place / name).write_bytes(b"\0\5\x16\7")
    for name in FOLDERS:
        (case / place / name).mkdir()
        (case / place / name / "._net.toml").write_bytes(b"\0\5\x16\7")
        (case / place / name / "a.png").write_bytes(b"\0\5\x16\7")
    (case / "owners" / "ann" / "._labels.csv").write_bytes(b"\0\5\x16\7")
    opened = audit.Case(case)
    assert list(opened.owners) == ["ann"]
    assert list(opened.suspects) == ["net"]
    assert len(opened.owners["ann"].originals.present) == 12
    audit.probe_case(opened)
    audit.declare(audit.Case(case), audit.Options())
    (case / place / "._later.toml").write_bytes(b"\0\5\x16\7")
    audit.seal_case(audit.Case(case))


@pytest.mark.parametrize(
    "place",
    [
        "suspects/net.toml",
        "owners/ann/manifest.json",
        "owners/ann/commitment.json",
        "owners/ann/labels.csv",
        "owners/ann/originals/photo00.png",
    ],
)
def test_pipes_and_devices_do_not_stop_a_case_for_ever(case, place):
    path = case / place
    path.unlink()
    os.mkfifo(path)
    if "originals" in place:  # passed over, and then missed
        with pytest.warns(UserWarning, match=r"photo00.png is skipped \(a pipe\); 1 such"):
            assert len(audit.Case(case).owners["ann"].originals.present) == 11
        return
    for kind in ("pipe", "device"):
        opened = audit.Case(case)
        with pytest.raises(CaseError, match=rf"{path.name} must be a file, but is a {kind}"):
            _ = opened.owners, opened.suspects
        path.unlink()
        path.symlink_to("/dev/zero")


def test_other_names_are_still_read(case):
    (case / "suspects" / "other.toml").write_bytes(b"\0\5\x16\7")
    with pytest.raises(CaseError, match=r"other.toml is not valid TOML"):
        _ = audit.Case(case).suspects
