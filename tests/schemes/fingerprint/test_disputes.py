"""SETUP to VERDICT on a log, and every cheat refused by name."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from anw_jax.errors import CommitmentError, RecordError
from anw_jax.keys import MarkKey, commit_scheme
from anw_jax.schemes import weights_digest
from anw_jax.schemes.fingerprint import RefusedDisputeError, disputes, records
from anw_jax.schemes.log import append, read_log
from tests.schemes.fingerprint.conftest import KEY
from tests.schemes.fingerprint.world import CUSTOMERS, World, leaked, nonce


@pytest.fixture
def world(tmp_path, owner) -> World:
    return World(tmp_path, owner)


def test_the_one_who_leaked_is_named(world):
    world.deliver(*CUSTOMERS)
    suspect = leaked(world, "bob", "cid")
    number = world.dispute(suspect)
    world.read(number, suspect)
    record, verdict = world.judge(number, suspect)
    assert [one.customer for one in verdict.named] == [world.public(n) for n in ("bob", "cid")]
    assert record.body["issues"] == [one.number for one in verdict.named]
    assert verdict.text.startswith("It cannot be excluded that the owner himself, or a thief")
    assert "which the customer and the owner held" in verdict.text
    assert verdict.owner_log10_p["non-blind"] < -6
    assert KEY.secret.hex() not in "".join(
        path.read_text() for path in world.log.iterdir()
    )  # opened to the judge only


def test_what_the_judge_does_not_state_is_a_condition(tmp_path, owner_class):
    world = World(tmp_path, owner_class(key=MarkKey.generate()))
    world.deliver("ann", "bob")
    suspect = leaked(world, "ann")
    number = world.dispute(suspect)
    world.read(number, suspect)
    record, verdict = world.judge(number, suspect)
    assert [text[:30] for text in verdict.conditions] == [
        "the suspect was not found by t",
        "nothing else was published or ",
        "the log is whole, and no setup",
    ]
    assert "(0 of 3 nodes signed it after dispute 9, and 2 must have)" in verdict.conditions[2]
    assert verdict.standing.startswith("holds only if")
    assert record.body["conditions"] == list(verdict.conditions)
    assert "\nShown at level 0.001, if\n  1. the suspect was not" in verdict.text
    world.cut_verdict()
    world.see("node0", "thief", "node0")
    stated = world.judge(number, suspect, models_tried=50, nothing_else=True)[1]
    assert [text[:16] for text in stated.conditions] == ["the log is whole"]
    world.cut_verdict()
    world.see("node2")
    stated = world.judge(number, suspect, models_tried=50, nothing_else=True)[1]
    assert stated.standing == "evidence under the committed plan"
    assert stated.trace.level == pytest.approx(verdict.trace.level / 50)
    assert "the arbitrator states: the key was tried on 50 model(s)" in stated.text


def test_every_setup_in_the_log_divides_epsilon(world):
    """An owner could set up copies many times, and dispute with what fits a suspect."""
    world.deliver("ann")
    other = dataclasses.replace(world.own.plan, number=2)
    records.setup(
        world.log, other, commit_scheme(KEY, other), world.public("judge"), world.path / "thief"
    )
    suspect = leaked(world, "ann")
    number = world.dispute(suspect)
    world.read(number, suspect)
    verdict = world.judge(number, suspect)[1]
    assert verdict.factor == 2.0
    assert verdict.trace.level == pytest.approx(1e-3 / 2 / 2)


def test_the_key_of_two_setups_is_refused(world):
    """Two codes for each customer, and a dispute with whichever fits a suspect."""
    own, owner, judge = world.own, world.path / "owner", world.public("judge")
    commitment = commit_scheme(own.key, own.plan)
    for author in ("owner", "thief"):
        with pytest.raises(
            RefusedDisputeError,
            match=r"^second setup: record 3 repeats the commitment of record 2",
        ):
            records.setup(world.log, own.plan, commitment, judge, world.path / author)
    assert len(read_log(world.log)) == 2
    own.plan = dataclasses.replace(own.plan, number=2)
    commitment = commit_scheme(own.key, own.plan)
    world.setup = records.setup(world.log, own.plan, commitment, judge, owner).number
    world.deliver("ann")
    suspect = leaked(world, "ann")
    number = world.dispute(suspect)
    world.read(number, suspect)
    with pytest.raises(RefusedDisputeError, match=r"^second setup: the key of setup 3 opens"):
        world.judge(number, suspect)


def test_a_copied_setup_changes_nothing_for_the_first(world):
    """Anybody may copy a record, but only after it."""
    body = read_log(world.log)[1].body
    append(world.log, "setup", body, world.path / "thief")
    append(world.log, "setup", {"plan": 7}, world.path / "thief")
    world.deliver("ann")
    suspect = leaked(world, "ann")
    number = world.dispute(suspect)
    world.read(number, suspect)
    assert world.judge(number, suspect)[1].outcome == "shown"
    with pytest.raises(RefusedDisputeError, match=r"^second setup"):
        records.setup_of(read_log(world.log), 3)


@pytest.mark.parametrize("role", ["owner", "judge"])
def test_a_copy_for_the_owner_or_the_judge_is_refused(world, role):
    world.see()
    with pytest.raises(
        RefusedDisputeError, match=rf"^another's key: record 5 .* of the {role}"
    ):
        records.issue(
            world.log, world.setup, world.public(role), "f3" * 32, "f2" * 32,
            world.path / "owner",
        )  # fmt: skip
    assert len(read_log(world.log)) == 4


def test_an_innocent_model_names_nobody(world):
    world.deliver("ann", "bob")
    number = world.dispute(world.own.base)
    world.read(number, world.own.base)
    assert world.judge(number, world.own.base)[1].outcome == "not shown"


def test_a_copy_without_a_receipt_names_nobody(world):
    world.deliver("ann")
    world.issue("bob")
    suspect = leaked(world, "bob")
    number = world.dispute(suspect)
    world.read(number, suspect)
    verdict = world.judge(number, suspect)[1]
    assert verdict.named == ()
    assert [one.customer for one in verdict.not_accepted] == [world.public("bob")]
    assert verdict.trace.num_tests == 20


def test_two_codes_and_replayed_issues_are_refused(world):
    world.deliver("ann")
    own = world.path / "owner"
    before = len(read_log(world.log))
    assert world.issue("ann").number == 5  # written again after a kill, and recorded once
    assert len(read_log(world.log)) == before
    other = (world.public("ann"), "f3" * 32, "f2" * 32)
    with pytest.raises(RefusedDisputeError, match=r"^two codes: records 5 and 7"):
        records.issue(world.log, world.setup, *other, own)
    given = ("f1" * 32, nonce("ann"), "f2" * 32)
    with pytest.raises(
        RefusedDisputeError, match=r"^replayed issue: the nonce of record 7 was"
    ):
        records.issue(world.log, world.setup, *given, own)
    with pytest.raises(RefusedDisputeError, match=r"^replayed issue: record 7 is by"):
        records.issue(world.log, world.setup, "f1" * 32, "f3" * 32, "f2" * 32,
                      world.path / "thief")  # fmt: skip
    same = weights_digest(world.copies["ann"])
    with pytest.raises(RefusedDisputeError, match=r"^one copy for two"):
        records.issue(world.log, world.setup, "f1" * 32, "f3" * 32, same, own)
    with pytest.raises(RefusedDisputeError, match=r"^damaged issue"):
        records.issue(world.log, world.setup, "f1", "f3" * 32, same, world.path / "owner")
    assert len(read_log(world.log)) == 6


def test_a_receipt_of_something_else_is_refused(world):
    world.see()
    given = world.issue("ann")
    weights = weights_digest(world.copies["ann"])
    with pytest.raises(RefusedDisputeError, match=r"^another customer"):
        records.accept(world.log, given.number, nonce("ann"), weights, world.path / "bob")
    with pytest.raises(RefusedDisputeError, match=r"^changed code: .* has the nonce"):
        records.accept(world.log, given.number, nonce("bob"), weights, world.path / "ann")
    with pytest.raises(RefusedDisputeError, match=r"^changed code: .* has the weights"):
        records.accept(world.log, given.number, nonce("ann"), "0f" * 32, world.path / "ann")


def test_a_forged_receipt_in_the_log_counts_for_nothing(world):
    """A customer who denies: only his own key can have made his receipt."""
    world.see()
    given = world.issue("ann")
    body = {
        "issue": given.number,
        "digest": given.digest,
        "nonce": nonce("ann"),
        "weights": given.body["weights"],
    }
    forged = append(world.log, "accept", body, world.path / "owner").number
    suspect = leaked(world, "ann")
    number = world.dispute(suspect)
    world.read(number, suspect)
    record, verdict = world.judge(number, suspect)
    assert verdict.named == ()
    assert [one.number for one in verdict.not_accepted] == [given.number]
    assert record.body["not_counted"][str(forged)].startswith("another customer: ")
    assert "is signed by" in record.body["not_counted"][str(forged)]


def test_nobody_stops_a_dispute_by_records_of_his_own(world):
    world.deliver("ann", "bob")
    given = next(r for r in read_log(world.log) if r.kind == "issue")
    thief, suspect = world.path / "thief", leaked(world, "ann")
    replayed = append(world.log, "issue", given.body, thief).number
    append(world.log, "accept", {"issue": []}, thief)
    append(world.log, "accept", {"issue": given.number, "nonce": "0f"}, world.path / "ann")
    stray = append(world.log, "dispute", {"setup": world.setup, "suspect": "0f" * 32}, thief)
    append(world.log, "extract", {"dispute": stray.number, "seals": {}}, thief)
    number = world.dispute(suspect)
    append(world.log, "extract", {"dispute": number, "seals": {}}, thief)
    world.read(number, suspect)
    verdict = world.judge(number, suspect)[1]
    assert [one.customer for one in verdict.named] == [world.public("ann")]
    assert verdict.not_counted[replayed].startswith("replayed issue: it is by")
    assert len(verdict.not_counted) == 2


def test_another_copy_key_or_beacon_is_refused(world):
    world.deliver("ann", "bob")
    suspect = leaked(world, "ann")
    number = world.dispute(suspect)
    with pytest.raises(RefusedDisputeError, match=r"^not read"):
        world.judge(number, suspect)
    world.read(number, suspect)
    with pytest.raises(RefusedDisputeError, match=r"^changed copy: issue 5"):
        world.judge(number, suspect, copies=lambda one: world.copies["bob"])
    with pytest.raises(RefusedDisputeError, match=r"^changed code: the commitment"):
        world.judge(number, suspect, key=MarkKey.for_experiment(5))
    with pytest.raises(RefusedDisputeError, match=r"^changed code"):
        world.judge(number, suspect, value=b"short")
    with pytest.raises(RefusedDisputeError, match=r"^wrong model: dispute"):
        world.judge(number, world.own.base)


def test_spent_codes_are_not_tested_again(world):
    world.deliver("ann")
    suspect = leaked(world, "ann")
    world.read(world.dispute(suspect), suspect)
    with pytest.raises(RefusedDisputeError, match=r"^spent codes: the judge read a suspect in"):
        world.dispute(world.own.base)


def test_a_dispute_after_another_receipt_is_another(tmp_path, owner_class):
    world = World(tmp_path, owner_class(num_disputes=2))
    world.deliver("ann")
    suspect = leaked(world, "ann")
    first = world.dispute(suspect)
    world.deliver("bob")
    assert world.dispute(suspect) > first


def test_more_disputes_than_declared_are_refused(world):
    world.deliver("ann")
    world.dispute(leaked(world, "ann"))
    body = {"setup": world.setup, "suspect": weights_digest(world.own.base)}
    second = append(world.log, "dispute", body, world.path / "owner").number
    with pytest.raises(RefusedDisputeError, match=r"^too many disputes: this is number 2"):
        world.read(second, world.own.base)


def test_two_processes_at_once_open_no_more_disputes_than_declared(world, rival):
    world.deliver("ann")
    suspect = leaked(world, "ann")
    rival(lambda: world.dispute(suspect))
    with pytest.raises(RefusedDisputeError, match=r"^too many disputes: this is number 2"):
        world.dispute(world.own.base)
    assert read_log(world.log)[-1].body["suspect"] == weights_digest(suspect)


def test_what_cannot_be_read_or_is_one_too_many_opens_no_dispute(world):
    """One dispute was declared; it is not to be lost on a suspect that no judge can read."""
    world.deliver("ann")
    suspect = leaked(world, "ann")
    before = len(read_log(world.log))
    layers = suspect["params"]
    silent = jax.tree.map(lambda leaf: leaf * np.nan, layers)
    small = jax.tree.map(lambda leaf: leaf[..., :1], layers)
    for params, text in (
        ({}, "it has no"),
        (silent, "weights must be finite"),
        (small, "must have the architecture of the clean model: its layers have"),
    ):
        with pytest.raises(ValueError, match=text):
            world.dispute({"params": params, "batch_stats": {}})
    assert len(read_log(world.log)) == before
    first = world.dispute(suspect)
    assert world.dispute(suspect) == first
    with pytest.raises(RefusedDisputeError, match=r"^too many disputes: this is number 2"):
        world.dispute(world.own.base)
    assert len(read_log(world.log)) == before + 1


def test_a_late_or_foreign_dispute_is_refused(world):
    with pytest.raises(RefusedDisputeError, match=r"^no copies"):
        world.dispute(world.own.base)
    world.see("node0")  # one of three
    world.issue("ann")
    world.see("node1")
    with pytest.raises(RefusedDisputeError, match=r"^late setup: .* 1 of 3 nodes had seen"):
        world.dispute(world.own.base)
    suspect, carrier = world.own.base, world.own.carrier
    with pytest.raises(RefusedDisputeError, match=r"^another owner"):
        disputes.open_dispute(world.log, carrier, world.setup, suspect, world.path / "thief")
    with pytest.raises(RefusedDisputeError, match=r"^no setup"):
        disputes.open_dispute(world.log, carrier, 1, suspect, world.path / "owner")


@pytest.mark.parametrize("beacon", ["", "the weather tomorrow"])
def test_a_beacon_that_the_owner_may_know_is_refused(world, beacon):
    plan = dataclasses.replace(world.own.plan, beacon=beacon)
    with pytest.raises(ValueError, match="name a beacon of a known kind"):
        records.setup(world.log, plan, "0f" * 32, world.public("judge"), world.path / "owner")


def test_another_judge_carrier_or_clean_model_is_refused(world, owner_class):
    world.deliver("ann")
    suspect = leaked(world, "ann")
    number = world.dispute(suspect)
    with pytest.raises(RefusedDisputeError, match=r"^another judge"):
        world.read(number, suspect, judge="thief")
    with pytest.raises(RefusedDisputeError, match=r"^changed carrier"):
        world.read(number, suspect, carrier=owner_class(num_customers=3).carrier)
    with pytest.raises(RefusedDisputeError, match=r"^wrong model: base must be"):
        world.read(number, suspect, base=suspect)


def test_scores_that_were_not_sealed_are_refused(world, monkeypatch):
    world.deliver("ann")
    suspect = leaked(world, "ann")
    number = world.dispute(suspect)
    world.read(number, suspect)
    real = disputes.extract
    monkeypatch.setattr(disputes, "extract", lambda *given: real(*given) + 1)
    with pytest.raises(CommitmentError, match="is not the one sealed"):
        world.judge(number, suspect)


def test_a_gap_in_the_log_is_one_error(world):
    world.deliver("ann")
    (world.log / "0003.json").unlink()
    with pytest.raises(RecordError, match=r"has a gap: 0003\.json is missing"):
        world.dispute(world.own.base)


def test_a_changed_record_is_one_error(world):
    world.deliver("ann")
    path = world.log / "0005.json"
    body = json.loads(path.read_text())
    body["body"]["nonce"] = "0f" * 32
    path.write_text(json.dumps(body))
    with pytest.raises(RecordError, match="is not signed by its author"):
        world.dispute(world.own.base)


def test_a_carrier_that_hides_codes_of_others_is_refused(tmp_path, owner_class):
    """The rows of the baseline are not orthogonal: 40 % of Ann's code in Bob's copy is unseen.

    Bob leaks his copy, and Ann would be named too.
    """
    own = owner_class(key=KEY, num_bits=304, num_owner_bits=96, kind="spread")
    world = World(tmp_path, own)
    world.deliver("ann", "bob", "cid")
    suspect = world.copies["bob"]
    with pytest.raises(RefusedDisputeError, match=r"^unfit carrier"):
        world.read(world.dispute(suspect), suspect)
