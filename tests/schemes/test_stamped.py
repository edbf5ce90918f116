"""Time stamps of `mark.json`: what a verdict on models rests on, as one on photos does."""

import datetime
import json
import pathlib
import shutil

import pytest

from anw_jax.keys import MarkKey
from anw_jax.keys.beacons import QUICKNET
from tests.audit.authority import Authority
from tests.cli.bundling import anw, flipped, members_of, packed, with_index
from tests.keys.drand import APPEARED, ROUND_1000
from tests.schemes import test_judging as networks
from tests.schemes.bundling import is_copies
from tests.schemes.conftest import Owner

VALUE_APPEARED = datetime.datetime(2026, 11, 2, 10, tzinfo=datetime.UTC)
HOUR, SECOND = datetime.timedelta(hours=1), datetime.timedelta(seconds=1)
# The authority's clock may be a second off, which counts against the stamp.
EARLY = HOUR + SECOND
AUTHORITY = Authority()
# Neither the commitment nor since when it was held: only a stamp can show these.
STATED = """
[owners.ann]
found = 1
nothing_else = true
[suspects.found]
models_tried = 1
"""
APPEARED_AT = 'value_appeared = "2026-11-02T10:00:00Z"\n'
TO_STATE = ("the commitment is older than the beacon's value (", "this commitment is the one")


class Stamped:
    """A copy of a finished case, whose verdict is made again with a stamp."""

    def __init__(self, evidence, path: pathlib.Path):
        self.evidence = evidence
        self.path = pathlib.Path(shutil.copytree(evidence.case, path / "case"))
        self.ann, self.anchors = self.path / "owners" / "ann", self.path / "anchors"
        text = STATED.replace("found = 1\n", f"found = 1\n{APPEARED_AT}")
        (self.path / "statements.toml").write_text(text)
        self.root = path / "root.pem"
        self.root.write_bytes(AUTHORITY.pem)
        self.anchors.mkdir()
        shutil.copy(self.root, self.anchors)

    def stamp(self, time, document=None, authority=AUTHORITY) -> None:
        document = document or (self.ann / "mark.json").read_bytes()
        (self.ann / "mark.tsr").write_bytes(authority.answer(document, time))

    def verdict(self):
        noted = ("--blind", self.evidence.blind)
        return anw("verdict", self.path, *self.evidence.key, *noted)

    def body(self) -> dict:
        return json.loads((self.path / "verdict.json").read_text())


@pytest.fixture
def case(evidence, tmp_path) -> Stamped:
    return Stamped(evidence, tmp_path)


def test_an_early_stamp_meets_both_conditions_of_order(case):
    case.stamp(VALUE_APPEARED - EARLY)
    ran = case.verdict()
    assert (ran.code, ran.err) == (0, "")
    said = "RFC 3161 time stamp of 2026-11-02T09:00:00+00:00 by CN=An authority"
    assert f"verified: {said}" in ran.out
    body = case.body()
    assert body["tests"]["ann"]["found"]["standing"] == "evidence under the committed plan"
    (stamp,) = body["case"]["owners"]["ann"]["stamps"]
    assert (stamp["kind"], stamp["time_utc"]) == ("rfc3161", "2026-11-02T09:00:00+00:00")


def test_it_meets_no_other_condition(case):
    (case.path / "statements.toml").write_text(f"[owners.ann]\n{APPEARED_AT}")
    case.stamp(VALUE_APPEARED - EARLY)
    assert case.verdict().code == 10
    conditions = case.body()["tests"]["ann"]["found"]["conditions"]
    assert [text[:34] for text in conditions] == [
        "the owner had no other commitment ",
        "the suspect was not found by tryin",
        "nothing else was published or made",
    ]


def test_without_a_stamp_the_order_is_a_condition(case):
    assert case.verdict().code == 10
    test, owner = case.body()["tests"]["ann"]["found"], case.body()["case"]["owners"]["ann"]
    assert [text.startswith(TO_STATE) for text in test["conditions"]] == [True, True]
    assert "(nobody stated when it was held)" in test["text"]
    assert "stamps" not in owner


@pytest.mark.parametrize("late", [-HOUR, SECOND, 1000 * HOUR])
def test_a_stamp_too_close_to_the_value_or_after_it_leaves_the_order_open(case, late):
    case.stamp(VALUE_APPEARED + late)
    ran = case.verdict()
    assert (ran.code, ran.err) == (10, "")
    assert "must be at least 1 h before the value, which appeared at 2026-11-02T10:0" in ran.out
    conditions = case.body()["tests"]["ann"]["found"]["conditions"]
    assert [text.startswith(TO_STATE) for text in conditions] == [True, True]


