"""From a key to a verdict: the order, the conditions, and what is refused."""

import dataclasses

import numpy as np
import pytest

from anw_jax import verify
from anw_jax.errors import CommitmentError
from anw_jax.keys import MarkKey, commit_scheme
from anw_jax.schemes import judge, plan_of
from anw_jax.verify import Statements

KEY = MarkKey(bytes(range(32)))
VALUE = bytes(range(32))


@pytest.fixture(scope="module")
def own(owner_class):
    """An owner with a secret key, as in a real case."""
    return owner_class(KEY, num_bits=64)


@pytest.fixture(scope="module")
def scores(own):
    return own.scores(own.release(own.bits()))


def verdict_on(own, scores, **changes):
    commitment = commit_scheme(KEY, own.plan)
    arguments = {
        "commitment": commitment,
        "beacon": VALUE,
        "sealed_digest": verify.seal(scores),
        "statements": Statements(
            commitment=commitment,
            held_since="2026-01-01",
            found=1,
            models_tried=1,
            nothing_else=True,
        ),
    }
    return judge(scores, KEY, own.decoder, own.plan, **{**arguments, **changes})


def test_evidence_says_what_it_proves(own, scores):
    verdict = verdict_on(own, scores)
    assert verdict.result.outcome == "shown"
    assert verdict.standing == "evidence under the committed plan"
    assert verdict.conditions == ()
    assert (
        "If this model had been made without the marked model or anything derived from it, "
        "whatever else it learned from, a match this strong or stronger would occur with "
        "probability at most "
    ) in verdict.text


def test_what_nobody_states_is_a_condition(own, scores):
    verdict = verdict_on(own, scores, statements=Statements(), sealed_digest=None)
    assert verdict.result.outcome == "shown"
    assert verdict.text.startswith("Shown at level 1e-06, if\n  1. ")
    assert "evidence" not in verdict.text
    assert len(verdict.conditions) == 6
    assert "the sealed answers were not changed" in verdict.conditions[-1]


def test_commitments_found_and_models_tried_multiply_p(own, scores):
    plain = verdict_on(own, scores)
    statements = Statements(found=4, models_tried=5, commitment=commit_scheme(KEY, own.plan))
    corrected = verdict_on(own, scores, statements=statements)
    assert corrected.factor == 20
    difference = corrected.result.log10_p - plain.result.log10_p
    assert difference == pytest.approx(np.log10(20), abs=1e-9)


def test_without_a_beacon_the_choice_of_key_and_decoder_is_a_condition(owner_class):
    own = owner_class(KEY, num_bits=64, beacon="")
    bits = own.bits(b"")
    scores = own.scores(own.release(bits))
    verdict = verdict_on(own, scores, beacon=b"")
    assert any("neither keys nor decoders by their bits" in c for c in verdict.conditions)


def test_an_experiments_key_is_no_evidence(owner):
    scores = owner.scores(owner.release(owner.bits()))
    verdict = judge(
        scores,
        owner.key,
        owner.decoder,
        owner.plan,
        commitment=commit_scheme(owner.key, owner.plan),
        beacon=VALUE,
    )
    assert verdict.standing == "experiment key, not evidence"


def test_an_innocent_model_is_not_shown(own, nets):
    verdict = verdict_on(own, own.scores(nets.fresh(4)))
    assert verdict.result.outcome == "not shown"
    assert "innocent" not in verdict.text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"commitment": "0f" * 32}, "does not open"),
        ({"beacon": b""}, "names 'arbitrator:Jane' and a value is missing"),
        ({"beacon": b"123"}, "must have 32 bytes"),
        ({"sealed_digest": "0f" * 32}, "the vector of scores is not the one sealed"),
        ({"statements": Statements(commitment="0e" * 32)}, "is not the one the arbitrator"),
    ],
)
def test_cheats_are_refused(own, scores, changes, text):
    with pytest.raises(CommitmentError, match=text):
        verdict_on(own, scores, **changes)


def test_a_decoder_changed_after_the_commitment_is_refused(own, scores):
    changed = dataclasses.replace(own.decoder, num_probes=161)
    with pytest.raises(CommitmentError, match="a setting was changed after the commitment"):
        judge(
            scores,
            KEY,
            changed,
            own.plan,
            commitment=commit_scheme(KEY, own.plan),
            beacon=VALUE,
        )
    plan = plan_of(changed, alpha=1e-6, beacon="arbitrator:Jane")
    with pytest.raises(CommitmentError, match="does not open"):
        judge(scores, KEY, changed, plan, commitment=commit_scheme(KEY, own.plan), beacon=VALUE)
