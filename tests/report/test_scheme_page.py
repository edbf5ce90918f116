"""The page of a run with watermarks in models."""

import json

import numpy as np
import pytest

from anw_jax.report import write_scheme_report
from anw_jax.report.__main__ import main


def read(right, log10_p, outcome) -> dict:
    return {"watermark_accuracy": right, "log10_p": log10_p, "outcome": outcome}


def results() -> dict:
    return {
        "name": "tiny <b>",
        "seed": 3,
        "clean_accuracy": 0.62,
        "marks": {
            "projection": {
                "none": {
                    "test_accuracy": 0.61,
                    "keys": [read(1.0, -33.1, "shown"), read(0.9, -20.2, "shown")],
                },
                "prune": {"test_accuracy": 0.5, "keys": [read(0.75, -4.0, "not shown")]},
            },
            "branch": {
                "none": {"test_accuracy": 0.6, "watermark_accuracy": 1.0, "passes": True},
                "prune": {"test_accuracy": 0.5, "watermark_accuracy": None, "passes": False},
            },
        },
        "controls": {
            "own training 0": [read(0.5, -0.2, "not shown"), read(0.6, -1.0, "not shown")]
        },
        "forgery": {
            "num_inputs": 220,
            "num_features": 192,
            "accuracy_all_features": 1.0,
            "num_few_features": 36,
            "accuracy_few_features": 0.71,
        },
        "settings": {
            "gamma": 0.8,
            "alpha": 1e-6,
            "attacks": {"prune": {"attack": "prune", "parameters": {"fraction": 0.5}}},
        },
        "provenance": {"commit": "0f" * 20, "command": "python run.py"},
    }


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(results()))
    inputs = np.random.default_rng(0).integers(0, 2, (12, 8, 8, 3)).astype(np.uint8) * 255
    np.savez(tmp_path / "examples.npz", inputs=inputs, labels=np.arange(12) % 2)
    return tmp_path


def test_the_page_names_owner_p_and_rule(folder):
    page = write_scheme_report(folder).read_text()
    # Of two keys the weaker one is claimed, of two innocent readings the stronger one shown.
    assert "occur with probability at most 6.4e-21" in page
    assert "8e-34" not in page
    for text in ("own training 0", ">0.1<", "The rule is met", "has no p", "unread"):
        assert text in page, text
    assert page.count('class="pixels"') == 12
    assert "<script" not in page
    assert "tiny &lt;b&gt;" in page
    rows = (folder / "figures" / "attack_prune.csv").read_text().splitlines()
    assert rows[1].startswith("0,0.9,0.61,1,0.6")


def test_equal_files_give_equal_bytes_with_or_without_pictures(folder, capsys):
    first = write_scheme_report(folder).read_bytes()
    assert main([str(folder)]) == 0
    assert (folder / "report.html").read_bytes() == first
    (folder / "examples.npz").unlink()
    assert 'class="pixels"' not in write_scheme_report(folder).read_text()


def test_damaged_files_are_named(folder):
    (folder / "examples.npz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"examples.npz is damaged"):
        write_scheme_report(folder)
    body = results()
    del body["marks"]["projection"]["none"]["keys"][0]["log10_p"]
    (folder / "results.json").write_text(json.dumps(body))
    with pytest.raises(ValueError, match=r"results.json is damaged"):
        write_scheme_report(folder)
