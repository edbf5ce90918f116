"""What a rule for one kind of access may say."""

import dataclasses
import json

import numpy as np
import pytest

from anw_jax.keys import AccessRule
from anw_jax.keys.plan_fields import DEFAULT_KINDS, KINDS, default_rules

LOGITS = AccessRule("logits")


@pytest.mark.parametrize(
    ("fields", "name", "expected"),
    [
        ({"kind": "logits"}, "views", 1),
        ({"kind": "probabilities"}, "views", 1),
        ({"kind": "rounded", "decimals": 2}, "views", 1),
        ({"kind": "top_k"}, "views", 1),
        ({"kind": "label"}, "views", 16),
        ({"kind": "label", "views": 1}, "views", 1),
        ({"kind": "label", "views": np.int64(64)}, "views", 64),
        ({"kind": "rounded", "decimals": 1}, "decimals", 1),
        ({"kind": "rounded", "decimals": 12}, "decimals", 12),
        ({"kind": "top_k", "top": 1}, "top", 1),
        ({"kind": "top_k"}, "top", None),
        ({"kind": "logits", "saving": (3, 0)}, "saving", (3, 0)),
        ({"kind": "logits", "saving": [1, 2]}, "saving", (1, 2)),
        ({"kind": "logits", "refusals": 0}, "refusals", 0.0),
        ({"kind": "logits", "refusals": 0.999}, "refusals", 0.999),
        ({"kind": "logits"}, "labels", "arbitrator"),
        ({"kind": "logits", "labels": "model"}, "labels", "model"),
        ({"kind": "logits", "fit": "crop"}, "fit", "crop"),
        ({"kind": "logits", "bound_by": "hits"}, "bound_by", "hits"),
    ],
)
def test_fields(fields, name, expected):
    rule = AccessRule(**fields)
    assert getattr(rule, name) == expected
    assert AccessRule.from_json(json.loads(json.dumps(dataclasses.asdict(rule)))) == rule
    assert hash(rule) == hash(dataclasses.replace(rule))


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"kind": "logit"}, ValueError, "kind must be one of .* did you mean 'logits'"),
        ({"kind": ""}, ValueError, "kind must be one of"),
        ({"kind": None}, TypeError, "kind must be a plain str"),
        ({"kind": np.str_("logits")}, TypeError, "kind must be a plain str, got str_"),
        ({"labels": "owners"}, ValueError, "labels must be one of .* did you mean 'owner'"),
        ({"statistic": "loss"}, ValueError, "statistic must be one of .*'losses'"),
        ({"fit": "stretch"}, ValueError, "fit must be one of squash, crop"),
        ({"bound_by": "rank"}, ValueError, "bound_by must be one of hits, ranks"),
        ({"views": 0}, ValueError, "views must be at least 1, got 0"),
        ({"views": -4}, ValueError, "views must be at least 1, got -4"),
        ({"views": False}, TypeError, "views must be an integer, got False"),
        ({"views": 1.0}, TypeError, "views must be an integer, got 1.0"),
        ({"decimals": 3}, ValueError, "decimals belongs to kind='rounded', got kind='logits'"),
        ({"top": 3}, ValueError, "top belongs to kind='top_k', got kind='logits'"),
        ({"kind": "rounded"}, ValueError, "decimals must be 1 to 12 .*got None"),
        ({"kind": "rounded", "decimals": 0}, ValueError, "decimals must be at least 1"),
        ({"kind": "rounded", "decimals": 13}, ValueError, "decimals must be 1 to 12 .*got 13"),
        ({"kind": "rounded", "decimals": 2.0}, TypeError, "decimals must be an integer"),
        ({"kind": "top_k", "top": 0}, ValueError, "top must be at least 1, got 0"),
        ({"kind": "label", "top": 5}, ValueError, "top belongs to kind='top_k'"),
        ({"saving": (0, 1)}, ValueError, "stride must be at least 1, got 0"),
        ({"saving": (3, -1)}, ValueError, "best must be at least 0, got -1"),
        ({"saving": (3,)}, ValueError, r"saving must be a stride and a number .*got \(3,\)"),
        ({"saving": (3, 1, 1)}, ValueError, "saving must be a stride and a number"),
        ({"saving": "31"}, ValueError, "saving must be a stride and a number .*got '31'"),
        ({"saving": 3}, ValueError, "saving must be a stride and a number .*got 3"),
        ({"saving": (3.0, 1)}, TypeError, "stride must be an integer, got 3.0"),
        ({"refusals": 1.0}, ValueError, "refusals must be below 1"),
        ({"refusals": -0.1}, ValueError, r"refusals must lie in \[0.0, 1.0\], got -0.1"),
        ({"refusals": float("nan")}, ValueError, "refusals must be finite, got nan"),
        ({"refusals": "0.1"}, TypeError, "refusals must be a number, got '0.1'"),
        ({"bound_level": 0.0}, ValueError, "bound_level must lie strictly between"),
        ({"bound_level": 1.0}, ValueError, "bound_level must lie strictly between"),
        ({"list_rate": 1.5}, ValueError, "list_rate must lie strictly between"),
        ({"list_rate": True}, TypeError, "list_rate must be a number, got True"),
    ],
)
def test_bad_fields(fields, error, message):
    with pytest.raises(error, match=message):
        AccessRule(**{"kind": "logits", **fields})


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, TypeError),
        ({"kind": "logits", "more": 1}, TypeError),
        ({"kind": "logits", "saving": "31"}, ValueError),
        ("logits", TypeError),
        (None, TypeError),
        (["logits"], TypeError),
    ],
)
def test_bodies_that_are_no_rule(body, error):
    with pytest.raises(error):
        AccessRule.from_json(body)


def test_default_rules():
    rules = default_rules("owner")
    assert (
        tuple(rule.kind for rule in rules)
        == DEFAULT_KINDS
        == tuple(kind for kind in KINDS if kind != "rounded")
    )
    assert {rule.labels for rule in rules} == {"owner"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        LOGITS.views = 3
