"""The record: one order only, replayed from its file, and every change is seen."""

import dataclasses
import json

import numpy as np
import pytest

from anw_jax import keys, sequential, stats, verify
from anw_jax.errors import CommitmentError, RecordError
from anw_jax.sequential import record as records
from anw_jax.sequential.lines import chained

PLAN = keys.Plan("losses", 1e-3, mode="sequential")
KEY = keys.MarkKey(bytes(range(32)))
NUM_UNITS = 9
MANIFEST = keys.Manifest.of(
    np.random.default_rng(2).integers(0, 256, (NUM_UNITS, 2, 2, 3), np.uint8),
    keys.SignatureSpace(),
)
OWNER = keys.UnitTree(KEY, MANIFEST, PLAN)
SLOTS = keys.assign(KEY, MANIFEST, PLAN).slot_of_unit


def _row(unit: int, gap: float, slots=SLOTS) -> np.ndarray:
    row = np.random.default_rng(unit).normal(2.0, 0.3, 11)
    row[slots[unit] - 1] -= gap
    return row


def _audit(gap: float, path=None, plan=PLAN, num_steps=None) -> sequential.SequentialRecord:
    owner = keys.UnitTree(KEY, MANIFEST, plan)
    slots = keys.assign(KEY, MANIFEST, plan).slot_of_unit
    record = sequential.SequentialRecord(owner.root, MANIFEST, plan, path=path)
    while record.is_open and (num_steps is None or record.wealth.num_steps < num_steps):
        unit = record.next_unit
        record.write_row(unit, _row(unit, gap, slots))
        assert record.open_leaf(owner.open(unit)) == slots[unit]
    return record


def test_a_model_that_knows_the_photos_is_shown_before_all_are_asked():
    record = _audit(3.0)
    with pytest.raises(RecordError, match="not closed: an e-value is read at the stop"):
        record.result()
    assert record.close() == record.close() == "the level is reached"
    result = record.result()
    assert result.outcome == "shown"
    assert result.num_opened < NUM_UNITS
    order = keys.audit_order(OWNER.root, PLAN, MANIFEST)[: result.num_opened]
    scores = np.array([-_row(unit, 3.0) for unit in order])
    wealth = stats.mixture_log_wealth(scores, SLOTS[list(order)])
    assert result.log_e_value == pytest.approx(wealth[-1], abs=1e-9)
    assert result.log10_p == pytest.approx(-wealth.max() / np.log(10), abs=1e-9)
    assert "with probability at most" in result.sentence


def test_an_innocent_model_is_given_up_when_the_level_is_out_of_reach():
    plan = dataclasses.replace(PLAN, alpha=1e-8)
    owner = keys.UnitTree(KEY, MANIFEST, plan)
    record = sequential.SequentialRecord(owner.root, MANIFEST, plan)
    while record.is_open:
        unit = record.next_unit
        record.write_row(unit, np.ones(11))
        record.open_leaf(owner.open(unit))
    assert record.close() == "the level cannot be reached any more"
    # 11^8 > 1e8: reachable with 8 perfect bets left, not with 7
    assert record.result().num_opened == 2
    assert record.result().outcome == "not shown"


def test_all_asked_and_stopped_early():
    plan = dataclasses.replace(PLAN, alpha=0.9e-9)
    assert _audit(0.0, num_steps=2).close() == "stopped by the arbitrator"
    record = _audit(0.0, plan=plan)
    assert record.close() == "the level cannot be reached any more"


def test_the_order_of_work_is_enforced():
    record = sequential.SequentialRecord(OWNER.root, MANIFEST, PLAN)
    unit = record.next_unit
    with pytest.raises(RecordError, match="no leaf is due: write the next unit's row and bet"):
        record.open_leaf(OWNER.open(unit))
    other = (unit + 1) % NUM_UNITS
    with pytest.raises(RecordError, match=f"unit must be {unit}, the next one, got {other}"):
        record.write_row(other, np.ones(11))
    with pytest.raises(ValueError, match=r"losses must have shape \(11,\), got \(12,\)"):
        record.write_row(unit, np.ones(12))
    head = record.write_row(unit, np.ones(11))
    assert head == record.head
    with pytest.raises(RecordError, match=f"the leaf of unit {unit} must be opened first"):
        record.write_row(unit, np.ones(11))
    with pytest.raises(CommitmentError, match=f"opening must be of unit {unit}, got"):
        record.open_leaf(OWNER.open(other))
    num_lines = len(record.lines)
    lie = dataclasses.replace(OWNER.open(unit), slot=int(SLOTS[unit]) % 11 + 1)
    with pytest.raises(CommitmentError, match="does not open"):
        record.open_leaf(lie)
    assert len(record.lines) == num_lines  # a refused leaf changes nothing
    record.open_leaf(OWNER.open(unit))
    record.close()
    with pytest.raises(RecordError, match="no further row is taken: stopped by the arbitrator"):
        record.write_row(unit, np.ones(11))
    with pytest.raises(RecordError, match="no unit is left to query"):
        _ = record.next_unit


