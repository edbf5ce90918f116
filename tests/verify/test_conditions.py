"""Evidence needs every statement: each one left out is a condition that names the attack."""

import dataclasses

import numpy as np
import pytest

from anw_jax import verify
from anw_jax.errors import CommitmentError
from anw_jax.keys import Manifest, MarkKey, Plan, SignatureSpace, assign, commit
from anw_jax.keys.beacons import QUICKNET
from anw_jax.verify.verdict import (
    EVIDENCE,
    EXPERIMENT_KEY,
    NO_COMMITMENT,
    OPENED_BEFORE,
    is_conditional,
    is_evidence,
)

NUM_UNITS = 16
KEY = MarkKey(bytes(range(32)))  # a real key's origin, the same in every run
MANIFEST = Manifest.of(
    np.random.default_rng(4).integers(0, 256, (NUM_UNITS, 2, 2, 3), np.uint8), SignatureSpace()
)
PLAN = Plan("losses", 1e-6, beacon="arbitrator:Jane Doe")
VALUE = bytes(range(32))
# The round appeared on 2023-08-23 at 15:59:24 UTC.
DRAND = dataclasses.replace(PLAN, beacon=f"drand:{QUICKNET}:1000")
NIST = dataclasses.replace(PLAN, beacon="nist:2:1234567")
OTHER_CHAIN = dataclasses.replace(PLAN, beacon=f"drand:{'0' * 64}:5")


def table_of(plan, key=KEY, value=VALUE):
    table = np.random.default_rng(5).exponential(size=(NUM_UNITS, 12)).astype(np.float32)
    slots = assign(key, MANIFEST, plan, beacon=value if plan.beacon else b"").slots
    table[np.arange(NUM_UNITS), slots] = 0.0
    return table


def stated(plan=PLAN, key=KEY, **changes) -> verify.Statements:
    """Everything there is to state, with changes."""
    full = {
        "commitment": "" if plan.version == 1 else commit(key, MANIFEST, plan),
        "held_since": "2023-08-23T15:00:00Z",
        "held_from": "the owner, by registered mail",
        "found": 1,
        "found_at": "example.org",
        "models_tried": 1,
        "nothing_else": True,
    }
    return verify.Statements(**{**full, **changes})


def decide(plan=PLAN, statements=None, key=KEY, value=VALUE, **options) -> verify.Verdict:
    table = table_of(plan, key, value)
    options = {"sealed_digest": verify.seal(table), **options}
    if "commitment" not in options:
        options["commitment"] = commit(key, MANIFEST, plan)
    return verify.decide(
        table,
        key,
        MANIFEST,
        plan,
        beacon=value if plan.beacon else b"",
        statements=stated(plan, key) if statements is None else statements,
        **options,
    )


# --- Nothing left out. ---


@pytest.mark.parametrize(
    ("plan", "value", "changes"),
    [
        (PLAN, VALUE, {}),
        (PLAN, VALUE, {"held_from": "", "found_at": ""}),
        (PLAN, VALUE, {"found": 3, "models_tried": 2}),
        (dataclasses.replace(PLAN, number=3), VALUE, {"found": 3}),
        (DRAND, VALUE, {}),
        (DRAND, VALUE, {"held_since": "2023-08-22"}),
        (DRAND, VALUE, {"held_since": "2023-08-23T15:59:23Z"}),
        (DRAND, VALUE, {"held_since": "2023-08-23T15:59:23"}),
        (DRAND, VALUE, {"held_since": "2023-08-23T17:59:23+02:00"}),
        (NIST, bytes(64), {"value_appeared": "2023-08-23T15:00:01Z"}),
        (NIST, bytes(64), {"held_since": "2023-08-22", "value_appeared": "2023-08-23"}),
    ],
)
def test_nothing_left_out_is_evidence(plan, value, changes):
    verdict = decide(plan, stated(plan, **changes), value=value)
    assert verdict.conditions == ()
    assert verdict.standing == EVIDENCE == "evidence under the committed plan"
    assert is_evidence(verdict.standing)
    assert verdict.text.startswith(
        "Shown at level 1e-06: evidence under the committed plan.\nIf this model had been made"
    )


def test_statements_are_printed_as_the_arbitrators():
    verdict = decide(statements=stated(found=2, models_tried=3))
    assert verdict.stated == (
        "the arbitrator states: he held the commitment since 2023-08-23T15:00:00Z, from the "
        "owner, by registered mail",
        "the arbitrator states: he found 2 commitment(s) of this owner at example.org",
        "the arbitrator states: the key was tried on 3 model(s)",
        "the arbitrator states: nothing else was published or made with this key",
    )
    assert verdict.text.endswith("\n".join(verdict.stated))
    late = decide(NIST, stated(NIST, value_appeared="2023-08-24"), value=bytes(64))
    assert "the arbitrator states: the beacon's value appeared at 2023-08-24" in late.stated
    assert verify.Statements().lines() == []


# --- One thing left out. ---


