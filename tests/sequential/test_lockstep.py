"""All suspects side by side: each by its own rows, and no row after its leaf."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax import keys, sequential, stats
from anw_jax.errors import CommitmentError, RecordError
from anw_jax.sequential.lines import heads_digest
from tests.sequential.lockstep_cases import (
    LEVEL,
    MANIFEST,
    NAMES,
    NUM_UNITS,
    OWNER,
    PLAN,
    SLOTS,
    answers,
    begin,
    bodies,
    go_on,
    header,
    lines_of,
    noise,
    rechained,
)

ORDER = list(keys.audit_order(OWNER.root, PLAN, MANIFEST))


def stop_of(rows, level):
    """The naive twin: one suspect alone, its wealth by the closed form, its own first stop."""
    wealth = stats.mixture_log_wealth(-np.array(rows), SLOTS[ORDER])
    for step in range(NUM_UNITS + 1):
        now = 0.0 if step == 0 else wealth[step - 1]
        if now >= -math.log(level):
            return step, now, "the level is reached"
        if step == NUM_UNITS:
            return step, now, "all units are asked"
        if now + (NUM_UNITS - step) * math.log(11) < -math.log(level):
            return step, now, "the level cannot be reached any more"
    raise AssertionError


@settings(max_examples=12, derandomize=True, deadline=None)
@given(st.lists(st.floats(0, 2), min_size=1, max_size=4), st.sampled_from([1e-2, 1e-3, 1e-5]))
def test_each_record_is_what_it_would_be_alone(gaps, level):
    names = tuple(f"net{number}" for number in range(len(gaps)))

    def rows(name, unit):
        row = noise(unit, seed=int(name[3:]))
        row[SLOTS[unit] - 1] -= gaps[int(name[3:])]
        return row

    together = go_on(begin(names, level=level), rows)
    for name, record in together.records.items():
        step, wealth, why = stop_of([rows(name, unit) for unit in ORDER], level)
        assert (len(record.leaves), record.closed_because) == (step, why)
        assert record.wealth.log_wealth == pytest.approx(wealth, abs=1e-9)
    results = sequential.replay_together(lines_of(together), MANIFEST, PLAN)
    assert results == {name: record.result() for name, record in together.records.items()}


def gives_away_the_next_slot(unit):
    """A guilty model may answer one photo with the slot of a photo that comes later."""
    place = ORDER.index(unit)
    return np.where(np.arange(1, 12) == SLOTS[ORDER[(place + 1) % NUM_UNITS]], 0.0, 9.0)


@pytest.mark.parametrize(
    "others", [gives_away_the_next_slot, lambda unit: np.full(11, np.nan), noise]
)
def test_what_one_answers_moves_nothing_of_another(others):
    def rows(name, unit):
        return answers(name, unit) if name == "innocent" else others(unit)

    usual = go_on(begin()).records["innocent"]
    record = go_on(begin(), rows).records["innocent"]
    without = ("hash", "previous", "heads")
    assert bodies(record.lines, without) == bodies(usual.lines, without)
    assert record.leaves != usual.leaves  # the heads of the others are bound in nevertheless


def test_a_record_that_is_through_is_frozen_and_the_others_go_on():
    together = go_on(begin())
    guilty, innocent = together.records["guilty"], together.records["innocent"]
    assert guilty.closed_because == "the level is reached"
    assert len(guilty.leaves) < len(innocent.leaves)
    assert guilty.result().alpha == LEVEL
    assert guilty.wealth.p_value <= LEVEL
    assert not together.is_open
    with pytest.raises(RecordError, match="no unit is left to query: all records are stopped"):
        _ = together.next_unit


def test_the_order_of_work_is_enforced():
    together = begin()
    unit = together.next_unit
    assert together.rows_due == list(NAMES)
    together.write_row("guilty", noise(unit))
    with pytest.raises(RecordError, match=r"^rows are due first: innocent$"):
        together.open_leaf(OWNER.open(unit))
    with pytest.raises(RecordError, match=r"^no row of 'guilty' is due$"):
        together.write_row("guilty", noise(unit))
    with pytest.raises(RecordError, match=r"^no row of 'nobody' is due$"):
        together.write_row("nobody", noise(unit))
    together.write_row("innocent", noise(unit))
    before = lines_of(together)
    with pytest.raises(CommitmentError):
        together.open_leaf(OWNER.open((unit + 1) % NUM_UNITS))
    assert lines_of(together) == before  # a refused leaf changes no record
    assert together.open_leaf(OWNER.open(unit)) == SLOTS[unit]


def test_a_stop_by_hand_ends_all_at_one_unit():
    together = go_on(begin(), lambda name, unit: noise(unit), num_leaves=2)
    assert set(together.close().values()) == {"stopped by the arbitrator"}
    assert sequential.replay_together(lines_of(together), MANIFEST, PLAN)
    together = go_on(begin(), lambda name, unit: noise(unit), num_leaves=2)
    together.write_row("guilty", noise(together.next_unit))
    assert together.close() == {
        "guilty": "the owner did not open the leaf that was due",
        "innocent": "stopped by the arbitrator",
    }
    results = sequential.replay_together(lines_of(together), MANIFEST, PLAN)
    assert results["guilty"].log_e_value == -math.inf


def test_a_kill_between_any_two_writes_changes_no_byte(tmp_path, monkeypatch):
    done, write = [], sequential.SequentialRecord._write

    def noting(record, body):
        head = write(record, body)
        done.append((record.group.suspect, record.lines[-1] + "\n"))
        return head

    monkeypatch.setattr(sequential.SequentialRecord, "_write", noting)
    end = lines_of(go_on(begin()))
    monkeypatch.undo()
    assert len(done) == sum(map(len, end.values()))
    for number in range(len(NAMES), len(done) + 1):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        for name, line in done[:number]:
            with (folder / f"{name}.jsonl").open("a") as file:
                file.write(line)
        if number < len(done):  # and a piece of the next line
            name, line = done[number]
            with (folder / f"{name}.jsonl").open("a") as file:
                file.write(line[: 17 * (number % 3)])
        resumed = sequential.Lockstep(
            {n: sequential.resume(folder / f"{n}.jsonl", MANIFEST, PLAN) for n in NAMES}
        )
        resumed.recover()
        go_on(resumed)
        assert lines_of(resumed) == end
        for name in NAMES:
            text = (folder / f"{name}.jsonl").read_text()
            assert text == "\n".join(end[name]) + "\n"


def test_a_kill_while_all_are_stopped_by_hand_stops_all(tmp_path):
    together = go_on(begin(folder=tmp_path), lambda name, unit: noise(unit), num_leaves=2)
    together.records["guilty"].close()
    resumed = sequential.Lockstep(
        {n: sequential.resume(tmp_path / f"{n}.jsonl", MANIFEST, PLAN) for n in NAMES}
    )
    resumed.recover()
    assert not resumed.is_open
    assert resumed.records["innocent"].closed_because == "stopped by the arbitrator"


def test_a_leaf_that_one_record_has_settles_all_before_a_stop_by_hand(tmp_path):
    """Else the arbitrator could keep a leaf where it helps and drop it where it does not."""
    together = go_on(begin(folder=tmp_path), lambda name, unit: noise(unit), num_leaves=1)
    unit = together.next_unit
    for name in NAMES:
        together.write_row(name, noise(unit))
    digest = heads_digest(together.heads())
    together.records["innocent"].open_leaf(OWNER.open(unit), digest)  # and killed here
    resumed = sequential.Lockstep(
        {n: sequential.resume(tmp_path / f"{n}.jsonl", MANIFEST, PLAN) for n in NAMES}
    )
    resumed.recover()
    assert [len(record.leaves) for record in resumed.records.values()] == [2, 2]
    assert set(resumed.close().values()) == {"stopped by the arbitrator"}
    assert sequential.replay_together(lines_of(resumed), MANIFEST, PLAN)


# --- Hostile files. ---


@pytest.fixture(scope="module")
def end():
    return lines_of(go_on(begin()))


def replayed(lines):
    return sequential.replay_together(lines, MANIFEST, PLAN)


def test_a_row_that_was_edited_is_seen_by_the_other_record(end):
    row = noise(0, seed=77).tolist()
    with pytest.raises(RecordError, match="record of 'innocent': line 2"):
        replayed(end | {"innocent": rechained(end["innocent"], 1, losses=row)})
    # A forger who also makes the right bet for it: the record alone is whole.
    other = go_on(begin(), lambda n, u: noise(u, 77) if n == "innocent" else answers(n, u))
    for name, lines in lines_of(other).items():
        assert sequential.replay_together(lines_of(other), MANIFEST, PLAN)
        with pytest.raises(RecordError, match="opens leaf 1 for other heads than the records"):
            replayed(end | {name: lines})


def test_heads_swapped_between_suspects(end):
    first, second = (bodies(end[name]) for name in NAMES)
    heads = first[2]["heads"], second[4]["heads"]
    assert heads[0] == second[2]["heads"] != heads[1]
    lie = rechained(end["innocent"], 2, heads=heads[1])
    with pytest.raises(RecordError, match="'innocent' opens leaf 1 for other heads"):
        replayed(end | {"innocent": lie})
    with pytest.raises(RecordError, match="must name the heads of all records"):
        replayed(end | {"innocent": rechained(end["innocent"], 2, heads=None)})
    with pytest.raises(RecordError, match="the record of 'guilty' has the header of 'inno"):
        replayed({"guilty": end["innocent"], "innocent": end["guilty"]})


def test_an_opening_replayed_in_another_record_or_round(end):
    later = bodies(end["guilty"])[4]
    lie = rechained(end["innocent"], 2, opening=later["opening"], slot=later["slot"])
    with pytest.raises(CommitmentError, match="record of 'innocent': opening must be of unit"):
        replayed(end | {"innocent": lie})


def test_records_of_different_rounds(end):
    short = lines_of(go_on(begin(), num_leaves=1))
    with pytest.raises(RecordError, match="'guilty' opens leaf 2 for other heads"):
        replayed(end | {"innocent": short["innocent"]})
    cut = go_on(begin(), num_leaves=1)
    cut.records["innocent"].close()
    with pytest.raises(RecordError, match="'guilty' opens leaf 2 for other heads"):
        replayed(end | {"innocent": lines_of(cut)["innocent"]})


def test_a_stop_by_hand_of_one_alone_is_refused():
    together = go_on(begin(), lambda name, unit: noise(unit), num_leaves=2)
    together.records["innocent"].close()
    go_on(together, lambda name, unit: noise(unit))
    with pytest.raises(RecordError, match="was stopped by hand after 2 leaves and others went"):
        replayed(lines_of(together))


def test_records_of_other_cases_levels_and_suspects(end):
    for fields in ({"level": LEVEL / 2}, {"about": "e" * 64}):
        other = lines_of(go_on(begin(**fields)))
        with pytest.raises(RecordError, match="has the header of another case"):
            replayed(end | {"innocent": other["innocent"]})
    with pytest.raises(RecordError, match="is one of guilty, innocent; got those of innocent"):
        replayed({"innocent": end["innocent"]})
    alone = lines_of(go_on(begin(("innocent",))))
    with pytest.raises(RecordError, match="is one of innocent; got those of guilty, innocent"):
        replayed(end | {"innocent": alone["innocent"]})
    with pytest.raises(RecordError, match="one of a group: replay all of its owner's together"):
        sequential.replay(end["innocent"], MANIFEST, PLAN)
    single = sequential.SequentialRecord(OWNER.root, MANIFEST, PLAN)
    with pytest.raises(RecordError, match="single tests do not belong together"):
        sequential.Lockstep({"a": single, "b": single})
    with pytest.raises(RecordError, match="the audit is not closed"):
        replayed(lines_of(go_on(begin(), num_leaves=2)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"level": 1.0}, "level must lie strictly between 0.0 and 1.0, got 1.0"),
        ({"names": ("b", "")}, "suspects must be distinct names, sorted, got ('', 'b')"),
    ],
)
def test_headers_out_of_range(fields, message):
    with pytest.raises(ValueError) as error:
        header("b", **fields)
    assert str(error.value) == message


def test_the_level_of_a_record_is_at_most_the_plans():
    with pytest.raises(ValueError, match=r"^level must be at most 0.02, got 0.03$"):
        sequential.SequentialRecord(
            OWNER.root, MANIFEST, PLAN, group=header("guilty", level=0.03)
        )
    strict = dataclasses.replace(PLAN, alpha=LEVEL / 2)
    with pytest.raises(RecordError, match=r"line 1: the level 0.01 is above the plan's, 0.005"):
        sequential.replay_together(lines_of(begin()), MANIFEST, strict)
    single = sequential.SequentialRecord(OWNER.root, MANIFEST, PLAN)
    single.write_row(single.next_unit, np.ones(11))
    with pytest.raises(RecordError, match="of a single test names no other records' heads"):
        single.open_leaf(OWNER.open(single.next_unit), "0" * 64)
