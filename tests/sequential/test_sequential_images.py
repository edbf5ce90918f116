"""Records of a statistic that bounds each image's row: they hold the rows of the images."""

import dataclasses
import json
import math

import numpy as np
import pytest

from anw_jax import keys, sequential, stats
from anw_jax.errors import RecordError
from anw_jax.sequential.lines import chained, row_digest

NAME = "bounded_log_losses"
PLAN = keys.Plan(NAME, 1e-2, mode="sequential")
KEY = keys.MarkKey(bytes(range(32)))
# Six albums of two photos and one of three, of which two are one photo.
ALBUMS = [*(name for name in "abcdef" for _ in range(2)), "g", "g", "g"]
PHOTOS = np.random.default_rng(2).integers(0, 256, (len(ALBUMS), 2, 2, 3), np.uint8)
PHOTOS[-1] = PHOTOS[-2]
MANIFEST = keys.Manifest.of(PHOTOS, keys.SignatureSpace(), "per_group", ALBUMS)
OWNER = keys.UnitTree(KEY, MANIFEST, PLAN)


def _rows(unit: int, gap: float = 1.5) -> np.ndarray:
    """What a model that knows the photos answers: two distinct photos of each album."""
    rows = np.random.default_rng(unit).normal(2.0, 0.3, (2, 11))
    rows[:, OWNER.open(unit).slot - 1] -= gap
    return rows


def _audit(rows_of=_rows, path=None, num_steps=math.inf) -> sequential.SequentialRecord:
    record = sequential.SequentialRecord(OWNER.root, MANIFEST, PLAN, path=path)
    while record.is_open and record.wealth.num_steps < num_steps:
        unit = record.next_unit
        record.write_row(unit, rows_of(unit))
        record.open_leaf(OWNER.open(unit))
    return record


def test_a_record_is_replayed_and_its_wealth_is_that_of_the_scores():
    record = _audit()
    assert record.close() == "the level is reached"
    result = record.result()
    assert sequential.replay(record.lines, MANIFEST, PLAN, commitment=OWNER.root) == result
    order = keys.audit_order(OWNER.root, PLAN, MANIFEST)[: result.num_opened]
    scorer = stats.RowScorer(NAME)
    scores = np.array([scorer.score(_rows(unit)) for unit in order])
    slots = np.array([OWNER.open(unit).slot for unit in order])
    wealth = stats.mixture_log_wealth(scores, slots)
    assert result.log_e_value == pytest.approx(wealth[-1], abs=1e-9)


def test_a_line_holds_the_rows_of_the_distinct_images():
    def with_holes(unit):
        rows = _rows(unit)
        rows[0, 3], rows[1, 4] = np.nan, 1e31
        return rows

    record = _audit(with_holes, num_steps=2)
    body = json.loads(record.lines[1])
    assert np.shape(body["losses"]) == (2, 11)
    assert body["losses"][0][3] is None
    assert body["losses"][1][4] == 1e31
    assert body["row"] == row_digest(body["losses"])
    assert body["bet"] == pytest.approx([1 / 11] * 11)  # neither image is usable
    record.close()
    assert sequential.replay(record.lines, MANIFEST, PLAN) == record.result()


def test_an_audit_is_resumed_with_all_that_earlier_rows_told(tmp_path):
    whole = _audit()
    path = tmp_path / "record.jsonl"
    _audit(path=path, num_steps=2)
    record = sequential.resume(path, MANIFEST, PLAN)
    while record.is_open:
        unit = record.next_unit
        record.write_row(unit, _rows(unit))
        record.open_leaf(OWNER.open(unit))
    assert record.lines == whole.lines


@pytest.mark.parametrize(
    "shape", [(11,), (1, 11), (3, 11), (2, 10), (2, 12), (0, 11), (2, 11, 1)]
)
def test_every_distinct_image_has_a_row(shape):
    record = sequential.SequentialRecord(OWNER.root, MANIFEST, PLAN)
    with pytest.raises(ValueError, match=r"losses must have shape \(2, 11\), got"):
        record.write_row(record.next_unit, np.ones(shape))
    assert len(record.lines) == 1


def test_other_statistics_take_one_row_and_write_it_flat():
    plan = dataclasses.replace(PLAN, statistic="log_losses")
    owner = keys.UnitTree(KEY, MANIFEST, plan)
    record = sequential.SequentialRecord(owner.root, MANIFEST, plan)
    with pytest.raises(ValueError, match=r"losses must have shape \(11,\), got \(2, 11\)"):
        record.write_row(record.next_unit, np.ones((2, 11)))
    record.write_row(record.next_unit, [math.nan, math.inf, *range(9)])
    written = json.loads(record.lines[1])["losses"]
    assert written == [None, None, *map(float, range(9))]


def _forged(lines, number, change):
    """The record with one line changed, and every hash after it made anew."""
    bodies = [json.loads(line) for line in lines]
    change(bodies[number])
    forged, previous = [], ""
    for body in bodies:
        rest = {k: v for k, v in body.items() if k not in ("hash", "previous")}
        forged.append(chained(previous, rest))
        previous = json.loads(forged[-1])["hash"]
    return forged


def _set(place, value):
    def change(body):
        body["losses"][place[0]][place[1]] = value
        body["row"] = row_digest(body["losses"])

    return change


def _leave_out(body):
    del body["losses"][1]
    body["row"] = row_digest(body["losses"])


def _flat(body):
    body["losses"] = np.sum(body["losses"], axis=0).tolist()
    body["row"] = row_digest(body["losses"])


def _ragged(body):
    del body["losses"][1][0]


@pytest.mark.parametrize(
    "change",
    [
        _set((0, 4), 50.0),
        _set((0, 4), None),
        _set((1, 2), "2.0"),
        _set((1, 2), True),
        _set((1, 2), [1.0]),
        _leave_out,
        _flat,
        _ragged,
        lambda body: body.update(losses=None),
        lambda body: body.update(losses=[]),
    ],
)
def test_a_changed_row_is_seen(change):
    record = _audit()
    record.close()
    with pytest.raises(RecordError, match="line 4"):
        sequential.replay(_forged(record.lines, 3, change), MANIFEST, PLAN)


def test_absurd_answers_of_early_photos_do_not_rule_the_bets_to_come():
    """As much is won afterwards as if the first two albums had told nothing."""
    first = keys.audit_order(OWNER.root, PLAN, MANIFEST)[:2]

    def absurd(unit):
        rows = _rows(unit)
        if unit in first:
            rows[:, :5], rows[:, 5:] = 1e29, -1e29
        return rows

    hostile = _audit(absurd)
    assert hostile.close() == "the level is reached"
    sums = dataclasses.replace(PLAN, statistic="log_losses")
    owner = keys.UnitTree(KEY, MANIFEST, sums)
    record = sequential.SequentialRecord(owner.root, MANIFEST, sums)
    order = keys.audit_order(owner.root, sums, MANIFEST)
    while record.is_open:
        unit, rows = record.next_unit, _rows(record.next_unit)
        if unit in order[:2]:
            rows[:, :5], rows[:, 5:] = 1e29, -1e29
        record.write_row(unit, rows.sum(axis=0))
        record.open_leaf(owner.open(unit))
    assert record.close() != "the level is reached"