ORDER = "the commitment is older than the beacon's value"
TABLE = [
    ("commitment", PLAN, {"commitment": ""}, {}, "not compared with a copy"),
    ("order", PLAN, {"held_since": ""}, {}, f"{ORDER} (nobody stated when it was held)"),
    (
        "held after the round",
        DRAND,
        {"held_since": "2023-08-23T15:59:25Z"},
        {},
        f"{ORDER} (the arbitrator held it since 2023-08-23T15:59:25Z, and the value appeared "
        "at 2023-08-23T15:59:24+00:00)",
    ),
    ("held at the round", DRAND, {"held_since": "2023-08-23T15:59:24Z"}, {}, ORDER),
    ("held on its day", DRAND, {"held_since": "2023-08-23"}, {}, ORDER),
    ("held elsewhere", DRAND, {"held_since": "2023-08-23T15:59:23-01:00"}, {}, ORDER),
    (
        "time of a pulse",
        NIST,
        {},
        {},
        f"{ORDER} (nobody stated when the value of 'nist:2:1234567' appeared)",
    ),
    ("a pulse before", NIST, {"value_appeared": "2023-08-23T14:59:59Z"}, {}, ORDER),
    ("a pulse on the day", NIST, {"value_appeared": "2023-08-23"}, {}, ORDER),
    (
        "a chain that the owner may run",
        OTHER_CHAIN,
        {"value_appeared": "2023-08-24"},
        {},
        "its chain is none of those known here: anybody can run one",
    ),
    ("value before", PLAN, {"value_appeared": "2023-08-23T14:00:00Z"}, {}, ORDER),
    (
        "number",
        PLAN,
        {"found": None},
        {},
        "no other commitment to choose from (nobody stated how many were found)",
    ),
    ("models", PLAN, {"models_tried": None}, {}, "was not found by trying the key on models"),
    ("nothing else", PLAN, {"nothing_else": False}, {}, "nothing else was published or made"),
    (
        "sealed digest",
        PLAN,
        {},
        {"sealed_digest": None},
        "the sealed answers were not changed after the key was opened",
    ),
    (
        "another",
        PLAN,
        {},
        {"other_conditions": ["the probe is right about the layout (overridden)"]},
        "the probe is right about the layout (overridden)",
    ),
    (
        "beacon",
        dataclasses.replace(PLAN, beacon=""),
        {},
        {},
        "chose neither keys nor photos by their slots (the plan names no public beacon)",
    ),
    (
        "another text as beacon",
        dataclasses.replace(PLAN, beacon="the weather tomorrow"),
        {},
        {},
        "nobody knew or chose the value of 'the weather tomorrow' beforehand",
    ),
    (
        "a time of no beacon",
        dataclasses.replace(PLAN, beacon="drand quicknet round 1000"),
        {},
        {},
        "it is no beacon of a known kind",
    ),
]


@pytest.mark.parametrize(
    ("plan", "changes", "options", "condition"),
    [case[1:] for case in TABLE],
    ids=[case[0] for case in TABLE],
)
def test_one_thing_left_out_is_one_condition(plan, changes, options, condition):
    value = bytes(64) if plan is NIST else VALUE
    verdict = decide(plan, stated(plan, **changes), value=value, **options)
    (found,) = verdict.conditions
    assert condition in found
    assert verdict.standing == f"holds only if {found}"
    assert is_conditional(verdict.standing)
    assert not is_evidence(verdict.standing)
    assert verdict.text.startswith(f"Shown at level 1e-06, if\n  1. {found}\nIf this model had")
    assert "evidence" not in verdict.text


def test_a_round_of_an_unknown_chain_has_no_time_either():
    verdict = decide(OTHER_CHAIN, stated(OTHER_CHAIN))
    assert len(verdict.conditions) == 2
    assert f"{ORDER} (nobody stated when the value of" in verdict.conditions[1]


def test_nothing_stated_leaves_every_condition():
    verdict = decide(
        dataclasses.replace(PLAN, beacon=""), verify.Statements(), sealed_digest=None
    )
    assert len(verdict.conditions) == 7
    assert verdict.stated == ()
    assert "the commitment is older than the training (nobody stated" in verdict.conditions[1]
    assert verdict.standing == f"holds only if {'; and if '.join(verdict.conditions)}"


def test_an_old_plan_is_conditional_whatever_is_stated():
    old = Plan("losses", 1e-6, beacon="drand round 7", version=1)
    from tests.keys.test_version_1 import KEY as key
    from tests.keys.test_version_1 import MANIFEST as manifest
    from tests.keys.test_version_1 import PLAN as plain
    from tests.keys.test_version_1 import STORED

    commitment = STORED["schemes"]["per_image"]["commitment"]
    table = np.random.default_rng(0).random((6, 12)).astype(np.float32)
    verdict = verify.decide(
        table,
        key,
        manifest,
        plain,
        commitment=commitment,
        sealed_digest=verify.seal(table),
        statements=stated(old, commitment=commitment),
    )
    (condition,) = verdict.conditions
    assert "version 1, whose slots can be previewed photo by photo" in condition


