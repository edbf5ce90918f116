"""A run with the paper's own system, on made-up images."""

import json
import pathlib

import numpy as np
import pytest

from anw_jax.errors import SettingsError
from anw_jax.lab import PictureSettings, run
from anw_jax.lab import pictures as lab_pictures
from anw_jax.lab.config import settings_from_config, settings_from_file
from anw_jax.lab.journal import StoppedError

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXPERIMENT = ROOT / "experiments" / "barrier.py"
PLAIN = {"name": "plain", "width": 4, "depth": 1}
HOW = {"num_epochs": 1, "batch_size": 16}


def config(**changes) -> dict:
    stage = {"num_steps": 4, "batch_size": 8}
    values = {
        "name": "tiny",
        "seed": 0,
        "data": {"source": "mock:160", "image_size": 16},
        "task": "deblur",
        "pictures": ("bits", "logo"),
        "copies": {
            "stolen": {"model": PLAIN, "train": HOW},
            "overwritten": {"model": PLAIN, "train": HOW, "change": "overwrite"},
            "innocent": {"model": PLAIN, "train": HOW, "pairs": "clean"},
            "foreign": {"model": PLAIN, "train": HOW, "pairs": "foreign"},
        },
        "stage_1": stage,
        "stage_2": stage,
        "nets": {"width": 2, "depth": 1},
        "proxies": {
            "plain": {"model": PLAIN, "train": HOW},
            "plain_l1": {"model": PLAIN, "train": {**HOW, "distance": "l1"}},
        },
        "num_pairs": 48,
        "num_queries": 12,
    }
    return {**values, **changes}


@pytest.mark.parametrize(
    "variant",
    ["paper", "paper_quick", "paper_derain", "paper_absorbed", "paper_pictures", "paper_scale"],
)
def test_the_experiments_settings_are_valid(variant):
    settings = settings_from_file(f"{EXPERIMENT}:{variant}", seed=3)
    assert isinstance(settings, PictureSettings)
    assert {copy.pairs for copy in settings.copies.values()} >= {"stolen", "clean"}
    assert (settings.nets.absorbed is not None) == (variant == "paper_absorbed")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"copies": {}}, "copies must name at least one"),
        ({"pictures": ()}, "pictures must name one at least"),
        ({"pictures": ("bits", "bits")}, "none twice"),
        ({"pictures": ("face",)}, "pictures must be one of bits, logo, grey, colour"),
        ({"weights": {"mark": -1.0}}, "mark must lie in"),
        ({"stage_1": {"num_steps": 4, "batch_size": 7}}, "batch_size must be even, got 7"),
        ({"proxies": {}}, "proxies must name at least one"),
        ({"proxies": {"a.b": {}}}, "proxies: the name 'a.b' must consist of letters"),
        ({"proxies": {"one": {"pairs": "clean"}}}, "one must be trained on served outputs"),
        ({"own": {"pairs": "stolen"}}, "own.pairs must be 'clean'"),
        ({"nets": {"absorbed": PLAIN}}, "an absorbed model has one picture"),
        (
            {"nets": {"absorbed": PLAIN}, "pictures": ("bits",)},
            "an absorbed model cannot mark images of others: overwritten",
        ),
        ({"bits": {"odd": 4}}, "bits is not a setting"),
    ],
)
def test_bad_settings_are_one_clear_error(changes, text):
    with pytest.raises(SettingsError, match=text):
        settings_from_config(config(**changes))


def _copies_without_overwriting() -> dict:
    return {name: copy for name, copy in config()["copies"].items() if name != "overwritten"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "nets": {"width": 2, "depth": 1, "absorbed": PLAIN},
            "pictures": ("bits",),
            "copies": _copies_without_overwriting(),
        },
    ],
)
def test_a_whole_run_and_its_resumption(tmp_path, changes):
    settings = settings_from_config(config(**changes))
    results = run(settings, tmp_path)
    assert json.loads((tmp_path / "results.json").read_text()) == results
    assert set(results["served"]) == set(settings.pictures)
    assert set(results["copies"]) == set(settings.copies)
    for row in (*results["served"].values(), *results["copies"].values()):
        for stage in ("stage_1", "stage_2"):
            assert set(row[stage]) == {"nc_mean", "success_rate", "decided"}
            assert all(0.0 <= value <= 1.0 + 1e-9 for value in row[stage].values())
    measured = {name: results[name] for name in ("served", "clean", "copies")}
    for word in ("log10_p", "outcome", "verdict"):
        assert word not in json.dumps(measured)
    page = (tmp_path / "report.html").read_text()
    assert "no error rate, no p, and no verdict" in page
    assert page.count('alt="picture drawn for stolen"') == 6
    with np.load(tmp_path / "cells" / "stolen.npz") as shown:
        assert shown["drawn"].shape == shown["answers"].shape == (6, 16, 16, 3)
    (tmp_path / "DONE").unlink()
    again = run(settings, tmp_path)
    assert {name: again[name] for name in measured} == measured


@pytest.mark.slow
def test_stage_2_has_each_pair_beside_the_output_of_every_proxy(tmp_path, monkeypatch):
    trained, tuned_on = [], []

    def proxy_trained(run, name, proxy, pairs):
        trained.append((name, proxy, pairs.outputs))

    def tune(nets, params, marks, pairs, copied, *_, **__):
        tuned_on.append((pairs, copied))
        raise StoppedError

    monkeypatch.setattr(lab_pictures.copies, "trained", proxy_trained)
    monkeypatch.setattr(lab_pictures.train, "restore", lambda model, _, inputs: inputs)
    monkeypatch.setattr(lab_pictures.pictures, "tune_extractor", tune)
    settings = settings_from_config(config())
    assert run(settings, tmp_path) is None
    expected = [(f"proxy.{name}", one) for name, one in settings.proxies.items()]
    assert [(name, proxy) for name, proxy, _ in trained] == expected
    ((pairs, copied),) = tuned_on
    inputs, outputs = (np.split(images, len(expected)) for images in pairs)
    assert np.array_equal(copied, np.concatenate([inputs[0]] * len(expected)))
    assert np.array_equal(pairs.inputs, copied)
    for (_, _, served), unmarked in zip(trained, outputs, strict=True):
        assert np.array_equal(unmarked, outputs[0])
        assert not np.array_equal(served, unmarked)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"data": {"source": "mock:160", "image_size": 12}},
            "data.image_size: .* of 8 for",
        ),
        ({"nets": {"width": 2, "depth": 5}}, "data.image_size: .* multiples of 32"),
    ],
)
def test_images_that_fit_no_mark_or_network_are_one_clear_error(tmp_path, changes, text):
    with pytest.raises(SettingsError, match=text):
        run(settings_from_config(config(**changes)), tmp_path)
