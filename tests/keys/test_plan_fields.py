"""What a plan may name: statistics and marks that exist, and rules for kinds of access."""

import dataclasses
import json

import numpy as np
import pytest

from anw_jax import stats
from anw_jax.keys import AccessRule, Denoising, Plan, plan_fields
from anw_jax.keys.plan_fields import DEFAULT_KINDS, KINDS, default_rules
from anw_jax.marks import HueRotation, LightField, PixelMark, UserLCT

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
        ({"kind": "label"}, "fill", "reflect"),
        ({"kind": "label", "fill": "black"}, "fill", "black"),
        ({"kind": "logits", "views": 2, "fill": "black"}, "fill", "black"),
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
        (
            {"views": 2, "fill": "blak"},
            ValueError,
            "fill must be one of reflect, black.*'black'",
        ),
        ({"views": 2, "fill": None}, TypeError, "fill must be a plain str, got NoneType"),
        ({"fill": "black"}, ValueError, "fill must be 'reflect' with one view, got 'black'"),
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


@pytest.mark.parametrize("fill", ["reflect", "black"])
def test_the_fill_is_left_out_of_the_json_of_earlier_plans(fill):
    rule = AccessRule("label", fill=fill)
    body = rule.as_json()
    assert ("fill" in body) == (fill == "black")
    assert AccessRule.from_json(json.loads(json.dumps(body))) == rule
    plan = Plan("losses", 0.1, rules=(rule,))
    assert (b"fill" in plan.to_bytes()) == (fill == "black")
    assert Plan.from_json(plan.as_json()).to_bytes() == plan.to_bytes()
    # As a plan of before is read, also one that says so.
    silent = {name: value for name, value in body.items() if name != "fill"}
    said = {**silent, "fill": "reflect"}
    assert AccessRule.from_json(silent) == AccessRule.from_json(said) == AccessRule("label")


def test_a_rule_for_errors_has_a_statistic_of_its_own():
    assert AccessRule("error").statistic == "bounded_log_errors"
    assert AccessRule("error").views == 1
    assert AccessRule("error", statistic="ranks").statistic == "ranks"
    rule = AccessRule("error")
    assert AccessRule.from_json(rule.as_json()) == rule


def test_a_rule_may_fix_the_denoising_error():
    old, rule = AccessRule("error"), AccessRule("error", denoising=Denoising(4, 7, False))
    assert "denoising" not in old.as_json()  # older plans keep their bytes
    assert rule.as_json()["denoising"] == {"steps": 4, "seed": 7, "mirror": False}
    assert AccessRule.from_json(rule.as_json()) == rule
    assert rule != AccessRule("error", denoising=Denoising(8, 7, False))
    assert [Denoising(4).num_evaluations, Denoising(4, mirror=False).num_evaluations] == [8, 4]
    plans = [Plan("ranks", 0.1, rules=(one,)) for one in (old, rule)]
    assert plans[0].digest != plans[1].digest
    assert Plan.from_json(plans[1].as_json()) == plans[1]


@pytest.mark.parametrize(
    ("denoising", "words"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"steps": 1025}, "steps must be at most 1024"),
        ({"steps": 2.5}, "steps must be"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"mirror": 1}, "mirror must be"),
        ({"step": 8}, "step"),
        ([8, 0, True], "denoising must be"),
    ],
)
def test_denoising_errors_that_are_refused(denoising, words):
    body = {**AccessRule("error").as_json(), "denoising": denoising}
    with pytest.raises((TypeError, ValueError), match=words):
        AccessRule.from_json(body)


def test_a_denoising_error_belongs_to_errors():
    with pytest.raises(ValueError, match="denoising belongs to kind='error', got kind='lo"):
        AccessRule("logits", denoising=Denoising())


