"""Several suspects, several owners, unit by unit: from files to the verdict."""

import json
import math
import shutil

import numpy as np
import pytest

from anw_jax import audit, sequential
from anw_jax.audit.files import digest_of
from anw_jax.errors import CaseError, ChangedFileError, RecordError
from anw_jax.keys import UnitTree
from tests.audit.conftest import hand_over, write_suspect
from tests.audit.several import NAMES, declared_case, open_all, to_the_end

LEVEL = 1e-3 / 2


def verdict_of(case_dir):
    return audit.judge_record(audit.Case(case_dir), {})


@pytest.mark.parametrize("saving", [None, (3, 1)])
def test_two_suspects_one_guilty(root, case_dir, saving):
    keys = declared_case(root, case_dir, claim="each model", saving=saving)
    standing = to_the_end(root, case_dir, keys)
    guilty, other = standing.records
    assert (guilty.suspect, other.suspect) == NAMES
    assert guilty.closed_because == "the level is reached"
    assert other.closed_because == "the level cannot be reached any more"
    assert guilty.num_opened < other.num_opened
    body = verdict_of(case_dir)
    assert body["corrected"]["named"] == [["ann", "guilty"]]
    assert body["corrected"]["level"] == LEVEL == body["tests"]["ann"]["guilty"]["alpha"]
    assert body["tests"]["ann"]["guilty"]["p_value"] <= LEVEL
    assert body["tests"]["ann"]["other"]["outcome"] == "not shown"
    # No query about a unit that is settled for a suspect.
    assert body["queries"]["guilty"] <= 11 * guilty.num_opened
    assert body["queries"]["other"] <= 11 * other.num_opened
    log = (root / "ann_marked" / "openings.jsonl").read_text().splitlines()
    assert len(log) == other.num_opened
    entries = [json.loads(line) for line in log]
    assert {frozenset(entry["heads"]) for entry in entries} == {frozenset(NAMES)}


@pytest.mark.parametrize("claim", ["any model", "list of models"])
def test_claims_by_e_values_use_the_wealth_at_each_stop(root, case_dir, claim):
    keys = declared_case(root, case_dir, claim=claim)
    to_the_end(root, case_dir, keys)
    body = verdict_of(case_dir)
    tests = body["tests"]["ann"]
    assert tests["guilty"]["log_e_value"] >= math.log(1 / LEVEL)
    assert all(test["log_e_value"] == test["log_wealth"] for test in tests.values())
    assert body["corrected"]["outcome"] == "shown"
    if claim == "any model":
        mean = sum(math.exp(test["log_e_value"]) for test in tests.values()) / 2
        assert math.isclose(body["corrected"]["p_values"]["ann"], 1 / mean, rel_tol=1e-9)
        assert body["corrected"]["named"] == [["ann"]]
    else:
        assert body["corrected"]["named"] == [["ann", "guilty"]]


def test_two_owners_of_one_model(root, case_dir):
    keys = declared_case(root, case_dir, owners=("ann", "bob"), suspects=("guilty",))
    first = audit.run_rounds(audit.Case(case_dir))
    assert [waits.owner for waits in first.waiting] == ["ann", "bob"]
    assert len({waits.request for waits in first.waiting}) == 2
    assert (case_dir / "records" / "bob.jsonl").exists()
    # Only bob answers: ann is waited for, and bob goes on.
    open_all(root, first.waiting[1:], keys)
    second = audit.run_rounds(audit.Case(case_dir))
    assert [record.num_opened for record in second.records] == [0, 1]
    standing = to_the_end(root, case_dir, keys)
    assert standing.num_units == 24
    body = verdict_of(case_dir)
    assert body["corrected"]["level"] == LEVEL
    # The model met ann's photos and not bob's.
    assert body["corrected"]["named"] == [["ann", "guilty"]]
    assert body["corrected"]["correction"] == "Bonferroni over 2 tests"


PARTLY_BLIND = """
def partly(batch):
    logits = answer(batch)
    logits[batch[:, 4, 4].mean(1) > 0.5] = np.nan
    return logits
"""


def test_a_model_without_answers_gets_constant_rows_and_holds_nobody_up(root, case_dir):
    keys = declared_case(root, case_dir, claim="each model")
    code = case_dir / "suspects" / "other_code" / "model.py"
    code.write_text(code.read_text() + PARTLY_BLIND)
    toml = case_dir / "suspects" / "other.toml"
    toml.write_text(toml.read_text().replace(":answer", ":partly"))
    (case_dir / "declared.json").unlink()
    audit.declare(audit.Case(case_dir), audit.Options(), despite_probe=True)
    to_the_end(root, case_dir, keys)
    record = (case_dir / "records" / "ann" / "other.jsonl").read_text().splitlines()
    rows = [body for body in map(json.loads, record) if body["kind"] == "row"]
    blind = [row for row in rows if None in row["losses"]]
    assert 0 < len(blind) < len(rows)
    assert all(max(row["bet"]) - min(row["bet"]) < 1e-12 for row in blind)
    assert verdict_of(case_dir)["corrected"]["named"] == [["ann", "guilty"]]


