"""`anw bundle`, and both replays of what it writes."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.cli.bundling import (
    VERIFIER,
    anw,
    finished,
    flipped,
    members_of,
    packed,
    verified,
    with_index,
)
from tests.cli.test_conditions import VALUE


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("evidence"))


@pytest.fixture(scope="module")
def named(evidence, tmp_path_factory):
    return members_of(evidence.named, tmp_path_factory.mktemp("named") / "in")


@pytest.fixture(scope="module")
def nameless(evidence, tmp_path_factory):
    return members_of(evidence.nameless, tmp_path_factory.mktemp("nameless") / "in")


def names_of(evidence):
    return sorted(path.name for path in (evidence.root / "photos").iterdir())


# --- What is in it. ---


def test_a_bundle_holds_everything_but_photos_and_models(evidence, named, nameless):
    assert sorted(named) == sorted(nameless)
    assert set(named) == {
        "answers/net.answers", "blind.json", "bundle.json", "declared.json", "keys/ann.key",
        "owners/ann/commitment.json", "owners/ann/labels.csv", "owners/ann/manifest.json",
        "probe.json", "queries/net/ann", "report.txt", "statements.toml", "suspects/net.toml",
        "tables/net.npz", "verdict.json",
    }  # fmt: skip
    photos = [path.read_bytes() for path in (evidence.root / "photos").iterdir()]
    for content in (*named.values(), *nameless.values()):
        assert all(photo not in content and b"\x89PNG" not in content for photo in photos)
    assert b"def answer" not in evidence.named.read_bytes()


def test_without_names_no_name_is_left(evidence, named, nameless):
    for name in names_of(evidence):
        assert any(name.encode() in content for content in named.values())
        assert all(name.encode() not in content for content in nameless.values())
    listed = json.loads(nameless["verdict.json"])["tests"]["ann"]["net"]["which"]
    assert listed["first_photo_of_each"]
    assert all(len(name) == 64 for name in listed["first_photo_of_each"])


def test_the_same_case_gives_the_same_bytes(evidence, tmp_path):
    key = evidence.root / "ann.key"
    ran = anw("bundle", evidence.root / "case", "--key", key, "--out", tmp_path / "b.zip")
    assert ran.code == 0
    assert (tmp_path / "b.zip").read_bytes() == evidence.nameless.read_bytes()
    assert "the bundle holds the key of ann, which is spent" in ran.err
    assert "a reader also needs the owner's manifest.json" in ran.out


# --- Anchors. ---


def test_without_anchors_it_is_only_consistent(evidence):
    ran = anw("replay", evidence.named)
    assert ran.code == 10
    assert "replayed: 12 rows from the answers" in ran.out
    last = "consistent, anchors not checked: commitment of ann, beacon value of ann, digest of"
    assert last in ran.out
    assert verified(evidence.named).code == 10
    assert "consistent, anchors not checked: " in verified(evidence.named).out


def test_with_all_anchors_it_is_the_verdict(evidence):
    ran = anw("replay", evidence.named, *evidence.anchors)
    assert (ran.code, ran.err) == (0, "")
    assert "consistent, and the same as given: commitment of ann, beacon value" in ran.out
    assert verified(evidence.named, *evidence.anchors).code == 0
    body = json.loads(anw("replay", evidence.named, *evidence.anchors, "--json").out)
    assert body["anchors"]["not_compared"] == []


def test_without_names_the_manifest_is_an_anchor_too(evidence):
    for replay in (lambda *words: anw("replay", *words), verified):
        assert replay(evidence.nameless, *evidence.anchors).code == 10
        assert replay(evidence.nameless, *evidence.anchors, *evidence.manifest).code == 0


@pytest.mark.parametrize("option", ["--commitment", "--beacon", "--blind"])
def test_another_value_from_elsewhere_is_caught(evidence, option):
    for replay in (lambda *words: anw("replay", *words), verified):
        ran = replay(evidence.named, option, "ab" * 32)
        assert ran.code == 8
        assert option.strip("-").replace("blind", "blind.json") in ran.err


def test_another_manifest_is_caught(evidence, tmp_path):
    body = json.loads((evidence.root / "case_marked" / "manifest.json").read_text())
    body["images"][0]["sha256"] = "ab" * 32
    (tmp_path / "manifest.json").write_text(json.dumps(body))
    given = ("--manifest", tmp_path / "manifest.json")
    assert anw("replay", evidence.nameless, *given).code == 8
    assert verified(evidence.nameless, *given).code == 8


def test_a_folder_takes_the_same_values(evidence):
    case, key = evidence.root / "case", ("--key", evidence.root / "ann.key")
    assert anw("replay", case, *key, *evidence.anchors).code == 0
    assert anw("replay", case, *key, "--commitment", "ab" * 32).code == 8
    assert anw("replay", case, *key, "--manifest", "m.json").code == 2


def test_a_bundle_remade_whole_is_caught_by_an_anchor_alone(evidence, tmp_path_factory):
    other = finished(tmp_path_factory.mktemp("other"), secret=bytes(range(1, 33)))
    for replay in (lambda *words: anw("replay", *words), verified):
        assert replay(other.named).code == 10
        ran = replay(other.named, "--commitment", evidence.commitment)
        assert ran.code == 8
        assert "commitment" in ran.err


# --- The independent verifier. ---


def test_it_needs_nothing_of_this_program(evidence, tmp_path):
    said = json.loads((evidence.root / "case" / "verdict.json").read_text())
    words = [sys.executable, "-I", str(VERIFIER), str(evidence.named), *evidence.anchors]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"ann against net: p {said['tests']['ann']['net']['p_text']}," in done.stdout
    assert done.stdout.endswith("signatures, time stamps\nconsistent\n")
    source = VERIFIER.read_text()
    assert len(source.splitlines()) <= 300
    assert "import anw_jax" not in source
    assert "from anw_jax" not in source


# --- Changes. ---


def test_one_changed_byte_of_any_member_is_caught_and_named(evidence, named, tmp_path):
    for name, content in named.items():
        for place in {0, len(content) // 2, len(content) - 1}:
            other = {**named, name: flipped(content, place)}
            path = packed(other, tmp_path / "changed.zip")
            for ran in (anw("replay", path), verified(path)):
                assert ran.code in (1, 8), (name, place, ran)
                assert name in ran.err, (name, place, ran.err)


@pytest.mark.slow
def test_one_changed_byte_is_caught_where_the_index_was_made_again(named, tmp_path):
    """Text alone may be reworded: no number of it, and nothing that a digest names."""
    for name, content in named.items():
        for place in range(7, len(content), max(1, len(content) // 6)):
            changed = flipped(content, place)
            is_digit = content[place : place + 1].isdigit()
            if name == "bundle.json" or (name == "verdict.json" and not is_digit):
                continue
            path = packed(with_index({**named, name: changed}), tmp_path / "changed.zip")
            ran = anw("replay", path)
            reworded = name == "report.txt" and "worded differently" in ran.out
            assert ran.code in (1, 8) or reworded, (name, place, ran)


@pytest.mark.parametrize(
    "name", ["blind.json", "declared.json", "keys/ann.key", "tables/net.npz", "verdict.json"]
)
def test_a_member_left_out_is_named(named, tmp_path, name):
    rest = {other: content for other, content in named.items() if other != name}
    for members in (rest, with_index(rest)):
        path = packed(members, tmp_path / "less.zip")
        for ran in (anw("replay", path), verified(path)):
            assert ran.code in (1, 8)
            named_by = (name, "the step before it", *(["the key of"] * name.startswith("keys")))
            assert any(part in ran.err for part in named_by), ran.err
            assert "Traceback" not in ran.err
            assert "anw-bundle-" not in ran.err


def test_a_report_with_other_numbers_is_caught(named, tmp_path):
    text = named["report.txt"].replace(b"p 3", b"p 1") + b"p 1e-99\n"
    ran = anw("replay", packed(with_index({**named, "report.txt": text}), tmp_path / "b.zip"))
    assert ran.code == 8
    assert "report.txt states other numbers" in ran.err


# --- What is refused. ---


def test_an_unfinished_case_and_an_existing_file(evidence, tmp_path):
    key = ("--key", evidence.root / "ann.key")
    (tmp_path / "b.zip").write_bytes(b"")
    ran = anw("bundle", evidence.root / "case", *key, "--out", tmp_path / "b.zip")
    assert ran.code == 1
    assert "nothing is overwritten" in ran.err
    ran = anw("bundle", evidence.root / "case", "--out", tmp_path / "c.zip")
    assert ran.code == 1
    assert "give the key of each owner" in ran.err
    assert not (tmp_path / "c.zip").exists()


def copied(evidence, root):
    shutil.copytree(evidence.root / "case", root / "case")
    return root / "case", ("--key", evidence.root / "ann.key", "--out", root / "b.zip")


def test_a_case_without_a_verdict_or_with_a_link(evidence, tmp_path):
    case, words = copied(evidence, tmp_path)
    os.replace(case / "tables" / "net.npz", tmp_path / "net.npz")
    (case / "tables" / "net.npz").symlink_to(tmp_path / "net.npz")
    ran = anw("bundle", case, *words)
    assert ran.code == 1
    assert "net.npz is a link" in ran.err
    (case / "verdict.json").unlink()
    ran = anw("bundle", case, *words)
    assert ran.code == 1
    assert "is not finished: it has no verdict.json" in ran.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["case", "net.npz"]


def test_names_in_a_file_that_is_fixed(evidence, tmp_path):
    case, words = copied(evidence, tmp_path)
    name = names_of(evidence)[0]
    with (case / "statements.toml").open("a") as file:
        file.write(f"# {name} was taken from a book\n")
    assert anw("verdict", case, *words[:2], "--blind", evidence.blind).code == 0
    ran = anw("bundle", case, *words)
    assert ran.code == 1
    assert f"statements.toml names the photo '{name}'" in ran.err
    assert "--with-names" in ran.err
    assert anw("bundle", case, *words, "--with-names").code == 0


def test_options_that_do_not_belong_to_a_bundle(evidence):
    assert anw("replay", evidence.named, "--ask", 0.5).code == 2
    assert anw("replay", evidence.named, "--key", evidence.root / "ann.key").code == 2
    ran = anw("replay", evidence.named, "--commitment", "bob=00")
    assert ran.code in (2, 8)
    assert anw("replay", evidence.named, "--beacon", VALUE[:10]).code == 1
