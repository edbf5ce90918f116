"""Suspects without classes in a case: no labels, a rule of their own, in both modes."""

import json

import pytest

from anw_jax import audit
from anw_jax.audit import checks
from anw_jax.audit.conditions import (
    _LABELS_SEEN,
    _LOSS_FIXED_BLIND,
    CaseBasis,
)
from anw_jax.errors import CaseError, ChangedFileError
from tests.audit.conftest import MEMORY, NUM_PHOTOS, hand_over, write_photos, write_suspect
from tests.audit.test_rounds import to_the_end

# The same memory, as a loss.
OWN_LOSS = (
    MEMORY
    + '''

def error(batch):
    """An error for each picture, small where one was met."""
    return np.maximum(2.5 - answer(batch)[:, 0] / 4, 0.05)
'''
)


def write_generator(case_dir, published, name="gan"):
    write_suspect(case_dir, published, name)
    (case_dir / "suspects" / f"{name}_code" / "model.py").write_text(OWN_LOSS)
    (case_dir / "suspects" / f"{name}.toml").write_text(
        f'kind = "callable"\nfunction = "{name}_code/model.py:error"\n\n'
        '[declaration]\nanswer = "error"\n'
    )


def declared(case_dir, **options):
    report = audit.probe_case(audit.Case(case_dir))
    assert all(suspect["is_fit"] for suspect in report["suspects"].values())
    audit.declare(audit.Case(case_dir), audit.Options(**options))
    return audit.Case(case_dir)


def without_labels(case_dir):
    (case_dir / "owners" / "ann" / "labels.csv").unlink()


@pytest.mark.parametrize("is_planted", [True, False])
def test_a_sealed_case_without_labels(root, case_dir, is_planted):
    key = hand_over(root, case_dir)
    without_labels(case_dir)
    write_photos(root / "others", seed=99)
    write_generator(case_dir, root / ("ann_marked/published" if is_planted else "others"))
    blind = audit.seal_case(declared(case_dir))
    assert blind["suspects"]["gan"]["num_queries"] == NUM_PHOTOS * 11
    body = json.loads((case_dir / "declared.json").read_text())
    assert body["owners"]["ann"]["labels_by"] == checks.NOBODY
    assert body["owners"]["ann"]["labels_sha256"] == ""
    verdict = audit.judge_case(audit.Case(case_dir), {"ann": key})
    test = verdict["tests"]["ann"]["gan"]
    assert test["statistic"] == "bounded_log_errors"
    assert test["outcome"] == ("shown" if is_planted else "not shown")
    assert (test["p_value"] < 1e-9) == is_planted
    again = audit.replay_case(audit.Case(case_dir), {"ann": key}, ask=1.0)
    assert (again.num_asked, again.num_differing) == (NUM_PHOTOS, 0)


def test_a_classifier_beside_it_uses_the_labels(root, case_dir):
    key = hand_over(root, case_dir, claim="each model")
    for write, name in ((write_suspect, "net"), (write_generator, "gan")):
        write(case_dir, root / "ann_marked" / "published", name)
    case = declared(case_dir)
    body = json.loads((case_dir / "declared.json").read_text())
    assert body["owners"]["ann"]["labels_by"] == "owner"
    audit.seal_case(case)
    tests = audit.judge_case(audit.Case(case_dir), {"ann": key})["tests"]["ann"]
    assert {name: test["statistic"] for name, test in tests.items()} == {
        "net": "log_losses",
        "gan": "bounded_log_errors",
    }
    assert {test["outcome"] for test in tests.values()} == {"shown"}
    basis = CaseBasis(audit.Case(case_dir))
    for name, has_labels in (("net", True), ("gan", False)):
        open_points = basis.of("ann", name, is_compared=True).conditions
        assert (_LABELS_SEEN in open_points) == has_labels


def test_a_commitment_without_a_rule_for_errors_is_refused(root, case_dir):
    hand_over(root, case_dir, choices={"access": ("logits",)})
    write_generator(case_dir, root / "ann_marked" / "published")
    audit.probe_case(audit.Case(case_dir))
    with pytest.raises(
        CaseError, match="'gan' answers with error, and the plan has rules only"
    ):
        audit.declare(audit.Case(case_dir), audit.Options())


def test_a_kind_of_access_that_the_suspect_does_not_offer(root, case_dir):
    hand_over(root, case_dir, choices={"access": ("error",)})
    write_suspect(case_dir, root / "ann_marked" / "published")
    audit.probe_case(audit.Case(case_dir))
    with pytest.raises(
        CaseError, match="answers with logits, and the plan has rules only for er"
    ):
        audit.declare(audit.Case(case_dir), audit.Options())


