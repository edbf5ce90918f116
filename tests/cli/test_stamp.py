"""From commitment to verdict with a time stamp and signatures, offline, at a given time."""

import datetime
import hashlib
import json

import pytest

from anw_jax.cli import owner
from anw_jax.keys import commit_scheme
from anw_jax.keys.beacons import QUICKNET, read_beacon
from anw_jax.schemes.case import ModelMark
from tests.audit.authority import Authority
from tests.audit.conftest import receive, write_labels, write_photos, write_suspect
from tests.keys.drand import APPEARED, ROUND_1000
from tests.schemes.conftest import Owner

NOW = APPEARED - datetime.timedelta(hours=2)
MINUTE = datetime.timedelta(minutes=1)
AUTHORITY = Authority()
STATEMENTS = """
[owners.ann]
found = 1
nothing_else = true

[suspects.net]
models_tried = 1
"""


@pytest.fixture
def committed(anw, root, monkeypatch):
    """A commitment of two hours before the recorded drand round, by default its beacon."""
    monkeypatch.setattr(owner, "clock", lambda: NOW)
    write_photos(root / "photos", seed=5)
    labels = write_labels(root / "photos", root / "labels.csv")
    anw("key", "new", root / "ann.key")
    (root / "root.pem").write_bytes(AUTHORITY.pem)
    words = [root / "photos", "--key", root / "ann.key", "--out", root / "marked"]
    return words, [*words, "--alpha", "0.001", "--mark", "hue", "--labels", labels]


def stamp(root, time, folder="marked", authority=AUTHORITY):
    document = (root / "marked" / "commitment.json").read_bytes()
    (root / folder / "commitment.tsr").write_bytes(authority.answer(document, time))


def test_a_commitment_says_how_to_get_a_stamp_and_verifies_it(anw, root, committed):
    ran = anw("commit", *committed[1])
    assert ran.code == 0
    request = root / "marked" / "commitment.tsq"
    assert f"--data-binary @{request} -o {root / 'marked' / 'commitment.tsr'} https:" in ran.out
    digest = hashlib.sha256((root / "marked" / "commitment.json").read_bytes()).digest()
    assert digest in request.read_bytes()
    again = anw("stamp", root / "marked")
    assert again.code == 0
    assert "curl" in again.out
    stamp(root, NOW + 59 * MINUTE)
    good = anw("stamp", root / "marked", "--anchor", root / "root.pem")
    assert (good.code, good.err) == (0, "")
    assert (
        "early enough for the beacon's value, which appears at 2023-08-23T15:59:24" in good.out
    )
    stamp(root, NOW + 61 * MINUTE)
    late = anw("stamp", root / "marked", "--anchor", root / "root.pem")
    assert late.code == 1
    assert "must be at least 1 h before the beacon's value" in late.err
    assert anw("stamp", root / "marked").code == 1


def test_the_list_of_marked_files_can_be_stamped(anw, root, committed):
    assert anw("commit", *committed[1], "--no-beacon").code == 0
    assert anw("mark", *committed[0]).code == 0
    published = root / "marked" / "published.json"
    asked = anw("stamp", published)
    assert f"--data-binary @{published.with_suffix('.tsq')} " in asked.out
    assert f"anw stamp {published} --anchor ROOT.pem" in asked.out
    response = AUTHORITY.answer(published.read_bytes(), NOW + 500 * MINUTE)
    published.with_suffix(".tsr").write_bytes(response)
    ran = anw("stamp", published, "--anchor", root / "root.pem")
    assert (ran.code, ran.err) == (0, "")
    assert "these marked files existed then" in ran.out
    published.write_text(published.read_text().replace("photo00", "photo99"))
    assert anw("stamp", published, "--anchor", root / "root.pem").code == 1
    published.write_text("{}")
    assert "published.json is damaged or no 'anw_jax published" in anw("stamp", published).err


@pytest.mark.parametrize(("name", "stem"), [("", "mark"), ("key1.json", "key1")])
def test_a_mark_of_a_model_is_stamped_like_a_commitment(anw, root, name, stem):
    own = Owner(beacon=f"drand:{QUICKNET}:1000")
    commitment = commit_scheme(own.key, own.plan)
    mark = ModelMark(own.plan, commitment, own.decoder.as_json())
    document, folder = json.dumps(mark.as_json()).encode(), root / "mark"
    folder.mkdir()
    (folder / f"{stem}.json").write_bytes(document)
    (root / "root.pem").write_bytes(AUTHORITY.pem)
    asked = anw("stamp", folder / name)
    assert asked.code == 0
    assert f"@{folder / stem}.tsq -o {folder / stem}.tsr https:" in asked.out
    assert hashlib.sha256(document).digest() in (folder / f"{stem}.tsq").read_bytes()
    check = ("stamp", folder / name, "--anchor", root / "root.pem")
    for time, code, text in (
        (NOW, 0, "early enough for the beacon's value, which appears at 2023-08-23T15:59:24"),
        (APPEARED, 1, "must be at least 1 h before the beacon's value"),
    ):
        (folder / f"{stem}.tsr").write_bytes(AUTHORITY.answer(document, time))
        ran = anw(*check)
        assert ran.code == code
        assert text in ran.out + ran.err
        assert ("hand it over beside mark.json" in ran.out) == (code == 0)
    (folder / f"{stem}.tsr").write_bytes(AUTHORITY.answer(b"another", NOW))
    assert "of another file than the commitment" in anw(*check).err
    (folder / f"{stem}.json").write_bytes(document[:-1])
    assert "is damaged" in anw(*check).err


