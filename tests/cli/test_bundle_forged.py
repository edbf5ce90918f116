"""Forged bundles: whoever makes one may change, add, exchange and remake any part of it."""

import hashlib
import json
import re
import shutil

import pytest

from anw_jax import audit
from anw_jax.errors import ChangedFileError
from tests.cli.bundling import (
    anw,
    finished,
    flipped,
    lower_p,
    members_of,
    packed,
    verified,
    with_index,
)


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("evidence"))


@pytest.fixture(scope="module")
def named(evidence, tmp_path_factory):
    return members_of(evidence.named, tmp_path_factory.mktemp("named") / "in")


def replays(path, *words):
    return anw("replay", path, *words), verified(path, *words)


def edited(members, name, edit):
    """The members with one JSON file edited, and an index that fits."""
    body = json.loads(members[name])
    edit(body)
    return with_index({**members, name: json.dumps(body, indent=1).encode() + b"\n"})


# --- The zip. ---


def test_no_byte_outside_the_members_is_free(evidence, named, tmp_path):
    whole = evidence.named.read_bytes()
    inside = set()
    for content in named.values():
        start = whole.index(content)
        inside |= set(range(start, start + len(content)))
    outside = [place for place in range(len(whole)) if place not in inside]
    path = tmp_path / "b.zip"
    for place in outside[::13]:
        path.write_bytes(flipped(whole, place))
        assert verified(path).code == 8, place
    for place in outside[::300]:
        path.write_bytes(flipped(whole, place))
        assert anw("replay", path).code == 1, place
    for more in (whole + b"\0", b"\0" + whole):
        path.write_bytes(more)
        assert [ran.code for ran in replays(path)] == [1, 8]


# --- Anchors. ---


def test_the_noted_digest_is_that_of_the_result_that_was_used(evidence, tmp_path):
    """The noted file beside a remade one, under the name of the other mode."""
    case = tmp_path / "case"
    shutil.copytree(evidence.root / "case", case)
    noted = (case / "blind.json").read_bytes()
    (case / "blind.json").write_text(json.dumps(json.loads(noted) | {"budget": 7}))
    remade = hashlib.sha256((case / "blind.json").read_bytes()).hexdigest()
    key = ("--key", evidence.root / "ann.key")
    assert anw("verdict", case, *key, "--blind", remade).code == 0
    path = tmp_path / "b.zip"
    assert anw("bundle", case, *key, "--out", path, "--with-names").code == 0
    members = members_of(path, tmp_path / "in")
    for more in ({}, {"closed.json": noted}):
        packed(with_index({**members, **more}), path)
        assert [ran.code for ran in replays(path, *evidence.anchors)] == [8, 8]
    (case / "closed.json").write_bytes(noted)
    with pytest.raises(ChangedFileError, match=r"SHA-256 of blind\.json"):
        audit.compare_anchors(audit.Case(case), audit.CaseAnchors(blind=evidence.blind))


@pytest.mark.parametrize(
    "name",
    [
        "anchors",
        "anchors/7",
        "answers/other.answers",
        "closed.json",
        "keys/bob.key",
        "labels/ann.csv",
        "notes/a.txt",
        "queries/net/bob",
        "records/ann.jsonl",
        "tables/other.npz",
        "tables/net.npz.sig",
    ],
)
def test_a_member_that_does_not_belong_there_is_named(named, tmp_path, name):
    extra = named["keys/ann.key"] if name.startswith("keys") else named["blind.json"]
    ran = anw("replay", packed(with_index({**named, name: extra}), tmp_path / "b.zip"))
    assert ran.code in (1, 8)
    assert name in ran.err


# --- The verdict and the rule. ---


@pytest.mark.parametrize(
    "edit",
    [
        lower_p,
        lambda test: test.update(p_text="3e-14"),
        lambda test: test.update(p_value=1e-14),
        lambda test: test.update(log10_p=-300.0),
    ],
)
def test_a_smaller_p_is_caught_by_both(named, tmp_path, edit):
    members = edited(named, "verdict.json", lambda body: edit(body["tests"]["ann"]["net"]))
    for ran in replays(packed(members, tmp_path / "b.zip")):
        assert ran.code == 8
        assert "verdict.json" in ran.err


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: re.sub(r'"p_value": [^,]+', '"p_value": NaN', text),
        lambda text: re.sub(r'"p_text": "[^"]+"', '"p_text": "nan"', text),
        lambda text: text.replace('"p_text"', '"p_text": "3e-14", "p_text"'),
    ],
)
def test_a_number_that_is_none_or_a_name_twice_is_caught_by_both(named, tmp_path, edit):
    """Of two values under one name, others may read the first."""
    text = named["verdict.json"].decode()
    assert edit(text) != text
    members = with_index({**named, "verdict.json": edit(text).encode()})
    replayed, checked = replays(packed(members, tmp_path / "b.zip"))
    assert replayed.code != 0
    assert checked.code == 8


@pytest.mark.parametrize("more", [{"bob": {}}, {"ann": {"other": {"outcome": "shown"}}}])
def test_a_test_that_was_not_made_is_caught_by_both(named, tmp_path, more):
    def add(body):
        for owner, tests in more.items():
            body["tests"].setdefault(owner, {}).update(tests)

    members = edited(named, "verdict.json", add)
    for ran in replays(packed(members, tmp_path / "b.zip")):
        assert ran.code == 8


