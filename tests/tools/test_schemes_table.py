"""The table of watermarks in models against attacks: made from results, and up to date."""

import json

import pytest

from tools import schemes_table
from tools.schemes_table import read_barrier, read_fingerprint, read_pictures, summary, table


def run(seed: int, **numbers) -> dict:
    origin = {"commit": "0f" * 20, "command": "python run.py"}
    return {"seed": seed, "stage_seconds": {"train": 600.0}, "provenance": origin, **numbers}


def multitask(seed: int, log10_p: float, right: float) -> dict:
    read = {"watermark_accuracy": right, "log10_p": log10_p, "outcome": "shown"}
    innocent = {"watermark_accuracy": 0.5, "log10_p": -1.5, "outcome": "not shown"}
    read, innocent = (one | {"wrong_keys_super_uniform": True} for one in (read, innocent))
    keys = [read, {**read, "log10_p": -40.0}]
    branch = {"test_accuracy": 0.58, "watermark_accuracy": right, "passes": True}
    return run(
        seed,
        marks={
            "projection": {"none": {"test_accuracy": 0.59, "keys": keys}},
            "branch": {
                "none": branch,
                "mix": {**branch, "watermark_accuracy": None, "passes": False},
            },
        },
        controls={"own training 0": [innocent]},
    )


def save(folder, seed: int, numbers: dict) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"seed{seed}.json").write_text(json.dumps(numbers))


@pytest.fixture
def results(tmp_path):
    for seed, log10_p, right in ((0, -30.0, 1.0), (1, -20.0, 0.9)):
        save(tmp_path / "multitask_quick", seed, multitask(seed, log10_p, right))
    return tmp_path


def test_a_second_experiment_adds_attacks_to_the_same_networks(results):
    alone = summary(results)
    added = multitask(0, -10.0, 0.8)
    rows = added["marks"]["projection"]
    rows["overwrite_4"] = rows["none"]
    save(results / "multitask_quick_overwrites", 0, added)
    both = summary(results)
    attacks = both["rows"][0]["attacks"]
    assert attacks["none"] == alone["rows"][0]["attacks"]["none"]
    assert attacks["overwrite_4"]["largest_log10_p"] == -10.0
    assert (both["rows"][0]["seeds"], attacks["overwrite_4"]["seeds"]) == ([0, 1], 1)
    assert both["innocents"] == alone["innocents"]


def test_means_deviations_and_the_weakest_key(results):
    rows = {row["system"]: row for row in summary(results)["rows"]}
    projection = rows["multi-task, fixed projection"]
    branch = rows["multi-task, trained branch (γ)"]
    cell = projection["attacks"]["none"]
    assert cell["largest_log10_p"] == -20.0
    assert cell["right"] == pytest.approx([0.95, 0.0707], abs=1e-4)
    assert branch["attacks"]["mix"]["right"] is None
    assert branch["attacks"]["mix"]["found"] == 0


def test_the_table_says_what_was_not_run(results):
    lines = table(summary(results)).splitlines()
    first = "| multi-task, fixed projection | none | 2 | 95.0 ± 7.1 % | 1e-20 | 2 of 2 |"
    assert any(line.startswith(first) for line in lines)
    assert "| fingerprints of customers | not yet run | 0 |  |  |  |  |" in lines
    assert any("commit 0f0f0f0f0f; 10 ± 0 minutes a run." in line for line in lines)


def test_innocent_suspects_are_counted_against_the_band(results):
    assert summary(results)["innocents"] == {
        "cells": 2,
        "level": 0.05,
        "below": 2,
        "allowed": 2,
    }


def test_readings_under_wrong_keys_are_counted(results):
    found = multitask(2, -20.0, 1.0)
    row = found["marks"]["projection"]["none"]
    row["keys"][0] = row["keys"][0] | {"wrong_keys_super_uniform": False}
    save(results / "multitask_quick", 2, found)
    assert summary(results)["wrong_keys"] == {"cells": 9, "super_uniform": 8}
    assert "* Wrong keys: in 8 of 9 readings" in table(summary(results))


def test_copies_of_outputs_and_innocent_ones_are_told_apart():
    read = {"num_right": 60, "log10_p": -8.0, "outcome": "shown"}
    read["wrong_keys_super_uniform"] = True
    rows = {name: {"psnr": 28.0, "all_queries": read} for name in ("plain", "innocent")}
    copies = {"plain": {"pairs": "stolen"}, "innocent": {"pairs": "clean"}}
    settings = {"bits": {"mixing": 40, "odd": 40}, "copies": copies}
    one = run(0, copies=rows, settings=settings)
    found = read_barrier(one)
    assert found.innocents == [-8.0]
    assert found.cells == {"plain": (0.75, -8.0, True, 28.0)}


def test_a_picture_in_outputs_has_no_p():
    stolen, innocent = ({"success_rate": share} for share in (0.93, 0.9))
    rows = {
        name: {"psnr": 24.0, "stage_2": read}
        for name, read in (("unet", stolen), ("innocent", innocent))
    }
    copies = {"unet": {"pairs": "stolen"}, "innocent": {"pairs": "clean"}}
    found = read_pictures(run(0, copies=rows, settings={"copies": copies}))
    assert found.innocents == []
    assert found.cells == {"unet": (0.93, None, True, 24.0)}


@pytest.mark.parametrize(
    ("named", "innocents", "is_found"), [([1], [], True), ([], [], False), ([1, 4], [4], False)]
)
def test_a_customer_is_found_only_if_no_innocent_one_is_named(named, innocents, is_found):
    row = {"named": named, "colluders": [1, 2], "innocents_named": innocents, "right_bits": {}}
    suspects = {"average": {**row, "test_accuracy": 0.6}}
    found = read_fingerprint(run(0, suspects=suspects, settings={"num_bits": 304}))
    assert found.cells["average"] == (None, None, is_found, 60.0)


def test_the_committed_files_are_up_to_date():
    found = summary(schemes_table.RESULTS)
    kept = (schemes_table.RESULTS / "schemes_attacks.json").read_text(encoding="utf-8")
    assert json.loads(kept) == json.loads(json.dumps(found))
    document = schemes_table.DOCUMENT.read_text(encoding="utf-8")
    assert schemes_table.written(document, table(found)) == document
