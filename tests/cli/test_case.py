"""`anw case new`: what it prints, and its bad inputs."""

import json

import pytest

from tests.audit.conftest import hand_over, write_suspect


def test_it_says_what_to_do_next(anw, root):
    ran = anw("case", "new", root / "case", "--owner", "ann", "--suspect", "net=onnx")
    assert (ran.code, ran.err) == (0, "")
    assert f"put what ann hands over into {root / 'case' / 'owners' / 'ann'}" in ran.out
    assert f"fill in {root / 'case' / 'suspects' / 'net.toml'}" in ran.out
    assert ran.out.splitlines()[-1] == f"then: anw probe {root / 'case'}"
    body = json.loads(anw("case", "new", root / "other", "--json").out)
    assert body["case"] == str(root / "other")
    for name in body["files"]:
        assert (root / "other" / name).is_file()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--suspect", "net"), 2, "--suspect must be NAME=KIND"),
        (("--suspect", "net=gguf"), 2, "one of jax, onnx, torch, .*; got 'net=gguf'"),
        (("--suspect", "net=onnx", "--suspect", "net=jax"), 2, "each name once"),
        (("--owner", "ann", "--owner", "ann"), 2, "--owner names must differ by more"),
        (("--owner", "ann", "--owner", "Ann"), 2, "upper and lower case, got .'ann', 'Ann'"),
        (("--suspect", "net=onnx", "--suspect", "Net=jax"), 2, "--suspect names must differ"),
        (("--owner", "a b"), 1, "must have a name of letters.*got 'a b'"),
    ],
)
def test_bad_inputs_are_one_line(anw, root, words, code, message):
    import re

    ran = anw("case", "new", root / "case", *words)
    assert (ran.code, ran.out) == (code, "")
    assert re.search(message, ran.err)
    assert len(ran.err.splitlines()) == 1
    assert not (root / "case").exists()


def test_a_case_that_exists_is_refused(anw, root):
    assert anw("case", "new", root / "case").code == 0
    ran = anw("case", "new", root / "case")
    assert ran.code == 1
    assert ran.err.startswith(f"anw: {root / 'case'} already exists: ")


def test_nothing_printed_beside_an_innocent_verdict_says_evidence(anw, root):
    case = root / "case"
    case.mkdir()
    hand_over(root, case)
    write_suspect(case, root / "ann_photos")  # it saw the unmarked photos
    for words in (("probe",), ("declare",), ("audit",)):
        assert anw(*words, case).code == 0
    ran = anw("verdict", case, "--key", root / "ann.key")
    assert ran.code == 3
    assert "Not shown at level" in ran.out
    for said in (ran, anw("report", case)):
        assert "then: anw" in said.out
        assert "evidence" not in said.out.lower()
