"""What a plan fixes, what it leaves open, and that no two plans have the same bytes."""

import dataclasses
import json

import numpy as np
import pytest

from anw_jax.keys import AccessRule, Plan

LABELS = "0f" * 32
LOGITS, TOP, LABEL = (AccessRule(kind) for kind in ("logits", "top_k", "label"))
ROUNDED = AccessRule("rounded", decimals=2)
MENU = (AccessRule("logits", fit="crop"), LOGITS, AccessRule("label", views=4), LABEL)


# --- Which rules are open for a suspect. ---


@pytest.mark.parametrize(
    ("rules", "highest", "reachable", "expected"),
    [
        ((), True, ("logits", "probabilities", "top_k", "label"), ["logits"]),
        ((), True, ("probabilities", "top_k", "label"), ["probabilities"]),
        ((), True, ("top_k", "label"), ["top_k"]),
        ((), True, ("label",), ["label"]),
        ((), True, (), []),
        ((), True, ("rounded",), []),
        ((), True, ("rounded", "label"), ["label"]),
        ((LABEL,), True, ("logits", "probabilities", "top_k", "label"), ["label"]),
        ((TOP, LABEL), True, ("probabilities", "label"), ["label"]),
        ((LABEL, TOP), True, ("logits", "top_k", "label"), ["top_k"]),
        ((ROUNDED, LABEL), True, ("rounded", "label"), ["rounded"]),
        ((LABEL, LOGITS), False, ("logits", "label"), ["label", "logits"]),
        ((LABEL, LOGITS), False, ("label",), ["label"]),
        (MENU, True, ("logits", "label"), ["logits", "logits"]),
        (MENU, True, ("label",), ["label", "label"]),
        (MENU, False, ("logits", "label"), ["logits", "logits", "label", "label"]),
        (MENU, False, ("top_k",), []),
    ],
)
def test_open_rules(rules, highest, reachable, expected):
    plan = Plan("losses", 0.05, rules=rules, highest=highest)
    found = plan.open_rules(reachable)
    assert [rule.kind for rule in found] == expected
    assert set(found) <= set(plan.rules)


def test_the_highest_kind_is_the_suspects_and_not_the_plans_order():
    for rules in ((LOGITS, TOP, LABEL), (LABEL, TOP, LOGITS)):
        plan = Plan("losses", 0.05, rules=rules)
        assert plan.open_rules(("logits", "top_k", "label")) == (LOGITS,)


def test_default_rules_take_the_labels_that_are_committed_to():
    assert {rule.labels for rule in Plan("losses", 0.1).rules} == {"arbitrator"}
    assert {rule.labels for rule in Plan("losses", 0.1, labels=LABELS).rules} == {"owner"}


def test_statistics_of_rules():
    own = AccessRule("label", statistic="hits")
    plan = Plan("losses", 0.1, rules=(LOGITS, own))
    assert [plan.statistic_of(rule) for rule in (None, LOGITS, own)] == [
        "losses",
        "losses",
        "hits",
    ]


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"rules": (LOGITS, LOGITS)}, ValueError, "rules must differ from one another"),
        ({"rules": (LABEL, AccessRule("label", views=16))}, ValueError, "must differ"),
        ({"rules": (AccessRule("logits", "owner"),)}, ValueError, "commits to none"),
        ({"rules": ("logits",)}, TypeError, "rules must be a AccessRule, got str"),
        (
            {"rules": (AccessRule("label", statistic="hits"),), "mode": "sequential"},
            ValueError,
            "rules of a sequential plan must have the plan's statistic, got 'hits' for 'label'",
        ),
        (
            {"rules": (AccessRule("label", statistic="centred"),), "mode": "sequential"},
            ValueError,
            "statistic must be one of",
        ),
        ({"number": 0}, ValueError, "number must be at least 1, got 0"),
        ({"number": True}, TypeError, "number must be an integer, got True"),
        ({"number": "1"}, TypeError, "number must be an integer, got '1'"),
        ({"highest": 1}, TypeError, "highest must be a bool"),
        ({"place": None}, TypeError, "place must be a plain str"),
        ({"place": "a\udcff"}, ValueError, "place must be text that UTF-8 can hold"),
        ({"beacon": "\ud800"}, ValueError, "beacon must be text that UTF-8 can hold"),
        ({"labels": "0f"}, ValueError, "labels must be 64 lower-case hex digits or empty"),
        ({"references": ("0f",)}, ValueError, "references must be 64 lower-case hex digits"),
        ({"references": LABELS}, ValueError, "references must be 64 lower-case hex digits"),
        ({"references": 3}, TypeError, "references must be a Sequence, got int"),
        ({"references": (LABELS, LABELS)}, ValueError, "references must differ"),
        ({"references": (LABELS,), "version": 1}, ValueError, "references must be left out"),
        (
            {"references": (LABELS,), "mode": "sequential"},
            ValueError,
            "references must be left out of a sequential plan",
        ),
        ({"version": 0}, ValueError, "version must be at least 1, got 0"),
        ({"version": 3}, ValueError, "version must be at most 2, got 3"),
        ({"version": "1"}, TypeError, "version must be an integer, got '1'"),
        ({"version": 1.0}, TypeError, "version must be an integer, got 1.0"),
        ({"version": True}, TypeError, "version must be an integer, got True"),
    ],
)
def test_bad_fields(fields, error, message):
    with pytest.raises(error, match=message):
        Plan("losses", 0.1, **fields)