def test_an_owner_who_hides_a_losing_leaf_loses_the_stake():
    record = _audit(1.0, num_steps=3)
    before = record.wealth.p_value
    record.write_row(record.next_unit, _row(record.next_unit, 0.0))
    assert record.close() == "the owner did not open the leaf that was due"
    result = record.result()
    assert result.log_e_value == -np.inf
    assert result.p_value == before
    assert sequential.replay(record.lines, MANIFEST, PLAN) == result


def test_rows_without_usable_answers_count_as_constant():
    record = sequential.SequentialRecord(OWNER.root, MANIFEST, PLAN)
    row = np.ones(11)
    row[3], row[4] = np.nan, np.inf
    unit = record.next_unit
    record.write_row(unit, row)
    record.open_leaf(OWNER.open(unit))
    assert record.wealth.log_wealth == pytest.approx(0.0, abs=1e-12)
    record.close()
    assert sequential.replay(record.lines, MANIFEST, PLAN) == record.result()


def test_replay_gives_the_same_result():
    for gap in (3.0, 0.0):
        record = _audit(gap)
        record.close()
        assert sequential.replay(record.lines, MANIFEST, PLAN) == record.result()


def test_a_record_resumes_from_its_file_after_a_kill_anywhere(tmp_path):
    whole = _audit(3.0, tmp_path / "whole")
    whole.close()
    data = (tmp_path / "whole").read_bytes()
    assert data.decode() == "\n".join(whole.lines) + "\n"
    with pytest.raises(FileExistsError):
        sequential.SequentialRecord(OWNER.root, MANIFEST, PLAN, path=tmp_path / "whole")
    header = data.index(b"\n") + 1
    for cut in np.linspace(header, len(data), 7).astype(int):
        path = tmp_path / f"cut{cut}"
        path.write_bytes(data[:cut])
        record = sequential.resume(path, MANIFEST, PLAN)
        while record.is_open:
            unit = record.next_unit
            if record.lines[-1].count('"kind":"row"') == 0:
                record.write_row(unit, _row(unit, 3.0))
            record.open_leaf(OWNER.open(unit))
        record.close()
        assert path.read_bytes() == data


# --- A hostile file. ---


@pytest.fixture(scope="module")
def lines():
    record = _audit(3.0)
    record.close()
    return tuple(record.lines)


def _rechained(bodies) -> list[str]:
    """A forger who computes all hashes anew."""
    out, previous = [], ""
    for body in bodies:
        body = {k: v for k, v in body.items() if k not in ("hash", "previous")}
        out.append(chained(previous, body))
        previous = json.loads(out[-1])["hash"]
    return out


def test_any_single_change_breaks_the_chain(lines):
    for number in range(len(lines)):
        for lie in (
            lines[:number] + lines[number + 1 :],  # left out
            (*lines[:number], lines[number][:-3] + 'f"}', *lines[number + 1 :]),
            (*lines[:number], lines[number], *lines[number:]),  # twice
        ):
            with pytest.raises((RecordError, CommitmentError)):
                sequential.replay(list(lie), MANIFEST, PLAN)
    for bad in ([], ["nonsense"], ["3"], ["[]"]):
        with pytest.raises(RecordError, match=r"is empty|is not a line of a record"):
            sequential.replay(bad, MANIFEST, PLAN)


