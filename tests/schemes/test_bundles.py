"""`anw bundle`, `replay` and `report` of cases of models, of every system."""

import json
import shutil

import pytest

from anw_jax import audit
from tests.cli.bundling import anw, verified
from tests.report.test_page import Page
from tests.schemes.bundling import is_copies


def test_it_holds_the_evidence_and_no_network(evidence, members):
    log = sorted((evidence.case / "owners" / "ann").glob("log/*.json"))
    assert set(members) == {
        "blind.json", "bundle.json", "declared.json", "keys/ann.key", "owners/ann/mark.json",
        "probe.json", "report.txt", "scores/found.npz", "statements.toml",
        "suspects/found.toml", "verdict.json", *(f"owners/ann/log/{p.name}" for p in log),
    }  # fmt: skip
    heavy = [*evidence.case.rglob("*.npz"), *evidence.case.rglob("*.png")]
    whole = evidence.zip.read_bytes()
    assert all(path.read_bytes() not in whole for path in heavy if "scores" not in path.parts)
    test = json.loads(members["verdict.json"])["tests"]["ann"]["found"]
    assert test["p_text"] in members["report.txt"].decode()


def test_without_anchors_it_is_only_consistent(evidence):
    ran = anw("replay", evidence.zip)
    assert ran.code == 10
    assert "replayed: the verdict from the sealed scores: nothing differs" in ran.out
    assert "consistent, anchors not checked: commitment of ann, beacon value of ann" in ran.out
    assert "to read the scores again, unpack it, put these back into place" in ran.out


def test_with_all_anchors_it_is_the_verdict(evidence):
    ran = anw("replay", evidence.zip, *evidence.anchors)
    left = "; anchors not checked: codes in the accepted copies of ann"
    assert ran.err == ""
    assert "consistent, and the same as given: commitment of ann, beacon value" in ran.out
    # What a copy holds was checked for the verdict, with the copies, and by nothing in the zip.
    assert (ran.code, left in ran.out) == ((10, True) if is_copies(evidence) else (0, False))


def test_the_same_case_gives_the_same_bytes(evidence, tmp_path):
    ran = anw("bundle", evidence.case, *evidence.key, "--out", tmp_path / "b.zip")
    assert ran.code == 0
    assert (tmp_path / "b.zip").read_bytes() == evidence.zip.read_bytes()


@pytest.mark.parametrize("option", ["--commitment", "--beacon", "--blind"])
def test_another_value_from_elsewhere_is_caught(evidence, option):
    ran = anw("replay", evidence.zip, option, "ab" * 32)
    assert ran.code == 8
    assert option.strip("-").replace("blind", "blind.json") in ran.err


def test_an_unpacked_bundle_with_the_networks_is_read_again(evidence, members, tmp_path):
    for name, content in members.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    words = ("replay", tmp_path, "--key", tmp_path / "keys" / "ann.key", "--ask", 1)
    (tmp_path / "keys" / "ann.key").chmod(0o600)
    ran = anw(*words)
    assert ran.code == 1, ran  # the clean model, or the decoder, is not there
    shutil.copytree(evidence.case / "owners", tmp_path / "owners", dirs_exist_ok=True)
    shutil.copytree(evidence.case / "suspects", tmp_path / "suspects", dirs_exist_ok=True)
    if (evidence.case / "answers").is_dir():
        shutil.copytree(evidence.case / "answers", tmp_path / "answers")
    ran = anw(*words, *evidence.anchors)
    assert ran.code == 0, ran
    assert " scores, 0 of them with other scores than those sealed" in ran.out


def test_the_page_of_a_case(evidence, tmp_path):
    ran = anw("report", evidence.case, "--out", tmp_path / "page.html")
    assert ran.code == 0, ran.err
    page = Page(tmp_path / "page.html")
    body = json.loads((evidence.case / "verdict.json").read_text())
    test = body["tests"]["ann"]["found"]
    for text in (test["p_text"], evidence.commitment, evidence.blind, *test["stated"]):
        assert text in page.text, text
    whole = (tmp_path / "page.html").read_text()
    assert "<svg" in whole or "image/svg" in whole
    if is_copies(evidence):
        assert "It cannot be excluded that the owner himself" in page.text
        assert all(row["customer"] in page.text for row in test["copies"])
    assert anw("report", evidence.case, "--out", tmp_path / "page.html").code == 1
    assert anw("report", evidence.case, "--without-photos").code == 2


def test_signatures_are_kept_and_compared(evidence, tmp_path):
    case = tmp_path / "case"
    shutil.copytree(evidence.case, case)
    public = [audit.new_signing_key(tmp_path / name) for name in ("jane", "ann")]
    audit.sign_file(case / "verdict.json", tmp_path / "jane")
    audit.sign_file(case / "owners" / "ann" / "mark.json", tmp_path / "ann")
    ran = anw("bundle", case, *evidence.key, "--out", tmp_path / "b.zip")
    assert ran.code == 0, ran.err
    signers = ["--signer", public[0], "--signer", public[1]]
    ran = anw("replay", tmp_path / "b.zip", *signers)
    assert ran.code == 10, ran.err
    assert f"signature of owners/ann/mark.json: valid, by {public[1]}" in ran.out
    assert anw("replay", evidence.zip, "--signer", public[0]).code == 8


def test_bundles_of_models_have_no_names(evidence, tmp_path):
    (tmp_path / "x").write_text("x")
    ran = anw("replay", evidence.zip, "--manifest", tmp_path / "x")
    assert ran.code == 2
    assert "--manifest belongs to bundles of photos" in ran.err


def test_the_independent_verifier_checks_digests_and_names_what_does_the_rest(evidence):
    ran = verified(evidence.zip, *evidence.anchors)
    assert ran.code == 3
    assert "digests fit; sequential cases, models, references: left to anw replay" in ran.err