def test_an_owner_who_does_not_open_loses_all_stakes(root, case_dir):
    keys = declared_case(root, case_dir, claim="any model")
    to_the_end(root, case_dir, keys, num_rounds=2)
    audit.run_rounds(audit.Case(case_dir))
    standing = audit.run_rounds(audit.Case(case_dir), stop=True)
    assert {r.closed_because for r in standing.records} == {
        "the owner did not open the leaf that was due"
    }
    body = verdict_of(case_dir)
    assert [test["log_e_value"] for test in body["tests"]["ann"].values()] == [None, None]
    assert body["corrected"]["outcome"] == "not shown"


def test_a_stop_by_hand_leaves_the_running_p_and_no_e_value(root, case_dir):
    keys = declared_case(root, case_dir, claim="list of models")
    to_the_end(root, case_dir, keys, num_rounds=2)
    # Stopped before the next row is written.
    for name in NAMES:
        path = case_dir / "records" / "ann" / f"{name}.jsonl"
        lines = path.read_text().splitlines(keepends=True)
        if json.loads(lines[-1])["kind"] == "row":
            path.write_text("".join(lines[:-1]))
    audit.run_rounds(audit.Case(case_dir), stop=True)
    tests = verdict_of(case_dir)["tests"]["ann"]
    assert tests["guilty"]["because"] == "stopped by the arbitrator"
    assert tests["guilty"]["log_wealth"] > 0
    assert tests["guilty"]["p_value"] < 1
    assert tests["guilty"]["log_e_value"] is None


def test_the_level_is_declared_and_stands_in_every_header(root, case_dir):
    declared_case(root, case_dir, owners=("ann", "bob"), claim="list of models")
    declared = json.loads((case_dir / "declared.json").read_text())
    assert declared["sequential"] == {"num_tests": 4, "level": 1e-3 / 4}
    audit.run_rounds(audit.Case(case_dir))
    for owner in ("ann", "bob"):
        for name in NAMES:
            path = case_dir / "records" / owner / f"{name}.jsonl"
            joint = json.loads(path.read_text().splitlines()[0])["joint"]
            assert joint["level"] == 1e-3 / 4
            assert (joint["suspect"], joint["suspects"]) == (name, list(NAMES))
    shutil.rmtree(case_dir / "records")
    (case_dir / "declared.json").write_text(json.dumps(declared | {"sequential": {}}))
    with pytest.raises(
        ChangedFileError, match=r"does not declare a level of at most 0.00025 for each"
    ):
        audit.run_rounds(audit.Case(case_dir))


def test_a_record_of_another_case_or_suspect_is_not_taken_up(root, case_dir):
    declared_case(root, case_dir, claim="each model")
    audit.run_rounds(audit.Case(case_dir))
    folder = case_dir / "records" / "ann"
    guilty, other = (folder / f"{name}.jsonl" for name in NAMES)
    texts = guilty.read_text(), other.read_text()
    guilty.write_text(texts[1])
    with pytest.raises(RecordError, match=r"has the header of 'other'"):
        audit.run_rounds(audit.Case(case_dir))
    guilty.write_text(texts[0])
    other.unlink()  # its row was written, and the request names it
    audit.run_rounds(audit.Case(case_dir))
    assert other.read_text() == texts[1]  # from the answers on disk, byte for byte


def test_a_record_lost_after_leaves_were_opened_is_not_begun_anew(root, case_dir):
    keys = declared_case(root, case_dir, claim="each model")
    to_the_end(root, case_dir, keys, num_rounds=1)
    (case_dir / "records" / "ann" / "other.jsonl").unlink()
    with pytest.raises(RecordError, match="opens leaf 1 for other heads than the records have"):
        audit.run_rounds(audit.Case(case_dir))


