"""Files and folders that are not there, or are the other of the two: one line each."""

import subprocess
import sys

import numpy as np
import pytest

from anw_jax import audit, data
from tests.cli.bundling import VERIFIER


@pytest.fixture
def here(root, monkeypatch):
    """A folder with a photo, a file and a key; commands name them relative to it."""
    (root / "photos").mkdir()
    pixels = np.arange(20 * 20 * 3, dtype=np.uint8).reshape(20, 20, 3)
    (root / "photos" / "photo00.png").write_bytes(data.png_of(pixels))
    (root / "file").write_text("a file")
    monkeypatch.chdir(root)
    return root


NO_FOLDER = "folder 'none' is not there: give an existing folder"
A_FILE = "'file' must be a folder, but is a file"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("key", "new", "none/ann.key"), f"none/ann.key cannot be written: {NO_FOLDER}"),
        (("key", "new", "file/ann.key"), f"file/ann.key cannot be written: {A_FILE}"),
        (("key", "new", ""), "a new file must have a name, got '.'"),
        (("key", "signing", "none/a.sign"), f"none/a.sign cannot be written: {NO_FOLDER}"),
        (("preview", "file", "--out", "look"), A_FILE),
        (("preview", "none", "--out", "look"), NO_FOLDER),
        (("probe", "file"), A_FILE),
        (("plan", "file"), A_FILE),
        (
            ("sign", "file", "--key", "no.sign"),
            "no signing key at no.sign: the file does not exist",
        ),
    ],
)
def test_the_path_and_the_rule_are_named(anw, here, words, message):
    before = sorted(here.rglob("*"))
    ran = anw(*words)
    assert (ran.code, ran.out, ran.err) == (1, "", f"anw: {message}\n")
    assert sorted(here.rglob("*")) == before


def test_a_folder_of_photos_that_is_a_file(anw, here):
    anw("key", "new", "ann.key")
    assert anw("commit", "file", "--key", "ann.key", "--out", "out").err == f"anw: {A_FILE}\n"
    assert not (here / "out").exists()


@pytest.mark.parametrize("words", [("none.zip",), ("photos",), ("file", "--manifest", "none")])
def test_the_independent_verifier_names_a_file_that_is_not_there(here, words):
    done = subprocess.run(
        [sys.executable, "-I", str(VERIFIER), *words], capture_output=True, text=True
    )
    (line,) = done.stderr.splitlines()
    if words[0] == "file":  # which is there, and no bundle
        assert (done.returncode, line[:8]) == (8, "DIFFERS:")
    else:
        assert (done.returncode, line[:9]) == (3, "NOT DONE:")
        assert line.endswith(f"'{words[0]}'")


# --- A commitment that is there, and options that differ from it. ---


@pytest.fixture
def committed(anw, here):
    anw("key", "new", "ann.key")
    words = ("commit", "photos", "--key", "ann.key", "--out", "out")
    assert anw(*words, "--beacon", "arbitrator:Jane").code == 0
    return words


@pytest.mark.parametrize(
    ("option", "code", "message"),
    [
        (("--refusals", "nan"), 1, "refusals must be finite, got nan"),
        (("--augmentations", "0"), 2, "Invalid value for '--augmentations': 0 is not in "),
        (("--save-queries", "-1"), 2, "Invalid value for '--save-queries': -1 is not in "),
        (("--access", "rounded", "--decimals", "13"), 2, "Invalid value for '--decimals': 13 "),
        (
            ("--augmentations", "3"),
            1,
            "the options for access differ from those committed to (views is 3, not 16): leave",
        ),
        (
            ("--access", "label"),
            1,
            "the options for access differ from those committed to (kind is 'label', not",
        ),
    ],
)
def test_options_of_access_are_named_with_both_values(anw, committed, option, code, message):
    ran = anw(*committed, *option)
    assert (ran.code, ran.out) == (code, "")
    (line,) = ran.err.splitlines()
    assert line.startswith(f"anw: {message}")


def test_a_level_that_no_audit_can_reach_is_said(anw, here):
    """One photo of 11 marks: p is at least 1/11 = 0.0909…"""
    anw("key", "new", "ann.key")
    commit = ("commit", "photos", "--key", "ann.key", "--beacon", "arbitrator:Jane", "--again")
    warned = anw(*commit, "--out", "low", "--alpha", 0.0909).out
    assert (
        "warning: no match can be shown at level 0.0909: the least p that 1 unit of 11 marks "
        "can give is 0.091; commit to more photos, or with a larger --alpha\n"
    ) in warned
    assert "no match can" not in anw(*commit, "--out", "high", "--alpha", 0.091).out


def test_an_older_commitment_to_an_odd_beacon_is_found_without_the_option(anw, here):
    anw("key", "new", "ann.key")
    audit.commit_folder(
        "photos", "ann.key", "old", audit.Choices(mark="hue", beacon="foo:bar", alpha=0.1)
    )
    again = ("commit", "photos", "--key", "ann.key", "--out", "old")
    refused = anw(*again, "--beacon", "foo:bar")
    assert refused.code == 2
    assert refused.err.endswith(
        "; leave it out to go on with an older commitment that names such a text\n"
    )
    assert anw(*again).code == 0


# --- What comes next. ---


def test_a_new_case_says_what_comes_next(anw, here):
    anw("case", "new", "case")
    assert anw("plan", "case").out == "steps done: none\nthen: anw probe case\n"


def test_signing_says_what_comes_next(anw, here):
    pytest.importorskip("cryptography")
    made = anw("key", "signing", "ann.sign").out.splitlines()
    assert made[-1] == "send it to the other side; then: anw sign FILES --key ann.sign"
    public = made[1].rpartition(" ")[2]
    signed = anw("sign", "file", "photos/photo00.png", "--key", "ann.sign").out.splitlines()
    then = f"then: anw verify-signature file photos/photo00.png --signer {public}"
    assert signed[-1] == f"keep each beside its file; anyone can check it, {then}"
    assert anw(*then.split()[2:]).code == 0


def test_an_anchor_needs_a_stamp(anw, committed):
    ran = anw("stamp", "out", "--anchor", "none.pem")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "anw: --anchor needs a time stamp to verify, and out has no commitment.tsr or "
        "commitment.json.ots\n"
    )