def test_an_access_that_the_plan_does_not_leave_open(root, case_dir):
    hand_over(root, case_dir)
    write_generator(case_dir, root / "ann_marked" / "published")
    audit.probe_case(audit.Case(case_dir))
    with pytest.raises(CaseError, match="does not leave kind 'logits' open"):
        audit.declare(audit.Case(case_dir), audit.Options(access="logits"))


def test_the_source_of_labels_cannot_be_changed_afterwards(root, case_dir):
    hand_over(root, case_dir)
    write_generator(case_dir, root / "ann_marked" / "published")
    declared(case_dir)
    file = case_dir / "declared.json"
    file.write_text(file.read_text().replace('"labels_by": "nobody"', '"labels_by": "owner"'))
    with pytest.raises(ChangedFileError):
        audit.seal_case(audit.Case(case_dir))


@pytest.mark.parametrize("source", ["owner", "model", "arbitrator"])
def test_a_source_of_labels_that_nobody_needs_ends_in_a_verdict(root, case_dir, source):
    """A plan of version 2 refuses another source; its own is accepted, and never used."""
    key = hand_over(root, case_dir)
    write_generator(case_dir, root / "ann_marked" / "published")
    if source != "owner":
        with pytest.raises(CaseError, match=f"does not leave labels '{source}' open"):
            declared(case_dir, label_source=source)
        return
    case = declared(case_dir, label_source=source)
    body = json.loads((case_dir / "declared.json").read_text())
    assert body["owners"]["ann"]["labels_by"] == checks.NOBODY
    audit.seal_case(case)
    verdict = audit.judge_case(audit.Case(case_dir), {"ann": key})
    assert verdict["tests"]["ann"]["gan"]["outcome"] == "shown"


@pytest.mark.parametrize("is_stated", [False, True])
def test_who_fixed_a_loss_is_stated_or_a_condition(root, case_dir, is_stated):
    """Of many seeds, steps and losses, whoever knows the hues could declare the best."""
    key = hand_over(root, case_dir, claim="each model")
    write_suspect(case_dir, root / "ann_marked" / "published")
    write_generator(case_dir, root / "ann_marked" / "published")
    audit.seal_case(declared(case_dir))
    if is_stated:
        file = case_dir / "statements.toml"
        file.write_text(
            file.read_text().replace("loss_fixed_blind = false", "loss_fixed_blind = true")
        )
    verdict = audit.judge_case(audit.Case(case_dir), {"ann": key})
    test = verdict["tests"]["ann"]["gan"]
    basis = CaseBasis(audit.Case(case_dir))
    for name, is_open in (("gan", not is_stated), ("net", False)):
        conditions = basis.of("ann", name, is_compared=True).conditions
        assert (f"{_LOSS_FIXED_BLIND} (nobody stated that)" in conditions) == is_open
    assert any(_LOSS_FIXED_BLIND in line for line in test["stated"]) == is_stated
    said = verdict["case"]["suspects"]["gan"]["stated"]
    assert said.get("loss_fixed_blind") == (True if is_stated else None)
    other = verdict["tests"]["ann"]["net"]["stated"]
    assert not any(_LOSS_FIXED_BLIND in line for line in other)
    assert audit.replay_case(audit.Case(case_dir), {"ann": key}).verdict == verdict


def test_saved_queries_and_views(root, case_dir):
    key = hand_over(
        root, case_dir, choices={"augmentations": (2,), "save_queries": (2,), "best": 1}
    )
    without_labels(case_dir)
    write_generator(case_dir, root / "ann_marked" / "published")
    blind = audit.seal_case(declared(case_dir))
    assert blind["suspects"]["gan"]["num_queries"] < NUM_PHOTOS * 22
    verdict = audit.judge_case(audit.Case(case_dir), {"ann": key})
    assert verdict["tests"]["ann"]["gan"]["outcome"] == "shown"


def test_a_sequential_record_has_one_statistic(root, case_dir):
    key = hand_over(root, case_dir, mode="sequential", statistic="log_errors")
    without_labels(case_dir)
    write_generator(case_dir, root / "ann_marked" / "published")
    declared(case_dir)
    rule = json.loads((case_dir / "declared.json").read_text())["suspects"]["gan"]["rule"]
    assert (rule["kind"], rule["statistic"]) == ("error", "log_errors")
    assert to_the_end(root, case_dir, key).closed_because == "the level is reached"
    verdict = audit.judge_record(audit.Case(case_dir), {})
    assert verdict["tests"]["ann"]["gan"]["outcome"] == "shown"


def test_the_effect_of_a_mark_that_was_not_tried_in_generators_is_not_measured_yet():
    assert (
        audit.estimate(access="error", mark="tint")["reason"]
        == "not yet measured for error and the mark tint: give --effect"
    )
    assert audit.estimate(access="error", effect=2.0)["num_units"] > 0