def test_a_stamp_of_a_time_without_that_of_the_value_shows_no_order(case):
    (case.path / "statements.toml").write_text(STATED)
    case.stamp(VALUE_APPEARED - EARLY)
    ran = case.verdict()
    assert ran.code == 10
    assert "was compared with no time of a value" in ran.out


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda case: case.stamp(VALUE_APPEARED - EARLY, b"another"),
         "mark.tsr is a stamp of another file than the commitment"),
        (lambda case: (case.ann / "mark.tsr").write_bytes(b"no stamp"), "mark.tsr is damaged"),
        (lambda case: case.stamp(VALUE_APPEARED - EARLY, authority=Authority(ca="Nobody")),
         "mark.tsr leads to none of the root certificates given"),
        (lambda case: shutil.rmtree(case.anchors), "cannot be verified without a root certif"),
        (lambda case: (case.ann / "mark.json.ots").write_bytes(b"no proof"),
         "mark.json.ots is damaged"),
    ],
)  # fmt: skip
def test_a_stamp_that_does_not_fit_is_refused(case, spoil, text):
    case.stamp(VALUE_APPEARED - EARLY)
    assert case.verdict().code == 0
    written = (case.path / "verdict.json").read_bytes()
    spoil(case)
    ran = case.verdict()
    assert ran.code == 1
    assert text in ran.err
    assert (case.path / "verdict.json").read_bytes() == written
    assert anw("replay", case.path, *case.evidence.key).code == 1


def test_a_bundle_holds_it_and_the_reader_needs_roots_of_his_own(case, tmp_path):
    case.stamp(VALUE_APPEARED - EARLY)
    assert case.verdict().code == 0
    assert anw("replay", case.path, *case.evidence.key).code == 0
    path, anchors = tmp_path / "stamped.zip", case.evidence.anchors
    assert anw("bundle", case.path, *case.evidence.key, "--out", path).code == 0
    members = members_of(path, tmp_path / "members")
    assert members["owners/ann/mark.tsr"] == (case.ann / "mark.tsr").read_bytes()
    assert members["anchors/0"] == AUTHORITY.pem
    ran = anw("replay", path, *anchors)
    assert ran.code == 10
    assert "anchors of the time stamps" in ran.out.partition("anchors not checked: ")[2]
    ran = anw("replay", path, *anchors, "--anchor", case.root)
    assert (ran.code, ran.err) == (10 if is_copies(case.evidence) else 0, "")
    assert "manifest of ann, anchors" not in ran.out
    other = tmp_path / "other.pem"
    other.write_bytes(Authority(ca="Nobody").pem)
    ran = anw("replay", path, *anchors, "--anchor", other)
    assert (ran.code, "leads to none of the root certificates" in ran.err) == (1, True)
    name = "owners/ann/mark.tsr"
    for change in ({name: flipped(members[name], len(members[name]) // 2)}, {name: None}):
        changed = {n: body for n, body in {**members, **change}.items() if body is not None}
        ran = anw("replay", packed(with_index(changed), tmp_path / "c.zip"), *anchors)
        assert ran.code in (1, 8), ran


def test_a_drand_round_gives_the_time_and_a_wrong_stamp_stops_the_declaration(
    tmp_path, monkeypatch
):
    networks.use_tiny_networks(monkeypatch)
    own = Owner(MarkKey(bytes(range(7, 39))), beacon=f"drand:{QUICKNET}:1000")
    bits = own.bits(bytes.fromhex(ROUND_1000["randomness"]))
    path = networks.Folder(tmp_path / "case", own, own.release(bits), own.key).path
    own.key.save(tmp_path / "ann.key")
    (path / "statements.toml").write_text(STATED)
    (tmp_path / "round.json").write_text(json.dumps(ROUND_1000))
    document = (path / "owners" / "ann" / "mark.json").read_bytes()
    stamp = path / "owners" / "ann" / "mark.tsr"
    (path / "anchors").mkdir()
    (path / "anchors" / "root.pem").write_bytes(AUTHORITY.pem)
    declare = ("declare", path, "--beacon", tmp_path / "round.json")
    assert anw("probe", path).code == 0
    stamp.write_bytes(AUTHORITY.answer(document + b" ", APPEARED - EARLY))
    ran = anw(*declare)
    assert (ran.code, "a stamp of another file" in ran.err) == (1, True)
    assert not (path / "declared.json").exists()
    stamp.write_bytes(AUTHORITY.answer(document, APPEARED - EARLY))
    ran = anw(*declare)
    assert ran.code == 0, ran.err
    assert "owner ann: RFC 3161 time stamp of 2023-08-23T14:59:24+00:00" in ran.out
    assert anw("audit", path).code == 0
    words = ("verdict", path, "--key", tmp_path / "ann.key")
    ran = anw(*words)
    assert ran.code == 10
    assert "no digest noted before" in ran.out
    assert not any(text in ran.out for text in TO_STATE)
    stamp.write_bytes(AUTHORITY.answer(document, APPEARED - HOUR))
    assert all(text in anw(*words).out for text in TO_STATE)
