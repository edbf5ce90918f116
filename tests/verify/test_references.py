"""Reference models in a verdict: which are let in, and what each costs."""

import dataclasses

import numpy as np
import pytest

from anw_jax import stats, verify
from anw_jax.errors import CommitmentError
from anw_jax.keys import Manifest, MarkKey, Plan, SignatureSpace, assign, commit
from anw_jax.keys.beacons import QUICKNET
from anw_jax.verify.references import check_age, conditions_of_references
from anw_jax.verify.verdict import EVIDENCE

NUM = 30
KEY = MarkKey(bytes(range(32)))  # a real key's origin, the same in every run
MANIFEST = Manifest.of(
    np.random.default_rng(4).integers(0, 256, (NUM, 2, 2, 3), np.uint8), SignatureSpace()
)
MODEL, OTHER = "ab" * 32, "cd" * 32
# The round appeared on 2023-08-23 at 15:59:24 UTC.
PLAN = Plan("log_losses", 1e-6, beacon=f"drand:{QUICKNET}:1000")
PLANNED = dataclasses.replace(PLAN, references=(MODEL,))
VALUE = bytes(range(32))
OLD = {"released": "2023-08-22", "released_from": "its web page", "chosen_blind": True}


def tables(plan, imprint=0.5, dislike=1.0):
    """A suspect that learned, and its base, which may dislike the true slots."""
    rng = np.random.default_rng(5)
    liking = rng.gamma(2.0, 1.0, (NUM, 12))
    suspect = liking * np.exp(0.05 * rng.normal(size=liking.shape))
    value = VALUE if plan.beacon else b""
    true = np.arange(NUM), assign(KEY, MANIFEST, plan, beacon=value).slots
    suspect[true] *= imprint
    base = liking.copy()
    base[true] *= dislike
    return suspect.astype(np.float32), base.astype(np.float32)


def reference(table, digest=MODEL, **fields):
    sealed = {"sealed_digest": verify.seal(table), "runs_code": False, **fields}
    return verify.Reference("base", digest, table, **sealed)


def decide(plan, table, references, left_out=(), **changes):
    said = {
        "commitment": commit(KEY, MANIFEST, plan),
        "held_since": "2023-08-23T15:00:00Z",
        "found": 1,
        "models_tried": 1,
        "nothing_else": True,
    }
    return verify.decide(
        table,
        KEY,
        MANIFEST,
        plan,
        commitment=commit(KEY, MANIFEST, plan),
        sealed_digest=verify.seal(table),
        beacon=VALUE if plan.beacon else b"",
        statements=verify.Statements(**{**said, **changes}),
        references=references,
        left_out=left_out,
    )


def test_a_reference_of_the_plan_is_evidence_and_costs_nothing():
    suspect, base = tables(PLANNED)
    verdict = decide(PLANNED, suspect, [reference(base)])
    assignment = assign(KEY, MANIFEST, PLANNED, beacon=VALUE)
    expected = stats.exact_test(suspect, assignment, references=[base])
    assert verdict.result == expected
    assert verdict.result.log10_p < stats.exact_test(suspect, assignment).log10_p - 6
    assert (verdict.standing, verdict.factor) == (EVIDENCE, 1.0)
    assert verdict.num_hits == stats.count_hits(suspect, assignment, [base])
    guesses = verify.infer_signatures(suspect, MANIFEST, [base])
    np.testing.assert_array_equal(verdict.inferred_slots, guesses)
    p = stats.exact_test(suspect, assignment, statistic="losses", references=[base]).log10_p
    assert verdict.diagnostics["log10_p_losses"] == p
    assert (
        f"calibrated by reference 'base', in the plan: model {MODEL}, table "
        f"{verify.seal(base)}" in verdict.text
    )


def test_an_older_reference_doubles_p_and_is_evidence():
    suspect, base = tables(PLAN)
    verdict = decide(PLAN, suspect, [reference(base, **OLD)])
    alone = stats.exact_test(
        suspect, assign(KEY, MANIFEST, PLAN, beacon=VALUE), references=[base]
    )
    assert (verdict.standing, verdict.factor) == (EVIDENCE, 2.0)
    assert verdict.result.log10_p == pytest.approx(alone.log10_p + np.log10(2), abs=1e-9)
    assert "not in the plan, which doubles p" in verdict.text
    assert (
        "the arbitrator states: reference 'base' was released on 2023-08-22, from its web page"
        in verdict.text
    )
    both = [reference(base, **OLD), reference(base, OTHER, **OLD)]
    assert decide(PLAN, suspect, both).factor == 4.0
    suspect, base = tables(PLANNED)
    more = [reference(base), reference(base, OTHER, **OLD)]
    assert decide(PLANNED, suspect, more).factor == 2.0