# --- Standings that no statement mends. ---


def test_an_experiment_key_is_no_evidence_and_has_no_list():
    key = MarkKey.for_experiment(0)
    for statements in (None, verify.Statements(), verify.Statements(opened_before=True)):
        verdict = decide(key=key, statements=statements)
        assert verdict.standing == EXPERIMENT_KEY
        assert verdict.conditions == ()
        assert verdict.text.startswith(
            "Shown at level 1e-06: experiment key, not evidence.\nIf this"
        )


@pytest.mark.parametrize("complete", [True, False])
def test_without_a_commitment_or_with_a_key_opened_before(complete):
    full = stated() if complete else verify.Statements()
    verdict = decide(statements=full, commitment=None)
    assert (verdict.standing, verdict.conditions) == (NO_COMMITMENT, ())
    opened = dataclasses.replace(full, opened_before=True)
    verdict = decide(statements=opened)
    assert (verdict.standing, verdict.conditions) == (OPENED_BEFORE, ())
    assert ": not evidence: the key was opened before.\n" in verdict.text


def test_not_shown_names_no_condition_in_its_head():
    innocent = np.random.default_rng(6).exponential(size=(NUM_UNITS, 12)).astype(np.float32)
    commitment = commit(KEY, MANIFEST, PLAN)
    verdict = verify.decide(innocent, KEY, MANIFEST, PLAN, commitment=commitment, beacon=VALUE)
    assert verdict.text.startswith("Not shown at level 1e-06.\nIf this model had been made")
    assert "evidence" not in verdict.text


# --- What is counted. ---


@pytest.mark.parametrize(
    ("changes", "menu", "factor"),
    [
        ({}, 1, 1),
        ({"found": 4}, 1, 4),
        ({"found": 4, "in_case": 2}, 1, 2),
        ({"found": 3, "in_case": 2}, 1, 1.5),
        ({"found": 5, "in_case": 5}, 1, 1),
        ({"models_tried": 7}, 1, 7),
        ({}, 3, 3),
        ({"found": 6, "in_case": 2, "models_tried": 5}, 4, 60),
        ({"found": None, "models_tried": None}, 2, 2),
        ({"found": None, "in_case": 3}, 1, 1),
    ],
)
def test_counts_multiply_p(changes, menu, factor):
    once, several = decide(), decide(statements=stated(**changes), menu=menu)
    assert several.factor == factor
    for name in ("log10_p", "smallest_log10_p"):
        before, after = getattr(once.result, name), getattr(several.result, name)
        assert after == pytest.approx(before + np.log10(factor), abs=1e-9)
        assert after >= before + np.log10(factor) - 1e-15
    assert several.diagnostics == once.diagnostics
    assert f"{several.result.p_value:.1e}"[:2] in several.sentence


def test_a_factor_can_take_the_evidence_away():
    verdict = decide(dataclasses.replace(PLAN, alpha=1e-16), menu=10)
    assert verdict.result.outcome == "inconclusive"
    assert "the smallest p these units can give" in verdict.sentence
    verdict = decide(menu=10**300)
    assert verdict.result.p_value == 1.0
    assert "times 1e+300, is 1, above the level 1e-06" in verdict.sentence


# --- Contradictions raise. ---


@pytest.mark.parametrize("number", [1, 2, 9])
def test_no_fewer_commitments_than_the_plan_says(number):
    plan = dataclasses.replace(PLAN, number=number)
    decide(plan, stated(plan, found=number))
    for found in {1, number - 1} - {0, number}:
        with pytest.raises(ValueError, match=f"found must be at least {number}: by the plan"):
            decide(plan, stated(plan, found=found))


@pytest.mark.parametrize("had", ["0f" * 32, "x", "  "])
def test_a_differing_commitment_raises(had):
    with pytest.raises(CommitmentError, match="is not the one the arbitrator had"):
        decide(statements=stated(commitment=had))


@pytest.mark.slow
def test_the_best_of_many_commitments_made_afterwards_is_refused():
    """A2: keys tried after the training; that of the best was handed over."""
    innocent = np.random.default_rng(7).exponential(size=(NUM_UNITS, 12)).astype(np.float32)
    held = commit(KEY, MANIFEST, PLAN)

    def p_of(seed, statements):
        key = MarkKey(seed.to_bytes(32, "big"))
        return verify.decide(
            innocent,
            key,
            MANIFEST,
            PLAN,
            commitment=commit(key, MANIFEST, PLAN),
            beacon=VALUE,
            statements=statements,
        )

    nothing = verify.Statements()
    best = min(range(40), key=lambda seed: p_of(seed, nothing).result.p_value)
    assert p_of(best, nothing).result.p_value < 0.1
    assert any("not compared with a copy" in text for text in p_of(best, nothing).conditions)
    with pytest.raises(CommitmentError, match="is not the one the arbitrator had"):
        p_of(best, stated(commitment=held))
