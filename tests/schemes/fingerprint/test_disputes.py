"""SETUP to VERDICT on a log, and every cheat refused by name."""

import dataclasses
import json
import types

import numpy as np
import pytest

from anw_jax import audit
from anw_jax.errors import CommitmentError, RecordError
from anw_jax.keys import MarkKey, commit_scheme
from anw_jax.schemes import fingerprint, protocol, weights_digest
from anw_jax.schemes.fingerprint import RefusedDisputeError, disputes, records
from anw_jax.schemes.log import Record, append, read_log
from tests.schemes.fingerprint.conftest import KEY, VALUE, Owner

NODES = ("node0", "node1", "node2")
CUSTOMERS = ("ann", "bob", "cid")


def nonce(name: str) -> str:
    return f"{CUSTOMERS.index(name) + 7:064x}"


class World:
    """A log with a setup that two nodes have seen, and the keys of all."""

    def __init__(self, path, own: Owner):
        self.path, self.own, self.log = path, own, path / "log"
        for name in (*NODES, *CUSTOMERS, "owner", "judge", "thief"):
            audit.new_signing_key(path / name)
        protocol.open_log(self.log, [self.public(name) for name in NODES], path / "owner")
        commitment = commit_scheme(KEY, own.plan)
        self.setup = records.setup(
            self.log, own.plan, commitment, self.public("judge"), path / "owner"
        ).number
        self.copies: dict[str, dict] = {}

    def public(self, name: str) -> str:
        return audit.signatures.public_key_of(self.path / name)

    def see(self, *nodes: str):
        for name in nodes or NODES[:2]:
            protocol.see(self.log, self.path / name)

    def code(self, name: str):
        one = fingerprint.Issue(0, self.public(name), nonce(name), "", None)
        return one.code(KEY, self.own.plan, self.own.carrier.num_bits, VALUE)

    def issue(self, name: str, code_of: str | None = None) -> Record:
        self.copies[name] = self.own.copy(self.code(code_of or name))
        return records.issue(
            self.log,
            self.setup,
            self.public(name),
            nonce(name),
            weights_digest(self.copies[name]),
            self.path / "owner",
        )

    def accept(self, name: str, number: int) -> Record:
        digest = weights_digest(self.copies[name])
        return records.accept(self.log, number, nonce(name), digest, self.path / name)

    def deliver(self, *names: str):
        self.see()
        for name in names:
            self.accept(name, self.issue(name).number)

    def dispute(self, suspect: dict) -> int:
        digest = weights_digest(suspect)
        return records.dispute(self.log, self.setup, digest, self.path / "owner").number

    def read(self, number: int, suspect: dict, **changes):
        given = {"carrier": self.own.carrier, "judge": "judge", "base": self.own.base}
        given = types.SimpleNamespace(**{**given, **changes})
        return disputes.read_suspect(
            self.log, number, given.carrier, given.base, suspect, self.path / given.judge
        )

    def judge(self, number: int, suspect: dict, key=KEY, value=VALUE, copies=None):
        by_weights = {weights_digest(one): one for one in self.copies.values()}
        return disputes.judge_dispute(
            self.log,
            number,
            self.own.carrier,
            self.own.base,
            suspect,
            key,
            value,
            copies or (lambda one: by_weights[one.weights]),
            self.path / "judge",
        )


@pytest.fixture
def world(tmp_path, owner) -> World:
    return World(tmp_path, owner)


def leaked(world: World, *names: str) -> dict:
    first, *rest = [world.copies[name]["params"] for name in names]
    params = {
        name: {
            "kernel": np.mean([first[name]["kernel"], *(r[name]["kernel"] for r in rest)], 0)
        }
        for name in first
    }
    return {"params": params, "batch_stats": {}}


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
    with pytest.raises(RefusedDisputeError, match=r"^two codes: records 5 and 7"):
        world.issue("ann")
    given = ("f1" * 32, nonce("ann"), "f2" * 32)
    with pytest.raises(
        RefusedDisputeError, match=r"^replayed issue: the nonce of record 7 was"
    ):
        records.issue(world.log, world.setup, *given, world.path / "owner")
    with pytest.raises(RefusedDisputeError, match=r"^replayed issue: record 7 is by"):
        records.issue(world.log, world.setup, "f1" * 32, "f3" * 32, "f2" * 32,
                      world.path / "thief")  # fmt: skip
    same = weights_digest(world.copies["ann"])
    with pytest.raises(RefusedDisputeError, match=r"^one copy for two"):
        records.issue(world.log, world.setup, "f1" * 32, "f3" * 32, same, world.path / "owner")
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


def test_a_swapped_code_is_refused(world):
    world.see()
    for name, of in (("ann", "bob"), ("bob", "ann")):
        world.accept(name, world.issue(name, code_of=of).number)
    suspect = leaked(world, "ann")
    number = world.dispute(suspect)
    world.read(number, suspect)
    with pytest.raises(
        RefusedDisputeError, match=r"^swapped code: the copy of issue 5 .* that"
    ):
        world.judge(number, suspect)


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


def test_more_disputes_than_declared_are_refused(world):
    world.deliver("ann")
    world.dispute(leaked(world, "ann"))
    second = world.dispute(world.own.base)
    with pytest.raises(RefusedDisputeError, match=r"^too many disputes: this is number 2"):
        world.read(second, world.own.base)


def test_a_late_or_foreign_dispute_is_refused(world):
    with pytest.raises(RefusedDisputeError, match=r"^no copies"):
        world.dispute(world.own.base)
    world.see("node0")  # one of three
    world.issue("ann")
    world.see("node1")
    with pytest.raises(RefusedDisputeError, match=r"^late setup: .* 1 of 3 nodes had seen"):
        world.dispute(world.own.base)
    with pytest.raises(RefusedDisputeError, match=r"^another owner"):
        records.dispute(world.log, world.setup, "0f" * 32, world.path / "thief")
    with pytest.raises(RefusedDisputeError, match=r"^no setup"):
        records.dispute(world.log, 1, "0f" * 32, world.path / "owner")


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