def test_swapped_records_and_edited_rows_are_seen_by_the_verdict(root, case_dir):
    keys = declared_case(root, case_dir, claim="each model")
    to_the_end(root, case_dir, keys)
    folder = case_dir / "records" / "ann"
    first = folder / "guilty.jsonl"
    text = first.read_text()
    first.write_text((folder / "other.jsonl").read_text())
    with pytest.raises(ChangedFileError, match=r"was changed after closed.json named it"):
        verdict_of(case_dir)
    # An arbitrator who writes closed.json anew is seen by the replay.
    closed = json.loads((case_dir / "closed.json").read_text())
    records = closed["records"]["ann"]
    records["guilty"]["record"] = records["other"]["record"]
    (case_dir / "closed.json").write_text(json.dumps(closed))
    with pytest.raises(RecordError, match="record of 'guilty' has the header of 'other'"):
        verdict_of(case_dir)
    first.write_text(text)
    for lie in ({"records": {}}, {"records": {"ann": {"guilty": 3}}}, {"suspects": None}):
        (case_dir / "closed.json").write_text(json.dumps(closed | lie))
        with pytest.raises(CaseError, match=r"closed.json is damaged"):
            verdict_of(case_dir)


@pytest.mark.parametrize("fields", [{"level": 1e-3}, {"about": "d" * 64}])
def test_records_that_agree_on_another_level_or_declaration(root, case_dir, fields):
    """An arbitrator who leaves the correction out of all records, leaves opened and all."""
    keys = declared_case(root, case_dir, claim="each model")
    case = audit.Case(case_dir)
    published = case.owners["ann"].published
    tree = UnitTree(keys["ann"], published.manifest, published.plan)
    about = fields.get("about", case.digest("declared.json"))
    folder, closed = case_dir / "records" / "ann", {}
    folder.mkdir(parents=True)
    records = {
        name: sequential.SequentialRecord(
            published.commitment,
            published.manifest,
            published.plan,
            path=folder / f"{name}.jsonl",
            group=sequential.RecordGroup(fields.get("level", LEVEL), name, NAMES),
            about=about,
        )
        for name in NAMES
    }
    together = sequential.Lockstep(records)
    while together.is_open:
        opening = tree.open(together.next_unit)
        for name in together.rows_due:
            together.write_row(name, np.where(np.arange(1, 12) == opening.slot, 0.0, 9.0))
        together.open_leaf(opening)
    for name in NAMES:
        closed[name] = {"record": digest_of(folder / f"{name}.jsonl")}
    body = {
        "format": "anw_jax closed sequential audit, version 2",
        "previous": case.digest("declared.json"),
        "records": {"ann": closed},
        "suspects": {name: {"num_queries": 1} for name in NAMES},
    }
    (case_dir / "closed.json").write_text(json.dumps(body))
    seen = {
        "level": (RecordError, "commitment, beacon, level or declaration differ"),
        "about": (ChangedFileError, "is the record of another declaration"),
    }
    error, message = seen[next(iter(fields))]
    with pytest.raises(error, match=message):
        verdict_of(case_dir)


def test_a_closed_case_of_the_first_version_is_judged(root, case_dir):
    """Cases that were closed before a case could have several tests."""
    keys = declared_case(root, case_dir, suspects=("guilty",))
    to_the_end(root, case_dir, keys)
    now = verdict_of(case_dir)
    closed = json.loads((case_dir / "closed.json").read_text())
    one, asked = closed["records"]["ann"]["guilty"], closed["suspects"]["guilty"]
    before = {"previous": closed["previous"], **one, "suspect": "guilty", **asked}
    before["format"] = "anw_jax closed sequential audit, version 1"
    (case_dir / "closed.json").write_text(json.dumps(before))
    declared = json.loads((case_dir / "declared.json").read_text())
    assert declared["sequential"] == {"num_tests": 1, "level": 1e-3}
    lines = (case_dir / "records" / "ann.jsonl").read_text().splitlines()
    assert "joint" not in json.loads(lines[0])
    now["tests"]["ann"]["guilty"]["unusable"] = None  # was not counted then
    assert verdict_of(case_dir)["tests"] == now["tests"]
    published = audit.Case(case_dir).owners["ann"].published
    result = sequential.replay(lines, published.manifest, published.plan)
    assert now["tests"]["ann"]["guilty"]["p_value"] == result.p_value


def test_too_few_units_for_the_corrected_level_are_inconclusive(root, case_dir):
    # Two photos reach 1/121: enough for one test at 1 %, not for two.
    key = hand_over(root, case_dir, mode="sequential", alpha=0.01, claim="each model", number=2)
    for name in NAMES:
        write_suspect(case_dir, root / "ann_marked" / "published", name)
    audit.declare(audit.Case(case_dir), audit.Options(), despite_probe=True)
    standing = to_the_end(root, case_dir, {"ann": key})
    assert standing.num_opened == 0
    body = verdict_of(case_dir)
    assert body["corrected"]["outcome"] == "inconclusive"
    assert "above the level 0.005" in body["tests"]["ann"]["guilty"]["reason"]
