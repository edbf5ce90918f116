"""Publish, claim, vote: the order of things, and each cheat by its name."""

import dataclasses
import datetime
import pathlib
import types

import pytest

from anw_jax import audit
from anw_jax.cli.main import run
from anw_jax.errors import RecordError
from anw_jax.keys import MarkKey, commit_scheme, one_time_key
from anw_jax.schemes import multitask, plan_of, protocol
from anw_jax.schemes.claims import RefusedClaimError, check_claim
from anw_jax.schemes.log import append, read_log
from anw_jax.verify.verdict import EVIDENCE, EXPERIMENT_KEY

VALUE = bytes(range(32))
SUSPECT, OTHER = "5a" * 32, "5b" * 32
NODES = tuple(f"node{number}" for number in range(5))
# A drand round that appears in 2023-08 at 15:09:00 UTC.
BEACON = "drand:52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971:1"
BEFORE = datetime.datetime(2023, 1, 1, tzinfo=datetime.UTC)
AFTER = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def signers(tmp_path_factory) -> dict[str, pathlib.Path]:
    folder = tmp_path_factory.mktemp("keys")
    names = ("ann", "bob", "eve", *NODES)
    for name in names:
        audit.new_signing_key(folder / name)
    return {name: folder / name for name in names}


class Owner:
    """An owner with two keys and their decoders."""

    def __init__(self, name: str, seed: int):
        master = MarkKey.for_experiment(seed)
        self.name = name
        self.keys = [one_time_key(master, number) for number in (1, 2)]
        self.decoders = [
            multitask.make_decoder(key, "0f" * 32, ("a",), num_bits=8) for key in self.keys
        ]
        self.plans = [
            plan_of(decoder, alpha=1e-6, beacon=BEACON, number=number)
            for number, decoder in enumerate(self.decoders, 1)
        ]


ANN, BOB = Owner("ann", 1), Owner("bob", 2)


class Log:
    """A log and the steps of its users."""

    def __init__(self, folder: pathlib.Path, signers: dict[str, pathlib.Path]):
        self.folder, self.signers = folder, signers
        nodes = [audit.signatures.public_key_of(signers[name]) for name in NODES]
        protocol.open_log(folder, nodes, signers["node0"])

    def publish(self, owner: Owner, index: int = 0, **changes):
        plan = dataclasses.replace(owner.plans[index], **changes)
        commitment = commit_scheme(owner.keys[index], plan)
        return protocol.publish(self.folder, plan, commitment, self.signers[owner.name])

    def see(self, count: int = 5, now: datetime.datetime = BEFORE):
        for name in NODES[:count]:
            protocol.see(self.folder, self.signers[name], now)

    def claim(self, owner: Owner, publication, index: int = 0, by: str = "", **changes):
        arguments = {
            "mark_key": owner.keys[index],
            "decoder": owner.decoders[index],
            "beacon": VALUE,
            "suspect": SUSPECT,
            **changes,
        }
        signer = self.signers[by or owner.name]
        return protocol.claim(self.folder, publication.number, key_file=signer, **arguments)

    def vote(self, name: str, claim, outcome: str):
        body = {"claim": claim.number, "outcome": outcome}
        return append(self.folder, "vote", body, self.signers[name])

    def records(self):
        return read_log(self.folder)


@pytest.fixture
def log(tmp_path, signers) -> Log:
    return Log(tmp_path / "log", signers)


def test_an_honest_claim_is_accepted_and_says_when_it_was_seen(log):
    publication = log.publish(ANN)
    log.see()
    record = log.claim(ANN, publication)
    opened = check_claim(log.records()[:-1], record)
    assert opened.mark_key == ANN.keys[0]
    assert opened.statements.held_since == BEFORE.isoformat()
    assert opened.statements.found == 1


