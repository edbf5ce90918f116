"""Refused images of a sequential audit: out of the unit's sum, counted as asked."""

import contextlib
import json

import pytest

from anw_jax import audit
from anw_jax.audit import refusals
from anw_jax.cli import format as telling
from anw_jax.cli import output
from anw_jax.keys import MarkKey, Plan
from anw_jax.sequential import Lockstep
from tests.audit.conftest import NUM_PHOTOS, hand_over, write_photos, write_suspect
from tests.audit.owners import mark_folder, saving_choices
from tests.audit.refusing import WAYS, refusing_case, write_refuser


def open_all(root, waiting, key):
    for waits in waiting:
        audit.answer_request(waits.request, key, root / "ann_marked", waits.opening)


def to_the_end(root, case_dir, key):
    for _ in range(NUM_PHOTOS + 1):
        standing = audit.run_rounds(audit.Case(case_dir))
        if not standing.waiting:
            return standing
        open_all(root, standing.waiting, key)
    raise AssertionError("the audit does not end")


def rows_of(case_dir, name="ann.jsonl"):
    lines = (case_dir / "records" / name).read_text().splitlines()
    return {b["unit"]: b["losses"] for b in map(json.loads, lines) if b["kind"] == "row"}


@pytest.mark.parametrize("how", WAYS)
def test_a_refused_image_is_counted_of_those_asked(root, case_dir, how):
    choices = {"refusals": 0.5}
    key = refusing_case(root, case_dir, range(0, 12, 4), how, choices, mode="sequential")
    to_the_end(root, case_dir, key)
    verdict = audit.judge_record(audit.Case(case_dir), {})
    test, rows = verdict["tests"]["ann"]["net"], rows_of(case_dir)
    refused = sorted(f"photo{unit:02d}.png" for unit in rows if unit in (0, 4, 8))
    assert list(test["unusable"]["photos"]) == refused
    assert test["unusable"]["num_images"] == len(rows)
    assert test["unusable"]["limit"] == 0.5
    assert test["outcome"] == "shown"
    for unit, row in rows.items():
        assert (row[0] is None) == (unit in (0, 4, 8))
    closed = json.loads((case_dir / "closed.json").read_text())["records"]["ann"]["net"]
    assert closed["unusable"]["photos"] == test["unusable"]["photos"]
    if refused:
        assert f"{len(refused)} of {len(rows)} images" in "\n".join(
            telling.verdict_lines(verdict)
        )


@pytest.mark.parametrize("how", ["raises", "nan"])
def test_above_the_limit_it_is_inconclusive(root, case_dir, how):
    key = refusing_case(root, case_dir, range(0, 12, 2), how, mode="sequential", alpha=0.01)
    to_the_end(root, case_dir, key)
    verdict = audit.judge_record(audit.Case(case_dir), {})
    test, asked = verdict["tests"]["ann"]["net"], len(rows_of(case_dir))
    number = test["unusable"]["num_unusable"]
    assert number > 0.1 * asked
    why = f"the suspect refused {number} of {asked} images, more than the declared 10 %"
    assert (test["outcome"], test["reason"], test["p_value"]) == ("inconclusive", why, 1)
    assert test["log_e_value"] is test["log_wealth"] is None
    assert verdict["corrected"]["reason"] == why
    assert output.code_of_verdict(verdict) == 4
    json.dumps(verdict, allow_nan=False)


def test_stopped_by_hand_only_units_with_a_row_count(root, case_dir):
    key = refusing_case(root, case_dir, range(12), mode="sequential")
    open_all(root, audit.run_rounds(audit.Case(case_dir)).waiting, key)
    audit.run_rounds(audit.Case(case_dir))
    noted = case_dir / "records" / "ann.unusable.json"
    body = json.loads(noted.read_text())
    body["photos"] |= {f"photo{n:02d}.png": "noted, and killed" for n in range(12)}
    noted.write_text(json.dumps(body))
    audit.run_rounds(audit.Case(case_dir), stop=True)
    closed = json.loads((case_dir / "closed.json").read_text())["records"]["ann"]["net"]
    assert closed["unusable"]["num_images"] == len(rows_of(case_dir)) == 2
    assert closed["unusable"]["num_unusable"] == 2
    verdict = audit.judge_record(audit.Case(case_dir), {})
    assert verdict["corrected"]["outcome"] == "inconclusive"


