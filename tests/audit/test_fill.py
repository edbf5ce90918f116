"""What a shifted view shows outside the photo: fixed in the plan, declared, asked, replayed."""

import json

import numpy as np
import pytest

from anw_jax import audit, suspects
from anw_jax.audit.estimate import estimate
from anw_jax.errors import CaseError, ChangedFileError
from anw_jax.keys import AccessRule, Plan, augmentation_seed
from tests.audit.conftest import hand_over, write_suspect

LIGHT = f"light_field:0.29:16:12:{'0f' * 32}"
VIEWS = {"augmentations": (3,), "access": ("logits",)}
WORDS = "logits, true labels, 3 queries per image and slot"


def declared(case_dir):
    case = audit.Case(case_dir)
    audit.declare(case, audit.Options(), despite_probe=True)
    return case


@pytest.mark.parametrize(
    ("mark", "fill"),
    [
        ("hue_rotation", "reflect"),
        (f"user_lct:{'0f' * 32}", "reflect"),
        (LIGHT, "black"),
        ("tone:0.25:12", "black"),
        ("tint:0.5:12", "black"),
        ("hue_limited:30.0:12", "black"),
    ],
)
def test_the_fill_of_new_plans(mark, fill):
    plan = audit.Choices().plan(mark, "", 1)
    several = [rule for rule in plan.rules if rule.views > 1]
    assert {rule.fill for rule in several} == {fill}
    assert [rule.kind for rule in several] == ["logits"] * (mark == LIGHT) + ["label"]
    assert {rule.fill for rule in plan.rules if rule.views == 1} == {"reflect"}
    menu = audit.Choices(augmentations=(1, 4)).plan(mark, "", 1)
    assert {(rule.views, rule.fill) for rule in menu.rules} == {(1, "reflect"), (4, fill)}


@pytest.mark.parametrize("fill", ["reflect", "black"])
def test_options_repeat_a_commitment_with_either_fill(fill):
    """Plans under "light" that were committed to before there was a choice reflect."""
    kinds = {"logits": 16, "probabilities": 1, "top_k": 1, "label": 16}
    rules = [
        AccessRule(k, views=n, fill=fill if n > 1 else "reflect") for k, n in kinds.items()
    ]
    older = Plan("log_losses", 1e-3, LIGHT, rules=tuple(rules))
    audit.Choices(fit="squash").check_same(older, "per_image", 12)
    with pytest.raises(CaseError, match="options for access differ"):
        audit.Choices(augmentations=(4,)).check_same(older, "per_image", 12)


@pytest.mark.parametrize(
    ("mark", "fill", "words"),
    [("tone", "black", ", shifts filled with black"), ("hue", "reflect", "")],
)
def test_a_case_is_asked_as_the_plan_says(root, case_dir, mark, fill, words):
    key = hand_over(root, case_dir, choices={**VIEWS, "mark": mark})
    write_suspect(case_dir, root / "ann_marked" / "published")
    case = declared(case_dir)
    said = json.loads((case_dir / "declared.json").read_text())["suspects"]["net"]
    assert said["access_text"] == WORDS + words
    black = {"fill": "black"} if fill == "black" else {}
    assert said["access"]["augmentation"] == {
        "max_shift": 0.125, "mirror": True, "noise_levels": 8, **black,
    }  # fmt: skip
    assert said["rule"].get("fill") == black.get("fill")
    audit.seal_case(case)
    with np.load(case_dir / "tables" / "net.npz") as stored:
        table = stored["ann"]
    for asked in ("reflect", "black"):
        change = suspects.Augmentation(fill=asked)
        twin = as_asked(case, suspects.Access(num_augmentations=3, augmentation=change))
        assert np.array_equal(twin[:, 1:], table[:, 1:]) == (asked == fill)
    verdict = audit.judge_case(audit.Case(case_dir), {"ann": key})
    assert verdict["case"]["suspects"]["net"]["access"] == WORDS + words
    audit.replay_case(audit.Case(case_dir), {"ann": key}, ask=0.2)


def as_asked(case, access):
    """The table of the case's one owner and suspect, without the audit."""
    owner, published = case.owners["ann"], case.owners["ann"].published
    return suspects.ask(
        case.suspects["net"].open(),
        np.stack(list(owner.originals.images)),
        owner.originals.labels,
        published.mark,
        published.manifest.space,
        access=access,
        seed=augmentation_seed(published.commitment, published.plan),
    )


@pytest.mark.parametrize("field", ["rule", "access", "both"])
def test_a_fill_changed_after_the_declaration_is_refused(root, case_dir, field):
    hand_over(root, case_dir, choices={**VIEWS, "mark": "tone"})
    write_suspect(case_dir, None)
    case, file = declared(case_dir), case_dir / "declared.json"
    body = json.loads(file.read_text())
    said = body["suspects"]["net"]
    if field in ("rule", "both"):
        del said["rule"]["fill"]
    if field in ("access", "both"):
        del said["access"]["augmentation"]["fill"]
    file.write_text(json.dumps(body))
    with pytest.raises(ChangedFileError, match=r"declares .*for suspect 'net'"):
        audit.seal_case(audit.Case(case.path))


def test_owners_with_different_fills_need_cases_of_their_own(root, case_dir):
    hand_over(root, case_dir, "ann", 1, choices={**VIEWS, "mark": "tone"})
    hand_over(root, case_dir, "bob", 2, choices={**VIEWS, "mark": "hue"})
    write_suspect(case_dir, None)
    with pytest.raises(CaseError, match="'ann' and 'bob' have different rules"):
        declared(case_dir)


def test_an_unknown_fill_in_a_plan_is_refused(root, case_dir):
    hand_over(root, case_dir, choices={**VIEWS, "mark": "tone"})
    file = case_dir / "owners" / "ann" / "commitment.json"
    file.write_text(file.read_text().replace('"black"', '"white"'))
    write_suspect(case_dir, None)
    with pytest.raises(CaseError, match="fill must be one of reflect, black; got 'white'"):
        declared(case_dir)


@pytest.mark.parametrize(("mark", "fill"), [("hue", "reflect"), ("tone", "black")])
def test_an_estimate_says_how_views_are_filled(mark, fill):
    options = {"mark": mark, "effect": 3.0, "alpha": 0.01, "mode": "sequential"}
    assert estimate(**options, augmentations=2)["fill"] == fill
    assert "fill" not in estimate(**options)