def test_all_publications_count_by_whomever(log):
    publication = log.publish(ANN)
    log.publish(ANN, 1)
    log.publish(BOB)
    log.see()
    record = log.claim(ANN, publication)
    assert check_claim(log.records()[:-1], record).statements.factor == 3


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        (lambda log, p: log.see(2), "late publication: 2 of 5 nodes had seen record 2"),
        (lambda log, p: log.see(5, AFTER), "late publication: more than half of the nodes had"),
        (
            lambda log, p: (log.see(2), log.see(5, AFTER)),
            "late publication: more than half of the nodes had",
        ),
    ],
)
def test_a_late_publication_is_refused(log, steps, text):
    publication = log.publish(ANN)
    steps(log, publication)
    before = log.records()
    with pytest.raises(RefusedClaimError, match=text):
        log.claim(ANN, publication)
    assert log.records() == before


def test_a_node_cannot_see_what_is_not_yet_there(log):
    for name in NODES:
        body = {"up_to": 99, "time_utc": BEFORE.isoformat()}
        append(log.folder, "seen", body, log.signers[name])
    publication = log.publish(ANN)
    with pytest.raises(RefusedClaimError, match="late publication: 0 of 5 nodes"):
        log.claim(ANN, publication)


def test_a_publication_after_anothers_release_is_refused(log):
    protocol.release(log.folder, [], SUSPECT, log.signers["bob"])
    publication = log.publish(ANN)
    log.see()
    with pytest.raises(RefusedClaimError, match="late publication: the model was released in"):
        log.claim(ANN, publication)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"decoder": ANN.decoders[1]}, "altered key, decoder or plan"),
        ({"mark_key": ANN.keys[1]}, "altered key, decoder or plan: the commitment"),
        (
            {"decoder": dataclasses.replace(ANN.decoders[0], num_probes=9)},
            "altered key, decoder or plan: the plan fixes the decoder",
        ),
        ({"beacon": VALUE[:-1]}, "altered key, decoder or plan: the value of the beacon"),
        ({"suspect": "my model"}, "is damaged: it opens no publication"),
        ({"by": "eve"}, "replayed claim: publication 2 is by"),
    ],
)
def test_an_altered_or_foreign_claim_is_refused(log, changes, text):
    publication = log.publish(ANN)
    log.see()
    with pytest.raises(RefusedClaimError, match=text):
        log.claim(ANN, publication, **changes)


def test_a_publication_whose_commitment_is_no_text_opens_nothing(log):
    body = log.publish(ANN).body | {"commitment": [[]]}
    damaged = append(log.folder, "publish", body, log.signers["ann"])
    log.see()
    with pytest.raises(RefusedClaimError, match="is damaged: it opens no publication"):
        log.claim(ANN, damaged)


def test_a_spent_key_is_refused_and_the_next_one_serves(log):
    first, second = log.publish(ANN), log.publish(ANN, 1)
    log.see()
    log.claim(ANN, first)
    with pytest.raises(RefusedClaimError, match="spent key: claim 9 has opened the key"):
        log.claim(ANN, first, suspect=OTHER)
    log.claim(ANN, second, index=1, suspect=OTHER)


def test_a_repeated_claim_and_release_are_those_made_before(log):
    """After a kill nobody knows whether the record was appended."""
    publication = log.publish(ANN)
    log.see()
    claim = log.claim(ANN, publication)
    given = ([publication.number], OTHER, log.signers["ann"])
    released = protocol.release(log.folder, *given)
    before = log.records()
    assert log.claim(ANN, publication) == claim
    assert protocol.release(log.folder, *given) == released
    assert log.records() == before
    protocol.release(log.folder, [publication.number], SUSPECT, log.signers["ann"])
    assert len(log.records()) == len(before) + 1


def test_what_two_processes_do_at_once_is_recorded_once(log, rival):
    publication = log.publish(ANN)
    log.see()
    nothing = (None, {"params": {}})

    def both(act):
        rival(act)
        return act()

    both(lambda: protocol.release(log.folder, [2], OTHER, log.signers["ann"]))
    claim = both(lambda: log.claim(ANN, publication))
    judged = (claim.number, nothing, nothing, VALUE, log.signers["node1"])
    both(lambda: protocol.vote(log.folder, *judged))
    assert [one.kind for one in log.records()[7:]] == ["release", "claim", "vote"]