@pytest.mark.parametrize(
    ("number", "changes", "message"),
    [
        (1, {"bet": np.eye(11)[0].tolist()}, "line 2: the bet is not the declared bettor's"),
        (1, {"losses": [1.0] * 11}, "line 2: the bet is not the declared bettor's"),
        (1, {"row": "0" * 64}, "line 2: it differs from what the rules give"),
        (3, {"unit": 0, "step": 1}, "line 4: unit|line 4: the bet"),
        (2, {"slot": 3}, "line 3: it differs from what the rules give"),
        (2, {"kind": "row"}, "line 3: the leaf of|line 3: 'losses'|line 3"),
        (-1, {"because": "all units are asked"}, "which does not hold"),
        (-1, {"because": "stopped by the arbitrator"}, "which does not hold"),
        (-1, {"kind": "stop"}, "kind must be row, leaf or close, got 'stop'"),
    ],
)
def test_a_forger_who_rehashes_is_caught_by_the_rules(lines, number, changes, message):
    bodies = [json.loads(line) for line in lines]
    bodies[number].update(changes)
    with pytest.raises(RecordError, match=message):
        sequential.replay(_rechained(bodies), MANIFEST, PLAN)


def test_a_forger_cannot_open_another_slot_or_another_plan(lines):
    bodies = [json.loads(line) for line in lines]
    opening = bodies[2]["opening"]
    opening["slot"] = opening["slot"] % 11 + 1
    with pytest.raises(CommitmentError, match="does not open"):
        sequential.replay(_rechained(bodies), MANIFEST, PLAN)
    with pytest.raises(CommitmentError, match="line 1: the header is that of another plan"):
        sequential.replay(list(lines), MANIFEST, dataclasses.replace(PLAN, alpha=0.05))
    with pytest.raises(RecordError, match="must not follow the close"):
        sequential.replay(_rechained([*bodies_of(lines), {"kind": "close"}]), MANIFEST, PLAN)
    with pytest.raises(RecordError, match="not closed"):
        sequential.replay(list(lines[:-1]), MANIFEST, PLAN)


def bodies_of(lines):
    return [json.loads(line) for line in lines]


# --- Modes are not mixed. ---


def test_no_exact_test_on_a_sequential_plan():
    with pytest.raises(CommitmentError, match="no exact test is made on what was opened"):
        verify.decide(np.ones((NUM_UNITS, 12)), KEY, MANIFEST, PLAN, commitment=OWNER.root)


def test_plans_that_cannot_be_sequential_are_refused():
    with pytest.raises(ValueError, match=r"plan.mode must be 'sequential'"):
        sequential.SequentialRecord(OWNER.root, MANIFEST, keys.Plan("losses", 0.01))
    with pytest.raises(ValueError, match="statistic must be one of log_losses, losses, ranks"):
        dataclasses.replace(PLAN, statistic="centred")


def test_with_a_beacon_the_turned_slots_are_settled():
    plan, value = dataclasses.replace(PLAN, beacon="arbitrator:Jane"), bytes(range(32))
    owner = keys.UnitTree(KEY, MANIFEST, plan)
    turned = keys.assign(KEY, MANIFEST, plan, beacon=value).slot_of_unit
    record = sequential.SequentialRecord(owner.root, MANIFEST, plan, beacon=value)
    unit = record.next_unit
    record.write_row(unit, np.arange(11.0))
    assert record.open_leaf(owner.open(unit)) == turned[unit]
    record.close()
    assert sequential.replay(record.lines, MANIFEST, plan) == record.result()


def test_reasons_are_distinct():
    reasons = {
        records.REACHED,
        records.OUT_OF_REACH,
        records.ALL_ASKED,
        records.STOPPED,
        records.NOT_OPENED,
    }
    assert len(reasons) == 5


def test_a_record_is_replayed_against_the_commitment_that_was_public():
    """A record for another key is whole in itself; only the root tells."""
    later = keys.UnitTree(keys.MarkKey(bytes(32)), MANIFEST, PLAN)
    record = sequential.SequentialRecord(later.root, MANIFEST, PLAN)
    while record.is_open:
        unit = record.next_unit
        row = np.ones(11)
        row[later.open(unit).slot - 1] = 0.1
        record.write_row(unit, row)
        record.open_leaf(later.open(unit))
    record.close()
    same = sequential.replay(record.lines, MANIFEST, PLAN, commitment=later.root, beacon=b"")
    assert same.outcome == "shown"
    with pytest.raises(CommitmentError, match="line 1: the record is about the commitment"):
        sequential.replay(record.lines, MANIFEST, PLAN, commitment=OWNER.root)
    with pytest.raises(CommitmentError, match="line 1: the record has the beacon's value"):
        sequential.replay(record.lines, MANIFEST, PLAN, beacon=b"7")