# --- One form, however it is written. ---


VARIANTS = [
    {},
    {"alpha": 0.2},
    {"statistic": "ranks"},
    {"mark": f"user_lct:{LABELS}"},
    {"beacon": "x"},
    {"beacon": 'x","claim":"any model'},
    {"claim": "any model"},
    {"labels": LABELS},
    {"place": "x"},
    {"number": 2},
    {"highest": False},
    {"rules": (LOGITS,)},
    {"rules": (LOGITS, LABEL)},
    {"rules": (LABEL, LOGITS)},
    {"rules": (AccessRule("logits", fit="crop"),)},
    {"rules": (AccessRule("logits", views=2),)},
    {"rules": (AccessRule("logits", views=2, fill="black"),)},
    {"rules": (AccessRule("logits", saving=(3, 1)),)},
    {"rules": (AccessRule("logits", refusals=0.2),)},
    {"rules": (AccessRule("logits", statistic="losses"),)},
    {"mode": "sequential"},
    {"version": 1},
    {"references": (LABELS,)},
    {"references": (LABELS, "ab" * 32)},
    {"references": ("ab" * 32, LABELS)},
]


def plan_of(fields) -> Plan:
    return Plan(**{"statistic": "losses", "alpha": 0.1, **fields})


def test_no_two_plans_share_bytes_or_digest():
    plans = [plan_of(fields) for fields in VARIANTS]
    assert len({plan.to_bytes() for plan in plans}) == len(plans)
    assert len({plan.digest for plan in plans}) == len(plans)


@pytest.mark.parametrize("fields", VARIANTS)
def test_plans_survive_their_file(fields):
    plan = plan_of(fields)
    again = Plan.from_json(json.loads(json.dumps(plan.as_json())))
    assert again == plan
    assert again.to_bytes() == plan.to_bytes()
    assert hash(again) == hash(plan)


def test_a_plan_without_references_has_the_bytes_of_before():
    assert "references" not in Plan("losses", 0.1).as_json()
    assert b"references" not in Plan("losses", 0.1, references=[]).to_bytes()
    assert Plan("losses", 0.1, references=[LABELS]).references == (LABELS,)


def test_numpy_numbers_are_numbers():
    plan = Plan("losses", np.float64(0.1), number=np.int64(2), version=np.int64(2))
    assert plan.to_bytes() == Plan("losses", 0.1, number=2).to_bytes()
    old = Plan("losses", 0.1, version=np.int32(1))
    assert Plan.from_json(json.loads(json.dumps(old.as_json()))) == old


@pytest.mark.parametrize("rules", [None, 3, "logits", [None], [["logits"]], [{}]])
def test_damaged_rules(rules):
    body = {**Plan("losses", 0.1).as_json(), "rules": rules}
    with pytest.raises((TypeError, ValueError)):
        Plan.from_json(body)


@pytest.mark.parametrize("body", [None, 3, "plan", ["losses", 0.1], {}])
def test_bodies_that_are_no_plan(body):
    with pytest.raises((TypeError, ValueError)):
        Plan.from_json(body)


def test_a_changed_plan_has_a_digest_of_its_own():
    """The digest is kept once computed: never along with other fields."""
    plan = Plan("losses", 0.1)
    first = plan.digest, plan.to_bytes()
    other = dataclasses.replace(plan, alpha=0.2)
    assert other.digest != first[0]
    assert other.to_bytes() != first[1]