def test_a_shorter_menu_is_caught_by_both(named, tmp_path):
    members = edited(
        named, "declared.json", lambda body: body["suspects"]["net"].update(menu=0)
    )
    blind = json.loads(named["blind.json"])
    blind["previous"] = hashlib.sha256(members["declared.json"]).hexdigest()
    blind = json.dumps(blind).encode()
    verdict = json.loads(named["verdict.json"])
    verdict["previous"] = hashlib.sha256(blind).hexdigest()
    members |= {"blind.json": blind, "verdict.json": json.dumps(verdict).encode()}
    for ran in replays(packed(with_index(members), tmp_path / "b.zip")):
        assert ran.code == 8
        assert "declared" in ran.err


def test_a_standing_cannot_be_reworded_into_evidence(evidence, tmp_path):
    case, key = tmp_path / "case", ("--key", evidence.root / "ann.key")
    shutil.copytree(evidence.root / "case", case)
    assert anw("verdict", case, *key).code == 10
    body = json.loads((case / "verdict.json").read_text())
    test = body["tests"]["ann"]["net"]
    assert test["standing"].startswith("holds only if")
    test["standing"] = "holds, if only"
    (case / "verdict.json").write_text(json.dumps(body))
    assert anw("replay", case, *key).code == 10
    test["standing"] = "evidence under the committed plan"
    (case / "verdict.json").write_text(json.dumps(body))
    ran = anw("replay", case, *key)
    assert ran.code == 8
    assert "tests.ann.net.standing" in ran.err


# --- The report and the arbitrator's statements. ---


def test_a_report_of_before_the_conditions_were_numbered_is_accepted(evidence, tmp_path):
    case, key = tmp_path / "case", ("--key", evidence.root / "ann.key")
    shutil.copytree(evidence.root / "case", case)
    (case / "statements.toml").unlink()
    assert anw("verdict", case, *key).code == 10
    assert anw("bundle", case, *key, "--with-names", "--out", tmp_path / "b.zip").code == 0
    members = members_of(tmp_path / "b.zip", tmp_path / "in")
    assert b"\n    2. " in members["report.txt"]
    text = members["report.txt"]
    for number in range(1, 10):
        text = text.replace(f"\n    {number}. ".encode(), b"; and if ")
    ran = anw("replay", packed(with_index({**members, "report.txt": text}), tmp_path / "c.zip"))
    assert ran.code == 10, ran.err
    assert "report.txt is worded differently; this version prints" in ran.out


def test_statements_are_the_arbitrators_where_he_signed_them(evidence, tmp_path):
    """A K that is too small makes p too small, and no digest noted before covers it."""
    case, key = tmp_path / "case", ("--key", evidence.root / "ann.key")
    shutil.copytree(evidence.root / "case", case)
    public = audit.new_signing_key(tmp_path / "jane.sign")
    other = audit.new_signing_key(tmp_path / "other.sign")
    audit.sign_file(case / "statements.toml", tmp_path / "jane.sign")
    path = tmp_path / "b.zip"
    ran = anw("bundle", case, *key, "--out", path)
    assert ran.code == 0, ran.err
    members = members_of(path, tmp_path / "in")
    assert "statements.toml.sig" in members
    words = [*evidence.anchors, *evidence.manifest, "--signer", public]
    ran = anw("replay", path, *words)
    assert ran.code == 0, ran.err
    assert f"signature of statements.toml: valid, by {public}" in ran.out
    unsigned = {n: body for n, body in members.items() if n != "statements.toml.sig"}
    ran = anw("replay", packed(with_index(unsigned), path), *words)
    assert (ran.code, f"nothing is signed by '{public}'" in ran.err) == (8, True)
    audit.sign_file(case / "statements.toml", tmp_path / "other.sign")
    signature = (case / "statements.toml.sig").read_bytes()
    forged = with_index({**members, "statements.toml.sig": signature})
    ran = anw("replay", packed(forged, path), *words, "--signer", other)
    assert (ran.code, f"nothing is signed by '{public}'" in ran.err) == (8, True)
    assert anw("replay", path, *words[:-2], "--signer", other).code == 0
    changed = members["statements.toml"].replace(b"found = 1", b"found = 2")
    assert changed != members["statements.toml"]
    ran = anw("replay", packed(with_index({**members, "statements.toml": changed}), path))
    assert (ran.code, "statements.toml" in ran.err) == (8, True)
    ran = verified(path)
    assert (ran.code, "statements.toml is not what verdict.json names" in ran.err) == (8, True)


def test_files_of_the_anchors_may_have_any_name(evidence, tmp_path):
    case = tmp_path / "case"
    shutil.copytree(evidence.root / "case", case)
    (case / "anchors").mkdir()
    (case / "anchors" / "a root, of 2026.pem").write_text("-----BEGIN")
    (case / "anchors" / ".DS_Store").write_text("x")
    words = ("--key", evidence.root / "ann.key", "--out", tmp_path / "b.zip")
    assert anw("bundle", case, *words).code == 0
    members = members_of(tmp_path / "b.zip", tmp_path / "in")
    assert [name for name in members if name.startswith("anchors")] == ["anchors/0"]
    assert anw("replay", tmp_path / "b.zip", *evidence.anchors, *evidence.manifest).code == 0