def test_of_two_first_records_at_once_the_second_is_refused(tmp_path, signers, rival):
    nodes = [audit.signatures.public_key_of(signers[name]) for name in NODES]
    given = (tmp_path / "log", nodes, signers["ann"])
    rival(lambda: protocol.open_log(*given))
    with pytest.raises(RecordError, match="holds a log already"):
        protocol.open_log(*given)
    assert len(read_log(tmp_path / "log")) == 1


def test_a_repeated_claim_is_refused_as_the_first_would_be(log):
    publication = log.publish(ANN)
    log.see()
    body = log.claim(ANN, publication).body
    record = log.folder / f"{len(log.records()):04d}.json"
    record.unlink()
    early = log.publish(BOB)
    protocol.release(log.folder, [early.number], SUSPECT, log.signers["ann"])
    append(log.folder, "claim", body, log.signers["ann"])
    with pytest.raises(RefusedClaimError, match="own release"):
        log.claim(ANN, publication)


def test_a_spent_key_stays_spent_in_other_digits(log):
    """Once a claim has shown the key, anybody could have made a model that it fits."""
    publication = log.publish(ANN)
    log.see()
    first = log.claim(ANN, publication)
    upper = {**first.body, "key": first.body["key"].upper(), "suspect": OTHER}
    again = append(log.folder, "claim", upper, log.signers["ann"])
    with pytest.raises(RefusedClaimError, match="spent key"):
        check_claim(log.records()[:-1], again)


def test_the_owners_own_release_is_no_suspect(log):
    publication = log.publish(ANN)
    log.see()
    protocol.release(log.folder, [publication.number], SUSPECT, log.signers["ann"])
    with pytest.raises(RefusedClaimError, match="own release: the claimant released"):
        log.claim(ANN, publication)


def test_a_plan_without_a_beacon_is_not_published(log):
    with pytest.raises(ValueError, match="name a beacon: nodes test no bits"):
        log.publish(ANN, beacon="")


def test_a_lying_minority_changes_nothing_and_a_majority_decides(log):
    publication = log.publish(ANN)
    log.see()
    claim = log.claim(ANN, publication)
    for name, outcome in zip(NODES[:2], ("not shown", "refused"), strict=True):
        log.vote(name, claim, outcome)
    assert protocol.tally(log.records(), claim.number).outcome == "open"
    log.vote("eve", claim, "not shown")  # no node
    log.vote("node0", claim, "not shown")  # a second time
    for name in NODES[2:]:
        assert protocol.tally(log.records(), claim.number).outcome == "open"
        log.vote(name, claim, "shown")
    tally = protocol.tally(log.records(), claim.number)
    assert tally.outcome == "shown"
    assert tally.counts == {"shown": 3, "not shown": 1, "inconclusive": 0, "refused": 1}
    assert len(tally.not_counted) == 2
    assert protocol.owner_of(log.records(), SUSPECT) == publication
    assert protocol.owner_of(log.records(), OTHER) is None


def test_the_conditions_of_votes_stand_beside_the_count(log, capsys):
    """Shown by votes that rest on conditions, or on an experiment's key, is no evidence."""
    publication = log.publish(ANN)
    log.see()
    claim = log.claim(ANN, publication)
    standings = (EVIDENCE, "holds only if A", EXPERIMENT_KEY, "holds only if A", None)
    for name, standing in zip(NODES, standings, strict=True):
        body = {"claim": claim.number, "outcome": "shown", "standing": standing}
        body = body if standing else {"claim": claim.number, "outcome": "not shown"}
        append(log.folder, "vote", body, log.signers[name])
    tally = protocol.tally(log.records(), claim.number)
    assert (tally.outcome, tally.open) == ("shown", ("holds only if A", EXPERIMENT_KEY))
    assert run(["model", "log", str(log.folder)]) == 0
    shown = capsys.readouterr().out
    assert f"of votes for shown: {EXPERIMENT_KEY}" in shown
    assert f"claim {claim.number}: shown at level 1e-06 (4 shown, 1 not shown)" in shown


