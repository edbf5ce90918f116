"""References of a plan that cannot be used for one suspect or owner: named, and counted."""

import json

import pytest

from anw_jax import audit
from anw_jax.errors import CaseError
from anw_jax.keys import MarkKey
from tests.audit.conftest import hand_over
from tests.audit.test_references import BEACON, VALUE, planned, planted, write_model

__all__ = ["planned"]  # the fixture

CONDITION = (
    "the reference {} of the plan was not left out for its results (it was not used: {})"
)
MISFIT = "reference 'base' must declare the num_classes of suspect 'wide', 4, got 3"


@pytest.fixture(autouse=True)
def _secret_keys(monkeypatch):
    """Keys of no experiment, whose verdicts have conditions; the same in every run."""

    def make(cls, seed, name=""):
        return cls(bytes([seed]) * 32)

    monkeypatch.setattr(MarkKey, "for_experiment", classmethod(make))


def declared(case_dir, *owners):
    audit.probe_case(audit.Case(case_dir))
    beacons = tuple((owner, VALUE) for owner in owners)
    return audit.declare(audit.Case(case_dir), audit.Options(beacons=beacons))


def test_one_suspect_that_a_reference_of_the_plan_does_not_fit(root, case_dir, planned):
    key = planted(root, case_dir, planned=planned, claim="each model")
    write_model(case_dir, root, "suspects", "wide", imprint=6.0, classes=4)
    body = declared(case_dir, "ann")
    assert body["references_left_out"] == {"base": {"wide": {"ann": MISFIT}}}
    blind = audit.seal_case(audit.Case(case_dir))
    assert list(blind["suspects"]["net"]["references"]) == ["base"]
    assert "references" not in blind["suspects"]["wide"]
    verdict = audit.judge_case(audit.Case(case_dir), {"ann": key})
    tests = verdict["tests"]["ann"]
    assert (tests["net"]["factor"], tests["wide"]["factor"]) == (1.0, 2.0)
    condition = CONDITION.format(planned[0], MISFIT)
    assert condition in tests["wide"]["conditions"]
    assert condition in tests["wide"]["text"]
    assert not any("left out" in text for text in tests["net"]["conditions"])
    again = audit.replay_case(audit.Case(case_dir), {"ann": key}, ask=0.2)
    assert (again.verdict, again.num_differing) == (verdict, 0)
    # Who decided it can be stated; the cost and the reason stay.
    file = case_dir / "statements.toml"
    head, tail = file.read_text().split(f"[references_left_out.{planned[0]}]")
    tail = tail.replace("chosen_blind = false", "chosen_blind = true")
    file.write_text(f"{head}[references_left_out.{planned[0]}]{tail}")
    wide = audit.judge_case(audit.Case(case_dir), {"ann": key})["tests"]["ann"]["wide"]
    assert condition not in wide["conditions"]
    assert f"of the plan was not used, which doubles p: {MISFIT}" in wide["text"]
    assert (wide["factor"], wide["log10_p"]) == (2.0, tests["wide"]["log10_p"])


def test_a_reference_of_one_owners_plan_that_is_too_young_for_another(root, case_dir, planned):
    keys = {"ann": planted(root, case_dir, planned=planned)}
    keys["bob"] = hand_over(
        root, case_dir, "bob", seed=2, beacon=BEACON, choices={"beacon": VALUE}
    )
    (case_dir / "statements.toml").write_text(
        """[owners.ann]
value_appeared = "2025-01-01"
[owners.bob]
value_appeared = "2025-01-01"
[references.base]
released = "2025-02-01"
released_from = "its web page"
"""
    )
    body = declared(case_dir, "ann", "bob")
    ((owner, why),) = body["references_left_out"]["base"]["net"].items()
    assert owner == "bob"
    assert "reference 'base' must be older than the beacon's value" in why
    blind = audit.seal_case(audit.Case(case_dir))
    assert list(blind["suspects"]["net"]["references"]["base"]["owners"]) == ["ann"]
    verdict = audit.judge_case(audit.Case(case_dir), keys)
    tests = {owner: verdict["tests"][owner]["net"] for owner in keys}
    assert [tests[owner]["factor"] for owner in ("ann", "bob")] == [1.0, 1.0]
    assert any("calibrated by reference 'base'" in line for line in tests["ann"]["stated"])
    assert not any("calibrated by" in line for line in tests["bob"]["stated"])
    line = f"reference 'base', of another owner's plan, was not used: {why}"
    assert line in tests["bob"]["stated"]
    assert verdict["case"]["references_left_out"]["left_out"] == body["references_left_out"]
    assert audit.replay_case(audit.Case(case_dir), keys).verdict == verdict


def test_a_reference_of_no_plan_is_never_left_out(root, case_dir):
    """Near lie: leaving it out where it does not fit would be a free choice."""
    planted(root, case_dir, claim="each model")
    write_model(case_dir, root, "suspects", "wide", classes=4)
    with pytest.raises(CaseError, match=MISFIT):
        declared(case_dir, "ann")


def test_the_reason_for_a_reference_that_is_not_in_the_case(root, case_dir, planned):
    key = planted(root, case_dir, imprint=6.0, planned=planned)
    (case_dir / "references" / "base.toml").unlink()
    declared(case_dir, "ann")
    audit.seal_case(audit.Case(case_dir))
    file = case_dir / "statements.toml"
    assert f"[references_left_out.{planned[0]}]" in file.read_text()
    file.write_text(file.read_text().replace('why = ""', 'why = "its weights were deleted"'))
    verdict = audit.judge_case(audit.Case(case_dir), {"ann": key})
    test = verdict["tests"]["ann"]["net"]
    assert CONDITION.format(planned[0], "its weights were deleted") in test["conditions"]
    assert test["factor"] == 2.0
    assert json.loads((case_dir / "verdict.json").read_text()) == verdict
    file.write_text(file.read_text().replace(planned[0], "0" * 64))
    with pytest.raises(CaseError, match="references_left_out_name must be"):
        audit.judge_case(audit.Case(case_dir), {"ann": key})