def test_a_reference_of_the_plan_that_is_left_out_doubles_p_and_is_a_condition():
    suspect, base = tables(PLANNED)
    verdict = decide(PLANNED, suspect, [])
    assert verdict.factor == 2.0
    assert verdict.conditions == (
        f"the reference {MODEL} of the plan was not left out for its results (it was not used)",
    )
    other = decide(PLANNED, suspect, [reference(base, OTHER, **OLD)])
    assert (other.factor, len(other.conditions)) == (4.0, 1)


@pytest.mark.parametrize("why", ["", "it has 3 classes"])
@pytest.mark.parametrize("is_blind", [False, True])
def test_why_a_reference_of_the_plan_was_left_out_is_in_the_verdict(why, is_blind):
    """Never silent, and p stays doubled; a choice stated without a reason settles nothing."""
    suspect, _ = tables(PLANNED, imprint=0.05)
    verdict = decide(PLANNED, suspect, [], [verify.LeftOut(MODEL, why, is_blind)])
    assert verdict.result.outcome == "shown"
    assert verdict.factor == 2.0
    assert verdict.result == decide(PLANNED, suspect, []).result
    assert f"the reference {MODEL} of the plan was not" in verdict.text
    assert why in verdict.text
    reason = f": {why}" if why else ""
    condition = f"{NOT_FOR_RESULTS} (it was not used{reason})"
    if why and is_blind:
        assert (verdict.standing, verdict.conditions) == (EVIDENCE, ())
        assert f"{MODEL} of the plan was not used, which doubles p: {why}" in verdict.text
        assert f"the arbitrator states: {NOT_FOR_RESULTS}" in verdict.text
    else:
        assert verdict.conditions == (condition,)


NOT_FOR_RESULTS = f"the reference {MODEL} of the plan was not left out for its results"


@pytest.mark.parametrize(
    ("left_out", "words"),
    [
        ([verify.LeftOut(OTHER)], "must be of the plan's references and not used, got"),
        ([verify.LeftOut(MODEL)] * 2, "must be different references, got one twice"),
    ],
)
def test_what_cannot_be_left_out(left_out, words):
    suspect, _ = tables(PLANNED)
    with pytest.raises(ValueError, match=words):
        decide(PLANNED, suspect, [], left_out)


def test_a_reference_that_is_used_is_not_left_out():
    suspect, base = tables(PLANNED)
    with pytest.raises(ValueError, match="and not used"):
        decide(PLANNED, suspect, [reference(base)], [verify.LeftOut(MODEL, "lost")])
    with pytest.raises(TypeError, match="left_out"):
        decide(PLANNED, suspect, [], [MODEL])
    with pytest.raises(ValueError, match="digest must be 64"):
        verify.LeftOut("base")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"released": ""}, "is older than the beacon's value (nobody stated when it was rel"),
        ({"released_from": " "}, "is older than the beacon's value (nobody stated how its rel"),
        (
            {"chosen_blind": False},
            "which references are used was fixed by somebody who knew neither the slots nor "
            "any result (nobody stated that of 'base')",
        ),
        ({"runs_code": True}, "the code of reference 'base' uses nothing but the pictures it"),
        ({"sealed_digest": None}, "the sealed answers were not changed after the key was open"),
    ],
)
def test_what_is_not_stated_of_a_reference_is_a_condition(fields, words):
    suspect, base = tables(PLAN)
    (condition,) = decide(PLAN, suspect, [reference(base, **{**OLD, **fields})]).conditions
    assert words in condition


def test_a_date_without_the_time_of_the_value_is_a_condition():
    plan = dataclasses.replace(PLAN, beacon="nist:2:1234567")
    old = [reference(np.ones((NUM, 12)), **OLD)]
    found = conditions_of_references(plan, verify.Statements(), old)
    assert found == [
        "reference 'base' is older than the beacon's value (nobody stated when the value of "
        "'nist:2:1234567' appeared)"
    ]
    known = verify.Statements(value_appeared="2023-08-24")
    assert not conditions_of_references(plan, known, old)


def test_a_reference_that_runs_code_is_evidence_only_once_somebody_read_it():
    suspect, base = tables(PLANNED)
    verdict = decide(PLANNED, suspect, [reference(base, runs_code=True)])
    uses = (
        "the code of reference 'base' uses nothing but the pictures it is given and the files "
        "that it lists"
    )
    assert verdict.conditions == (f"{uses} (nobody stated that)",)
    read = decide(PLANNED, suspect, [reference(base, runs_code=True, code_read=True)])
    assert read.standing == EVIDENCE
    assert f"the arbitrator states: {uses}" in read.text
    assert verify.Reference("base", MODEL, base).runs_code  # unless it is known to be none