def test_default_rules():
    rules = default_rules("owner")
    assert (
        tuple(rule.kind for rule in rules)
        == DEFAULT_KINDS
        == tuple(kind for kind in KINDS if kind not in ("rounded", "error"))
    )
    assert {rule.labels for rule in rules} == {"owner"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        LOGITS.views = 3


# --- Names of statistics and marks. ---

DIGEST = "0f" * 32
MARKS = (
    HueRotation(),
    UserLCT.from_sub_key(bytes(32)),
    UserLCT(np.eye(3)),
    PixelMark(bytes(32), 32, 32),
    PixelMark(bytes(32), 8, 8, num_pixels=1, full_scale=1),
    PixelMark(bytes(32), 8, 8, num_pixels=20, full_scale=1e-7),
    LightField(bytes(32)),
    LightField(bytes(32), strength=1, cells=2, num_slots=2),
)


def test_each_name_has_a_score_and_no_score_is_without_a_name():
    assert tuple(stats.STATISTICS) == plan_fields.STATISTICS
    assert {*stats.scores._SCORE_FNS, *plan_fields.IMAGE_STATISTICS} == {
        *plan_fields.STATISTICS
    }
    assert not {*stats.scores._SCORE_FNS} & {*plan_fields.IMAGE_STATISTICS}
    assert stats.DEFAULT_STATISTIC in plan_fields.STATISTICS


@pytest.mark.parametrize("statistic", stats.STATISTICS)
def test_plans_take_each_statistic(statistic):
    assert Plan(statistic, 0.1).statistic == statistic
    if statistic in stats.SEQUENTIAL_STATISTICS:
        assert Plan(statistic, 0.1, mode="sequential").statistic == statistic


@pytest.mark.parametrize("statistic", ["log_loss", "Losses", "losses ", "", "hits\0"])
def test_plans_refuse_a_statistic_that_nothing_computes(statistic):
    with pytest.raises(ValueError) as raised:
        Plan(statistic, 1e-6)
    beginning = (
        "statistic must be one of log_losses, losses, centred, ranks, hits, "
        "bounded_log_losses, log_errors, bounded_log_errors; got "
    )
    assert str(raised.value).startswith(beginning + repr(statistic))


def test_a_sequential_plan_refuses_what_needs_the_whole_table():
    with pytest.raises(ValueError) as raised:
        Plan("centred", 1e-6, mode="sequential")
    assert str(raised.value) == (
        "statistic must be one of log_losses, losses, ranks, hits, log_errors, "
        "bounded_log_losses, bounded_log_errors; got 'centred'"
    )


@pytest.mark.parametrize("mark", MARKS, ids=lambda mark: type(mark).__name__)
def test_plans_take_the_description_of_each_mark(mark):
    assert Plan("losses", 0.1, mark.description).mark == mark.description


@pytest.mark.parametrize(
    "mark",
    [
        "hue_rotatoin",
        "",
        "hue_rotation ",
        "hue_rotation:",
        "linear",
        "user_lct",
        "user_lct:0",
        f"user_lct:{DIGEST.upper()}",
        f"user_lct:{DIGEST}\n",
        f"user_lct:{DIGEST}:{DIGEST}",
        f"pixel_mark:512:0.6:{DIGEST[1:]}",
        f"pixel_mark:0:0.6:{DIGEST}",
        f"pixel_mark:0512:0.6:{DIGEST}",
        f"pixel_mark:٥:0.6:{DIGEST}",
        f"pixel_mark:512:0.60:{DIGEST}",
        f"pixel_mark:512:1.5:{DIGEST}",
        f"pixel_mark:512:nan:{DIGEST}",
        f"pixel_mark:512:0.0:{DIGEST}",
        f"pixel_mark:512:x:{DIGEST}",
        f"pixel_mark:0.6:{DIGEST}",
        f"light_field:0.25:16:12:{DIGEST[1:]}",
        f"light_field:0.25:16:{DIGEST}",
        f"light_field:0.25:016:12:{DIGEST}",
        f"light_field:0.250:16:12:{DIGEST}",
        f"light_field:1.5:16:12:{DIGEST}",
        f"light_field:0.25:16:12:{DIGEST}:{DIGEST}",
        "tone:0.36:12",
        "tone:0.1",
        "tint:0.1:12:3",
        "tint:1.5:12",
        "hue_limited:25:12",
        "hue_limited:181.0:12",
        "hue_limited:25.0:0",
        "multitask",
        "barrier:0f0f",
        "multitask:0f0f",
        f"multitask:{DIGEST}:1",
    ],
)
def test_plans_refuse_what_no_mark_says_of_itself(mark):
    with pytest.raises(ValueError) as raised:
        Plan("losses", 0.1, mark)
    assert str(raised.value).startswith(
        "mark must be hue_rotation, user_lct:DIGEST, pixel_mark:NUMBER:SCALE:DIGEST, "
        "light_field:STRENGTH:CELLS:SLOTS:DIGEST, tone:STRENGTH:SLOTS, tint:STRENGTH:SLOTS, "
        "hue_limited:DEGREES:SLOTS, composed:MARK+MARK, multitask:DIGEST, barrier:DIGEST, "
        f"fingerprint:DIGEST or own:TEXT, as a mark's description says it; got {mark!r}"
    )


def test_marks_from_elsewhere_say_that_they_are():
    assert Plan("losses", 0.1, "own:tint:v2").mark == "own:tint:v2"
    for mark in ("own", "own:", "own::", "Own:tint"):
        with pytest.raises(ValueError, match="as a mark's description says it; got"):
            Plan("losses", 0.1, mark)


def test_a_near_name_is_suggested_and_a_right_one_is_not():
    with pytest.raises(ValueError, match=r"got 'hue_rotatoin'; did you mean 'hue_rotation'\?$"):
        Plan("losses", 0.1, "hue_rotatoin")
    with pytest.raises(ValueError, match=r"got 'user_lct:0'$"):
        Plan("losses", 0.1, "user_lct:0")


def test_a_mark_is_named_by_text_not_by_itself():
    with pytest.raises(TypeError, match="mark must be a plain str, got HueRotation"):
        Plan("losses", 0.1, HueRotation())
