"""Stamps and signatures in a bundle: verified again, against what the reader trusts."""

import hashlib
import json

import pytest

from tests.audit.authority import Authority
from tests.audit.conftest import receive, write_suspect
from tests.cli.bundling import flipped, members_of, packed, verified, with_index
from tests.cli.test_stamp import AUTHORITY, MINUTE, NOW, STATEMENTS, committed, stamp  # noqa: F401
from tests.keys.drand import ROUND_1000


@pytest.fixture
def stamped(anw, root, committed):  # noqa: F811
    """A judged case whose commitment is stamped, and which the arbitrator signed."""
    assert anw("commit", *committed[1]).code == 0
    (root / "round.json").write_text(json.dumps(ROUND_1000))
    assert anw("mark", *committed[0], "--beacon-value", root / "round.json").code == 0
    case = root / "case"
    receive(root / "marked", root / "photos", case, "ann")
    write_suspect(case, root / "marked" / "published")
    (case / "statements.toml").write_text(STATEMENTS)
    stamp(root, NOW + MINUTE, "case/owners/ann")
    (case / "anchors").mkdir()
    (case / "anchors" / "root.pem").write_bytes(AUTHORITY.pem)
    for words in (("probe", case), ("declare", case, "--beacon", root / "round.json")):
        assert anw(*words).code == 0
    assert anw("audit", case).code == 0
    blind = hashlib.sha256((case / "blind.json").read_bytes()).hexdigest()
    assert anw("verdict", case, "--key", root / "ann.key", "--blind", blind).code == 0
    anw("key", "signing", root / "jane.sign")
    signed = (case / "declared.json", case / "blind.json", case / "verdict.json")
    assert anw("sign", *signed, "--key", root / "jane.sign").code == 0
    commitment = json.loads((root / "marked" / "commitment.json").read_text())["commitment"]
    return case, ["--commitment", commitment, "--beacon", root / "round.json", "--blind", blind]


def bundle(anw, root, case, *more):
    path = root / f"{len(more)}.zip"
    assert anw("bundle", case, "--key", root / "ann.key", "--out", path, *more).code == 0
    return path


def test_a_stamp_counts_against_the_readers_own_roots(anw, root, stamped):
    case, anchors = stamped
    path = bundle(anw, root, case, "--with-names")
    ran = anw("replay", path, *anchors)
    assert ran.code == 10
    assert "anchors not checked: anchors of the time stamps" in ran.out
    ran = anw("replay", path, *anchors, "--anchor", root / "root.pem")
    assert (ran.code, ran.err) == (0, "")
    ran = verified(path, *anchors[:2], "--beacon", ROUND_1000["randomness"], *anchors[4:])
    assert (ran.code, "left to anw replay: rows" in ran.out, "time stamps" in ran.out) == (
        0,
        True,
        True,
    )
    (root / "other.pem").write_bytes(Authority(ca="Nobody").pem)
    ran = anw("replay", path, *anchors, "--anchor", root / "other.pem")
    assert ran.code == 1
    assert "commitment.tsr leads to none of the root certificates given" in ran.err


def test_signatures_are_verified_and_one_that_no_longer_fits_is_left_out(anw, root, stamped):
    case, _ = stamped
    named = members_of(bundle(anw, root, case, "--with-names"), root / "named")
    nameless = members_of(bundle(anw, root, case), root / "nameless")
    assert set(named) - set(nameless) == {"verdict.json.sig"}
    assert "blind.json.sig" in nameless
    for name in ("verdict.json.sig", "declared.json.sig", "owners/ann/commitment.tsr"):
        changed = {**named, name: flipped(named[name], len(named[name]) // 2)}
        ran = anw("replay", packed(with_index(changed), root / "c.zip"))
        assert ran.code in (1, 8)
        assert name in ran.err