def test_the_stated_time_of_an_unknown_kind_of_value_refuses_younger_references():
    plan = dataclasses.replace(PLAN, beacon="the weather tomorrow")
    said = verify.Statements(value_appeared="2023-08-24")
    check_age("base", MODEL, "2023-08-23", plan, said)
    with pytest.raises(CommitmentError, match="'base' must be older than the beacon's value"):
        check_age("base", MODEL, "2023-08-24", plan, said)
    old = [reference(np.ones((NUM, 12)), **OLD)]
    assert not conditions_of_references(plan, said, old)
    assert len(conditions_of_references(plan, verify.Statements(), old)) == 1


def test_rows_without_usable_answers_of_a_reference_are_counted_in_the_verdict():
    suspect, base = tables(PLANNED)
    assert "without usable" not in decide(PLANNED, suspect, [reference(base)]).text
    base[:7, 3] = np.nan
    text = decide(PLANNED, suspect, [reference(base)]).text
    assert f"table {verify.seal(base)}; 7 of its 30 rows are without usable answers" in text
    base[:] = np.nan
    assert "30 of its 30 rows are" in decide(PLANNED, suspect, [reference(base)]).text


@pytest.mark.parametrize(
    ("released", "is_older"),
    [
        ("2023-08-23T15:59:23Z", True),
        ("2023-08-23T15:59:24Z", False),
        ("2023-08-23", False),  # perhaps in its last second
        ("2024-01-01", False),
    ],
)
def test_a_younger_reference_would_convict_an_innocent_model_and_is_refused(released, is_older):
    """Near lie: the owner trained it, after the value appeared, to dislike the true slots."""
    suspect, made = tables(PLAN, imprint=1.0, dislike=1.4)
    _, honest = tables(PLAN)
    assignment = assign(KEY, MANIFEST, PLAN, beacon=VALUE)
    assert stats.exact_test(suspect, assignment, references=[honest]).p_value > 1e-3
    assert stats.exact_test(suspect, assignment, references=[made]).p_value < 1e-12
    young = [reference(made, **{**OLD, "released": released})]
    if is_older:  # then it cannot have been made so
        assert decide(PLAN, suspect, young).factor == 2.0
        return
    with pytest.raises(CommitmentError, match="must be older than the beacon's value, which a"):
        decide(PLAN, suspect, young)


def test_choosing_among_old_models_with_the_slots_is_a_near_lie():
    """Why the choice is a condition: the factor 2 does not cover a hundred old models."""
    rng = np.random.default_rng(6)
    suspect = rng.gamma(2.0, 1.0, (NUM, 12))
    old = [suspect * rng.gamma(2.0, 1.0, suspect.shape) for _ in range(40)]
    plan = dataclasses.replace(PLAN, beacon="arbitrator:Jane Doe")
    draws = [
        assign(MarkKey.for_experiment(seed, "old"), MANIFEST, plan, beacon=VALUE)
        for seed in range(300)
    ]
    p = np.stack([stats.fresh_p_values(suspect, draws, references=[one]) for one in old])
    chosen = np.minimum(1, 2 * p.min(axis=0))
    assert not stats.super_uniformity(chosen)[0]
    assert stats.super_uniformity(np.minimum(1, 2 * p[0]))[0]


def test_refused_references():
    suspect, base = tables(PLAN)
    with pytest.raises(ValueError, match="references must be different models, got one twice"):
        decide(PLAN, suspect, [reference(base, **OLD)] * 2)
    with pytest.raises(CommitmentError, match="the table of reference 'base' is not the one s"):
        decide(PLAN, suspect, [reference(base + 1, sealed_digest=verify.seal(base), **OLD)])
    with pytest.raises(TypeError, match="references must be a Reference, got ndarray"):
        decide(PLAN, suspect, [base])
    with pytest.raises(ValueError, match="digest must be 64 lower-case hex digits, got 'base'"):
        verify.Reference("base", "base", base)
    with pytest.raises(ValueError, match="released must be a date"):
        verify.Reference("base", MODEL, base, released="May")
    with pytest.raises(ValueError, match="references must be tables of the shape of loss_tab"):
        decide(PLAN, suspect, [reference(base[:-1], **OLD)])


def test_without_a_beacon_only_the_plan_can_name_references():
    plan = dataclasses.replace(PLAN, beacon="", references=(MODEL,))
    suspect, base = tables(plan)
    verdict = decide(plan, suspect, [reference(base)])
    assert verdict.factor == 1.0
    with pytest.raises(CommitmentError, match="must be in the plan, which names no beacon"):
        decide(plan, suspect, [reference(base), reference(base, OTHER, **OLD)])
