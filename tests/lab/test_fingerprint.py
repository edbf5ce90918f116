"""A run with customers' copies, on made-up images."""

import pathlib

import pytest

from anw_jax.errors import SettingsError
from anw_jax.lab import FingerprintSettings, run
from anw_jax.lab.config import settings_from_config, settings_from_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXPERIMENT = ROOT / "experiments" / "fingerprint.py"


def config(**changes) -> dict:
    values = {
        "name": "tiny",
        "seed": 0,
        "data": {"source": "mock:256", "image_size": 16},
        "model": {"name": "testing"},
        "train": {"num_epochs": 2, "batch_size": 32, "learning_rate": 0.05},
        "repair": {"learning_rate": 1e-4, "batch_size": 32},
        "collusions": {
            "pair": {"how": "median", "colluders": 2},
            "rounded": {"colluders": 1, "attack": "quantise", "parameters": {"bits": 8}},
        },
        "num_copies": 3,
        "more_coalitions": 2,
        "num_customers": 12,
        "strength": 0.1,
        "num_issues": 200,
        "num_trials": 1,
    }
    return {**values, **changes}


@pytest.mark.parametrize("variant", ["quick", "study", "spread", "photos"])
def test_the_experiments_settings_are_valid(variant):
    settings = settings_from_file(f"{EXPERIMENT}:{variant}", seed=3)
    assert isinstance(settings, FingerprintSettings)
    assert settings.num_customers >= 100
    assert settings.num_bits == 304
    assert (settings.split is None) == (variant in ("spread", "photos"))
    assert (settings.images is not None) == (variant in ("quick", "study"))


def test_a_setting_of_the_split_training_can_be_overridden():
    settings = settings_from_file(
        f"{EXPERIMENT}:quick", **{"split.defence.noise": 0.5, "split.num_rounds": 2}
    )
    assert (settings.split.defence.noise, settings.split.num_rounds) == (0.5, 2)
    assert settings.split.classes == ("frog", "ship")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"num_copies": 1}, "collusions.pair.colluders must be at most the 1 copies, got 2"),
        ({"num_customers": 5}, "num_customers must be at least 11"),
        ({"kind": "dense"}, "kind must be one of hadamard, spread"),
        ({"collusions": {"a": {"how": "mean"}}}, "how must be one of average"),
        ({"collusions": {"a": {"attack": "quantize"}}}, "did you mean 'quantise'"),
        ({"model": {"name": "testing", "pretrained": "x"}}, "pretrained must be left out"),
    ],
)
def test_bad_settings_are_one_clear_error(changes, text):
    with pytest.raises(SettingsError, match=text):
        settings_from_config(config(**changes))


@pytest.mark.slow
def test_a_whole_run_and_its_resumption(tmp_path):
    settings = settings_from_config(config())
    results = run(settings, tmp_path)
    rows = results["suspects"]
    for number in range(3):
        row = rows[f"copy_{number}"]
        assert row["right_bits"]["non-blind"] == 304
        assert row["named"] == [number]
    assert set(rows["pair"]["named"]) <= {0, 1}
    assert rows["pair"]["named"]
    assert all(row["innocents_named"] == [] for row in rows.values())
    assert "more" not in rows["rounded"]
    assert [len(rows[name]["more"]) for name in ("copy_0", "pair")] == [0, 2]
    for one in rows["pair"]["more"]:
        assert len(one["colluders"]) == 2
        assert one["named"]
        assert set(one["named"]) <= set(one["colluders"])
        assert one["innocents_named"] == []
    assert results["controls"]["clean"]["named"] == []
    assert results["simulated"]["innocents"]["is_valid"]
    (tmp_path / "DONE").unlink()
    again = run(settings, tmp_path)
    for name in ("suspects", "controls", "simulated", "clean_accuracy"):
        assert again[name] == results[name]
