"""The table of watermarks in models against attacks: made from results, and up to date."""

import json

import pytest

from tools import schemes_table
from tools.schemes_table import SYSTEMS, System, summary, table


def run(seed: int, log10_p: float, right: float) -> dict:
    read = {"watermark_accuracy": right, "log10_p": log10_p, "outcome": "shown"}
    innocent = {"watermark_accuracy": 0.5, "log10_p": -1.5, "outcome": "not shown"}
    return {
        "seed": seed,
        "clean_accuracy": 0.60,
        "marks": {
            "projection": {
                "none": {"test_accuracy": 0.59, "keys": [read, {**read, "log10_p": -40.0}]}
            },
            "branch": {
                "none": {"test_accuracy": 0.58, "watermark_accuracy": right, "passes": True},
                "mix": {"test_accuracy": 0.58, "watermark_accuracy": None, "passes": False},
            },
        },
        "controls": {"own training 0": [innocent]},
        "stage_seconds": {"train": 600.0},
        "provenance": {"commit": "0f" * 20, "command": "python run.py"},
    }


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "multitask_quick"
    folder.mkdir()
    for seed, log10_p, right in ((0, -30.0, 1.0), (1, -20.0, 0.9)):
        (folder / f"seed{seed}.json").write_text(json.dumps(run(seed, log10_p, right)))
    return tmp_path


def test_means_deviations_and_the_weakest_key(results):
    projection, branch = summary(results)["rows"]
    cell = projection["attacks"]["none"]
    assert cell["largest_log10_p"] == -20.0
    assert cell["watermark_accuracy"] == pytest.approx([0.95, 0.0707], abs=1e-4)
    assert projection["drop_in_points"] == pytest.approx([1.0, 0.0], abs=1e-9)
    assert branch["attacks"]["mix"]["watermark_accuracy"] is None
    assert branch["attacks"]["mix"]["shown"] == 0


def test_the_table_says_what_was_not_run(results):
    systems = (*SYSTEMS, System("marks in outputs", "barrier_quick", "barrier"))
    text = table(summary(results, systems))
    assert "95.0 ± 7.1 %, p ≤ 1e-20, shown 2 of 2" in text
    assert "unread, γ passed 0 of 2" in text
    assert "| marks in outputs | 0 | not yet run | not yet run | not yet run |" in text
    assert "10 ± 0 minutes a seed" in text


def test_innocent_networks_are_counted_against_the_band(results):
    controls = summary(results)["controls"]
    assert controls == {"cells": 2, "level": 0.05, "below": 2, "allowed": 2, "shown": 0}


def test_the_committed_files_are_up_to_date():
    found = summary(schemes_table.RESULTS)
    kept = (schemes_table.RESULTS / "schemes_attacks.json").read_text(encoding="utf-8")
    assert json.loads(kept) == json.loads(json.dumps(found))
    document = schemes_table.DOCUMENT.read_text(encoding="utf-8")
    assert schemes_table.written(document, table(found)) == document