@pytest.mark.slow
def test_killed_between_note_and_row(root, case_dir, monkeypatch):
    choices = {"refusals": 0.99}
    key = refusing_case(root, case_dir, range(0, 12, 2), choices=choices, mode="sequential")
    write_row, asked = Lockstep.write_row, []

    def die(self, name, losses):
        asked.append(name)
        raise KeyboardInterrupt

    while not (case_dir / "closed.json").exists():
        monkeypatch.setattr(Lockstep, "write_row", die)
        with contextlib.suppress(KeyboardInterrupt):  # none, where all is settled
            audit.run_rounds(audit.Case(case_dir))
        monkeypatch.setattr(Lockstep, "write_row", write_row)
        open_all(root, audit.run_rounds(audit.Case(case_dir)).waiting, key)
    assert asked
    verdict = audit.judge_record(audit.Case(case_dir), {})
    rows = rows_of(case_dir)
    count = verdict["tests"]["ann"]["net"]["unusable"]
    assert count["num_unusable"] == sum(unit % 2 == 0 for unit in rows)


@pytest.mark.parametrize("saving", [None, (3, 1)])
def test_in_a_group_the_other_images_stand_for_it(root, case_dir, saving):
    for group, number in (("a", 3), ("b", 1), ("c", 2), ("d", 2)):
        write_photos(root / "photos" / group, seed=ord(group), number=number)
    key = MarkKey.for_experiment(1)
    plan = Plan("losses", 0.01, mode="sequential")
    out = root / "ann_marked"
    choices = {"scheme": "per_group", "label_source": "model", "refusals": 0.5}
    mark_folder(root / "photos", key, out, plan, **choices, **saving_choices(saving))
    folder = case_dir / "owners" / "ann"
    folder.mkdir(parents=True)
    for file in out.glob("*.json"):
        (folder / file.name).write_bytes(file.read_bytes())
    met = root / "met"
    met.mkdir()
    for number, file in enumerate(sorted((out / "published").rglob("*.png"))):
        (met / f"{number}.png").write_bytes(file.read_bytes())
    (root / "photos").rename(folder / "originals")
    write_refuser(case_dir, met, [1, 3], "raises")  # a second of a, and all of b
    audit.declare(audit.Case(case_dir), audit.Options(), despite_probe=True)
    to_the_end(root, case_dir, key)
    verdict = audit.judge_record(audit.Case(case_dir), {})
    rows, count = rows_of(case_dir), verdict["tests"]["ann"]["net"]["unusable"]
    sizes = {0: 3, 1: 1, 2: 2, 3: 2}
    assert count["num_images"] == sum(sizes[unit] for unit in rows)
    if saving is None:
        assert list(count["photos"]) == [
            name for unit, name in ((0, "a/photo01.png"), (1, "b/photo00.png")) if unit in rows
        ]
        for unit, row in rows.items():
            assert (row[0] is None) == (unit == 1)


@pytest.mark.slow
@pytest.mark.parametrize("claim", ["each model", "any model", "list of models"])
def test_several_suspects_of_which_one_refuses(root, case_dir, claim):
    key = hand_over(root, case_dir, mode="sequential", claim=claim)
    marked = root / "ann_marked" / "published"
    write_refuser(case_dir, marked, range(0, 12, 2), name="refuser")
    write_suspect(case_dir, marked, "open")
    audit.probe_case(audit.Case(case_dir))
    audit.declare(audit.Case(case_dir), audit.Options())
    to_the_end(root, case_dir, key)
    verdict = audit.judge_record(audit.Case(case_dir), {})
    refuser, other = (verdict["tests"]["ann"][name] for name in ("refuser", "open"))
    assert refuser["reason"].startswith("the suspect refused ")
    assert refuser["unusable"]["num_unusable"] >= 1
    assert other["unusable"]["num_unusable"] == 0
    assert verdict["corrected"]["outcome"] == "shown"
    assert ["ann", "refuser"] not in verdict["corrected"]["named"]
    text = "\n".join(telling.verdict_lines(verdict))
    assert "ann against refuser: no usable answers to " in text


def test_a_count_without_a_file_is_none(tmp_path, root, case_dir):
    hand_over(root, case_dir)
    owner = audit.Case(case_dir).owners["ann"]
    lines = [json.dumps({"kind": "row", "unit": unit}) for unit in range(3)]
    count = refusals.record_count(tmp_path / "ann.jsonl", lines, owner)
    assert (count["num_images"], count["num_unusable"]) == (3, 0)