def test_a_stamp_of_another_kind_gets_a_later_beacon(anw, root, committed):
    ran = anw("commit", *committed[1], "--stamp", "opentimestamps")
    body = json.loads((root / "marked" / "commitment.json").read_text())
    ahead = read_beacon(body["plan"]["beacon"]).time - NOW
    assert datetime.timedelta(hours=48) <= ahead < datetime.timedelta(hours=48, minutes=1)
    assert "ots stamp" in ran.out
    assert not (root / "marked" / "commitment.tsq").exists()
    both = anw("commit", *committed[1], "--stamp", "rfc3161", "--no-beacon")
    assert both.code == 2


@pytest.mark.parametrize(("minutes", "warns"), [(1, True), (59, True), (60, False)])
def test_a_beacon_too_soon_for_any_stamp_is_warned_of(
    anw, root, committed, monkeypatch, minutes, warns
):
    monkeypatch.setattr(owner, "clock", lambda: APPEARED - minutes * MINUTE)
    ran = anw("commit", *committed[1], "--beacon", f"drand:{QUICKNET}:1000")
    assert ran.code == 0
    assert ("a time stamp must be at least 1 h older" in ran.out) == warns


def test_a_stamp_is_what_the_verdict_rests_on(anw, root, committed):
    assert anw("commit", *committed[1]).code == 0
    (root / "round.json").write_text(json.dumps(ROUND_1000))
    missing = anw("mark", *committed[0], "--beacon-value", root / "none.json")
    assert missing.code == 1
    assert "none.json' with the beacon's value is not there: save" in missing.err
    ran = anw("mark", *committed[0], "--beacon-value", root / "round.json")
    assert ran.code == 0, ran.err
    case, ann = root / "case", root / "case" / "owners" / "ann"
    receive(root / "marked", root / "photos", case, "ann")
    write_suspect(case, root / "marked" / "published")
    (case / "statements.toml").write_text(STATEMENTS)
    stamp(root, NOW + MINUTE, "case/owners/ann")
    (case / "anchors").mkdir()
    (case / "anchors" / "root.pem").write_bytes(AUTHORITY.pem)
    assert anw("key", "signing", root / "ann.sign").code == 0
    assert anw("key", "signing", root / "jane.sign").code == 0
    assert anw("sign", ann / "commitment.json", "--key", root / "ann.sign").code == 0
    (ann / "._commitment.json.sig").write_bytes(b"of a file manager")
    anw("probe", case)
    declared = anw("declare", case, "--beacon", root / "round.json")
    assert declared.code == 0, declared.err
    assert "owner ann: RFC 3161 time stamp of 2023-08-23T14:00:25+00:00" in declared.out
    assert anw("audit", case).code == 0
    blind = hashlib.sha256((case / "blind.json").read_bytes()).hexdigest()
    words = [case, "--key", root / "ann.key"]

    def verdict():
        return anw("verdict", *words, "--blind", blind)

    ran = verdict()
    assert ran.code == 0, ran.out + ran.err
    assert "verified: RFC 3161 time stamp of 2023-08-23T14:00:25+00:00 by CN=An auth" in ran.out
    assert "signature of owners/ann/commitment.json: valid, by " in ran.out
    assert "not signed: blind.json, declared.json" in ran.out
    body = json.loads((case / "verdict.json").read_text())
    assert body["case"]["owners"]["ann"]["stamps"][0]["kind"] == "rfc3161"
    anw("sign", case / "declared.json", case / "verdict.json", "--key", root / "jane.sign")
    ran = anw("replay", *words)
    assert ran.code == 0, ran.err
    assert "signature of verdict.json: valid, by " in ran.out
    assert "not signed: blind.json" in ran.out
    # Whatever is wrong with a stamp or a signature is never passed over.
    cases = {
        "late": lambda: stamp(root, NOW + 61 * MINUTE, "case/owners/ann"),
        "after": lambda: stamp(root, NOW + 1000 * MINUTE, "case/owners/ann"),
    }
    (case / "verdict.json.sig").unlink()
    for change in cases.values():
        change()
        ran = verdict()
        assert ran.code == 10, ran.err
        assert "must be at least 1 h before the value" in ran.out
    stamp(root, NOW + MINUTE, "case/owners/ann", Authority(ca="Nobody"))
    assert verdict().code == 1
    assert anw("replay", *words).code == 1
    (ann / "commitment.tsr").unlink()
    assert verdict().code == 10
    stamp(root, NOW + MINUTE, "case/owners/ann")
    assert verdict().code == 0
    anw("sign", case / "blind.json", "--key", root / "ann.sign")
    ran = verdict()
    assert (ran.code, "signed with 2 keys" in ran.err) == (8, True)
    (case / "blind.json.sig").write_bytes((case / "declared.json.sig").read_bytes())
    ran = verdict()
    assert (ran.code, "no valid signature of blind.json" in ran.err) == (8, True)