def test_a_claim_that_names_no_publication_has_no_level(log):
    claim = append(log.folder, "claim", {"publication": 99}, log.signers["ann"])
    assert protocol.tally(log.records(), claim.number).level is None


def test_of_two_claimants_the_earlier_publication_wins(log):
    first, second = log.publish(BOB), log.publish(ANN)
    log.see()
    for owner, publication in ((ANN, second), (BOB, first)):
        claim = log.claim(owner, publication)
        for name in NODES[:3]:
            log.vote(name, claim, "shown")
    assert protocol.owner_of(log.records(), SUSPECT) == first


def test_three_of_five_against_settle_it(log):
    publication = log.publish(ANN)
    log.see()
    claim = log.claim(ANN, publication)
    for name in NODES[:3]:
        log.vote(name, claim, "refused")
    assert protocol.tally(log.records(), claim.number).outcome == "not shown"


def test_strangers_and_second_votes_are_refused(log):
    publication = log.publish(ANN)
    log.see()
    claim = log.claim(ANN, publication)
    nothing = (None, {"params": {}})
    judged = (nothing, nothing, VALUE)
    with pytest.raises(RecordError, match="is no node of this log"):
        protocol.vote(log.folder, claim.number, *judged, log.signers["eve"])
    record = protocol.vote(log.folder, claim.number, *judged, log.signers["node1"])
    assert record.body["outcome"] == "refused"
    assert record.body["reason"].startswith("wrong model: claim 8 names the weights 5a5a")
    assert protocol.vote(log.folder, claim.number, *judged, log.signers["node1"]) == record
    judged = (nothing, nothing, bytes(32))
    with pytest.raises(
        RecordError, match=r"^second vote: .* 'refused' on claim 8 .* differs in reason$"
    ):
        protocol.vote(log.folder, claim.number, *judged, log.signers["node1"])
    assert log.records()[-1] == record


def test_a_vote_of_an_older_version_is_found_again_though_it_has_no_reason(log, monkeypatch):
    publication = log.publish(ANN)
    log.see()
    claim = log.claim(ANN, publication)
    body = {"claim": claim.number, "outcome": "inconclusive", "log10_p": 0.0, "standing": "ok"}
    older = append(log.folder, "vote", body, log.signers["node1"])
    result = types.SimpleNamespace(outcome="inconclusive", log10_p=0.0, reason="no bits")
    verdict = types.SimpleNamespace(result=result, standing="ok")
    monkeypatch.setattr(protocol, "judge_claim", lambda *_: verdict)
    nothing = (None, {"params": {}})

    def vote():
        judged = (claim.number, nothing, nothing, VALUE, log.signers["node1"])
        return protocol.vote(log.folder, *judged)

    assert vote() == older
    result.log10_p = -0.5
    with pytest.raises(RecordError, match=r"^second vote: .* differs in log10_p$"):
        vote()


def test_bad_logs_are_one_clear_error(tmp_path, signers, log):
    for nodes in (["0f" * 32] * 3, ["0f" * 32, "0e" * 32], ["x", "y", "z"]):
        with pytest.raises(ValueError, match="at least three different public keys"):
            protocol.open_log(tmp_path / "new", nodes, signers["ann"])
    with pytest.raises(RecordError, match="holds a log already"):
        protocol.open_log(log.folder, ["0f" * 32, "0e" * 32, "0d" * 32], signers["ann"])
    with pytest.raises(RecordError, match="has no claim with the number 1"):
        protocol.tally(log.records(), 1)


def test_a_claim_with_a_value_of_its_own_is_refused(log):
    """The owner made up the beacon's value; each node fetched the public one."""
    publication = log.publish(ANN)
    log.see()
    claim = log.claim(ANN, publication, beacon=bytes(32))
    nothing = (None, {"params": {}})
    record = protocol.vote(
        log.folder, claim.number, nothing, nothing, VALUE, log.signers["node1"]
    )
    assert record.body["outcome"] == "refused"
    assert record.body["reason"].startswith("wrong beacon value: claim 8 has 0000000000000000…")
