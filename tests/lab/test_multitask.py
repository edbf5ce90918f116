"""A run with multi-task watermarks, on made-up images."""

import json
import pathlib

import pytest

from anw_jax.errors import SettingsError
from anw_jax.lab import MultitaskSettings, run
from anw_jax.lab.config import settings_from_config, settings_from_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXPERIMENT = ROOT / "experiments" / "multitask.py"


def config(**changes) -> dict:
    values = {
        "name": "tiny",
        "seed": 0,
        "data": {"source": "mock:256", "image_size": 16},
        "model": {"name": "testing"},
        "train": {"num_epochs": 2, "batch_size": 32, "learning_rate": 0.05},
        "taps": ("BasicBlock_0", "BasicBlock_1"),
        "marks": {
            "projection": {"embed": {"num_steps": 150, "learning_rate": 3e-3, "drift": 0.02}},
            "branch": {
                "variant": "branch",
                "embed": {"num_steps": 600, "learning_rate": 3e-3, "tuning": 0.0},
            },
        },
        "attacks": {
            "mix": {
                "attack": "rebase",
                "parameters": {"layers": ("BasicBlock_0", "BasicBlock_1")},
            },
            "dummy": {
                "attack": "rebase",
                "parameters": {"kind": "dummy", "layers": ("BasicBlock_1",)},
            },
        },
        "num_bits": 110,
        "num_keys": 1,
        "num_innocents": 1,
        "num_fresh_keys": 500,
    }
    return {**values, **changes}


@pytest.mark.parametrize("variant", ["quick", "study", "paper"])
def test_the_experiments_settings_are_valid(variant):
    settings = settings_from_file(f"{EXPERIMENT}:{variant}", seed=3)
    assert isinstance(settings, MultitaskSettings)
    assert {mark.variant for mark in settings.marks.values()} == {"projection", "branch"}
    assert {attack.attack for attack in settings.attacks.values()} >= {"fine_tune", "rebase"}


def test_one_setting_of_the_regularisers_can_be_overridden():
    settings = settings_from_file(
        f"{EXPERIMENT}:quick", **{"marks.projection.embed.drift": 0.0}
    )
    assert settings.marks["projection"].embed.drift == 0.0
    assert settings.marks["branch"].embed.drift == 0.1


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"taps": ()}, "marks and taps must name at least one each"),
        ({"num_bits": 0}, "num_bits must be at least 1"),
        (
            {"num_bits": 90},
            "guesses on the inputs of 90 bits reach it with probability 4e-09",
        ),
        ({"gamma": 0.4}, r"gamma must lie in \[0.5, 1.0\]"),
        ({"marks": {"a": {"variant": "linear"}}}, "variant must be one of projection, branch"),
        ({"marks": {"a": {"embed": {"margin": 0.0}}}}, "margin must be above 0"),
        ({"attacks": {"a": {"attack": "rebase", "parameters": {"kind": "x"}}}}, "kind must be"),
        ({"model": {"name": "testing", "pretrained": "x"}}, "pretrained must be left out"),
        ({"users": {}}, "config.users is not a setting"),
    ],
)
def test_bad_settings_are_one_clear_error(changes, text):
    with pytest.raises(SettingsError, match=text):
        settings_from_config(config(**changes))


@pytest.mark.slow
def test_a_whole_run_and_its_resumption(tmp_path):
    settings = settings_from_config(config())
    results = run(settings, tmp_path)
    assert json.loads((tmp_path / "results.json").read_text()) == results
    (plain,) = results["marks"]["projection"]["none"]["keys"]
    (mixed,) = results["marks"]["projection"]["mix"]["keys"]
    (more,) = results["marks"]["projection"]["dummy"]["keys"]
    for read in (plain, mixed, more):
        assert read["outcome"] == "shown"
        assert read["log10_p"] < -6
        assert read["wrong_keys_super_uniform"]
    branch = results["marks"]["branch"]
    assert branch["none"]["passes"], branch["none"]
    assert not branch["mix"]["passes"]  # a trained branch has no alignment
    assert branch["dummy"]["watermark_accuracy"] is None
    assert "another architecture" in branch["dummy"]["reason"]
    assert "log10_p" not in branch["none"]
    for rows in results["controls"].values():
        assert all(read["outcome"] == "not shown" for read in rows)
    assert results["forgery"]["accuracy_all_features"] > 0.8
    assert results["forgery"]["accuracy_few_features"] < 0.8
    (tmp_path / "DONE").unlink()
    again = run(settings, tmp_path)
    for name in ("marks", "controls", "forgery", "clean_accuracy"):
        assert again[name] == results[name]
    # An attack is added to the finished run: nothing is trained again.
    changed = config()
    changed["attacks"]["prune"] = {"attack": "prune", "parameters": {"fraction": 0.2}}
    cells = {file: file.stat().st_mtime_ns for file in (tmp_path / "cells").iterdir()}
    more = run(settings_from_config(changed), tmp_path)
    added = {"projection-prune.json", "branch-prune.json"}
    assert {file.name for file in (tmp_path / "cells").iterdir() if file not in cells} == added
    assert all(file.stat().st_mtime_ns == time for file, time in cells.items())
    assert more["marks"]["projection"]["mix"] == results["marks"]["projection"]["mix"]
    assert more["marks"]["projection"]["prune"]["keys"][0]["outcome"] == "shown"
