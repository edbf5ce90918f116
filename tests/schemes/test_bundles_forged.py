"""Forged bundles of cases of models: any part changed, left out, added, exchanged, remade."""

import hashlib
import json
import pathlib

import numpy as np
import pytest

from anw_jax import verify
from anw_jax.keys import MarkKey
from tests.cli.bundling import anw, flipped, lower_p, members_of, packed, with_index
from tests.schemes import test_judging as networks
from tests.schemes.bundling import KEY, finished, is_copies, multitask_case, small_networks
from tests.schemes.conftest import Owner, tiny_net


def test_one_changed_byte_of_any_member_is_caught_and_named(members, tmp_path):
    for name, content in members.items():
        for place in {0, len(content) // 2, len(content) - 1}:
            other = {**members, name: flipped(content, place)}
            ran = anw("replay", packed(other, tmp_path / "changed.zip"))
            assert ran.code in (1, 8), (name, place, ran)
            assert name in ran.err, (name, place, ran.err)


def test_one_changed_byte_is_caught_where_the_index_was_made_again(members, tmp_path):
    """Only words may be another version's; no number of a verdict."""
    for name, content in members.items():
        for place in range(7, len(content), max(1, len(content) // 4)):
            is_digit = content[place : place + 1].isdigit()
            if name == "bundle.json" or (name == "verdict.json" and not is_digit):
                continue
            changed = with_index({**members, name: flipped(content, place)})
            ran = anw("replay", packed(changed, tmp_path / "changed.zip"))
            reworded = name == "report.txt" and "worded differently" in ran.out
            assert ran.code in (1, 8) or reworded, (name, place, ran)


def test_a_member_left_out_is_named(members, tmp_path):
    for name in members.keys() - {"bundle.json"}:
        rest = {other: content for other, content in members.items() if other != name}
        assert name in anw("replay", packed(rest, tmp_path / "less.zip")).err
        ran = anw("replay", packed(with_index(rest), tmp_path / "less.zip"))
        assert ran.code in (1, 8), (name, ran)
        assert "Traceback" not in ran.err
        assert "anw-bundle-" not in ran.err


@pytest.mark.parametrize(
    "name",
    [
        "keys/bob.key",
        "scores/other.npz",
        "owners/ann/base.npz",
        "owners/ann/log/0999.json",
        "suspects/found.npz",
        "closed.json",
        "notes/a.txt",
    ],
)
def test_a_member_that_does_not_belong_there_is_refused(members, tmp_path, name):
    kinds = {".key": "keys/ann.key", ".npz": "scores/found.npz"}
    content = members[kinds.get(pathlib.PurePath(name).suffix, "blind.json")]
    ran = anw("replay", packed(with_index({**members, name: content}), tmp_path / "b.zip"))
    assert ran.code in (1, 8), ran
    assert pathlib.PurePath(name).name in ran.err


def test_a_foreign_key_opens_nothing(members, tmp_path):
    MarkKey.generate().save(tmp_path / "key")
    other = {**members, "keys/ann.key": (tmp_path / "key").read_bytes()}
    ran = anw("replay", packed(with_index(other), tmp_path / "b.zip"))
    assert ran.code == 8
    assert "does not open" in ran.err


def edited(members, edit) -> dict[str, bytes]:
    body = json.loads(members["verdict.json"])
    edit(body["tests"]["ann"]["found"])
    return with_index({**members, "verdict.json": json.dumps(body, indent=1).encode()})


@pytest.mark.parametrize(
    "edit",
    [
        lower_p,
        lambda test: test.update(p_text="3e-44"),
        lambda test: test.update(sentence=test["sentence"] + " p is 3e-44."),
    ],
)
def test_another_number_in_the_verdict_is_caught(members, tmp_path, edit):
    ran = anw("replay", packed(edited(members, edit), tmp_path / "b.zip"))
    assert ran.code == 8, ran
    assert "verdict.json is not what the files give" in ran.err


def flag_ann(test):
    test["copies"][0]["is_named"] = True


def tell_of_ann(test):
    test["text"] = test["text"].replace("copy ", f"copy {test['copies'][0]['issue']}, ")


@pytest.mark.parametrize("edit", [flag_ann, tell_of_ann])
def test_another_customer_who_is_named_is_caught(evidence, members, tmp_path, edit):
    if not is_copies(evidence):
        pytest.skip("this system names nobody")
    ran = anw("replay", packed(edited(members, edit), tmp_path / "b.zip"))
    assert ran.code == 8
    assert "tests.ann.found." in ran.err


# --- Bundles that were made again. ---


def test_a_bundle_made_again_whole_fails_the_anchors(tmp_path):
    """Another key and commitment for the same suspect: consistent, and not what was noted."""
    with small_networks():
        roots = [tmp_path / name for name in ("one", "two")]
        found = []
        for root in roots:
            root.mkdir()
            owner = Owner(MarkKey.generate())
            networks.Folder(
                root / "case", owner, owner.release(owner.bits()), owner.key
            ).state()
            found.append(finished(root, owner.key))
        first, second = found
        assert anw("replay", second.zip).code == 10
        for anchor in (first.anchors[:2], first.anchors[4:]):
            ran = anw("replay", second.zip, *anchor)
            assert (ran.code, "was given" in ran.err) == (8, True)


def test_swapped_scores_of_two_suspects_are_caught(tmp_path):
    with small_networks():
        owner = Owner(KEY, claim="each model")
        folder = networks.Folder(tmp_path / "case", owner, owner.release(owner.bits()), KEY)
        folder.add("other", tiny_net(41))
        done = finish_two(folder, tmp_path)
        names = ("scores/found.npz", "scores/other.npz")
        swapped = {**done, names[0]: done[names[1]], names[1]: done[names[0]]}
        ran = anw("replay", packed(with_index(swapped), tmp_path / "b.zip"))
    assert ran.code == 8
    assert "scores/found.npz was changed after blind.json named it" in ran.err


def finish_two(folder, root) -> dict[str, bytes]:
    """The members of a bundle of a case with two suspects, of which nothing is stated."""
    folder.key.save(root / "ann.key")
    folder.sealed()
    body = folder.verdict()
    assert body["tests"]["ann"]["other"]["outcome"] == "not shown"
    ran = anw("bundle", folder.path, "--key", root / "ann.key", "--out", root / "two.zip")
    assert ran.code == 0, ran.err
    assert anw("replay", root / "two.zip").code == 10
    return members_of(root / "two.zip", root / "in")


def test_scores_that_the_suspect_does_not_give_are_found_by_reading_again(tmp_path):
    """A hostile arbitrator seals other scores than he read, and all files fit."""
    with small_networks():
        key = multitask_case(tmp_path)
        done = finished(tmp_path, key)
        case = done.case
        scores = 1.0 + np.arange(96, dtype=np.float32)
        np.savez_compressed(case / "scores" / "found.npz", ann=scores)
        blind = json.loads((case / "blind.json").read_text())
        digest = hashlib.sha256((case / "scores" / "found.npz").read_bytes()).hexdigest()
        blind["suspects"]["found"] |= {"file": digest}
        blind["suspects"]["found"]["owners"]["ann"]["table"] = verify.seal(scores)
        (case / "blind.json").write_text(json.dumps(blind))
        (case / "verdict.json").unlink()
        code = anw("verdict", case, *done.key).code
        assert anw("replay", case, *done.key).code == code
        ran = anw("replay", case, *done.key, "--ask", 1)
    assert ran.code == 8
    assert "read again: 96 scores, " in ran.out
