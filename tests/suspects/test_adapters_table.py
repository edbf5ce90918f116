"""The table of `benchmarks.adapters`, on made-up photos and a tiny network; and its page."""

import ast
import copy
import dataclasses
import json
import pathlib
import sys

import numpy as np
import pytest

from anw_jax import data, keys
from benchmarks import _adapters_case as case_files
from benchmarks import _adapters_cells as cells
from benchmarks import adapters
from benchmarks._adapters_page import PAGE, page, renewed

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "adapters.json"
USED = ("PyTorch", "JAX", "ONNX", "recorded")
TINY = adapters.Settings(
    source="mock:80",
    num_train=60,
    num_marked=8,
    num_test=20,
    epochs=4,
    batch=16,
    rate=0.05,
    width=4,
    statistic="log_losses",
    alpha=0.01,
    decimals=3,
    label_queries=3,
    noise_levels=32,
    num_wrong_keys=300,
)


def load() -> data.Splits:
    return data.load(TINY.source, image_size=8)


def fail(*arguments):
    raise AssertionError("this was made before")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory) -> pathlib.Path:
    return tmp_path_factory.mktemp("adapters")


@pytest.fixture(scope="module")
def results(workdir) -> dict:
    pytest.importorskip("torch", reason="torch is an optional library")
    return adapters.run(workdir, (0,), TINY, load, USED)


@pytest.fixture
def case(results, workdir) -> case_files.Case:
    return case_files.prepare(workdir / "seed0", 0, TINY, fail)


@pytest.mark.slow
def test_every_cell_has_its_numbers(results):
    (seed,) = results["seeds"]
    assert list(seed["cells"]) == list(USED)
    for make, row in seed["cells"].items():
        assert list(row) == list(cells.rungs_of(TINY))
        for name, cell in row.items():
            if "missing" in cell:
                assert make == "ONNX"
                continue
            many = name.startswith("label") and "once" not in name
            each = TINY.label_queries if many else 1
            assert cell["queries"] == TINY.num_marked * 12 * each
            assert 0 < cell["p"] <= 1
            assert cell["seconds"] > 0
    assert list(seed["without_the_photos"]) == list(cells.rungs_of(TINY))


@pytest.mark.slow
def test_the_makes_answer_with_the_same_logits(results, case):
    (seed,) = results["seeds"]
    for name in ("logits", "logits, own labels"):
        gaps = seed["agreement"][name]
        assert gaps["makes"] >= 3
        assert gaps["largest_loss_gap"] < 1e-4
        assert gaps["largest_log10_p_gap"] < 1e-3
    # The network does tell hues apart: equal tables would agree in vain.
    assert cells.table_file(case, "with", "JAX", "logits").std(axis=1).min() > 1e-4
    assert len({row["logits"]["sealed"] for row in seed["cells"].values()}) > 1


@pytest.mark.slow
def test_one_loss_of_one_make_that_is_off_stops_the_command(results, case):
    path = case.folder / "cells" / "with-JAX-logits.npy"
    whole = path.read_bytes()
    table = np.load(path)
    table[3, 5] += 2 * cells.LOSS_TOLERANCE
    np.save(path, table)
    try:
        with pytest.raises(
            RuntimeError, match=r"the makes disagree at 'logits': losses by 0\.00"
        ):
            cells.agreement(case, results["seeds"][0]["cells"])
    finally:
        path.write_bytes(whole)


@pytest.mark.slow
def test_a_p_of_one_make_that_is_off_stops_the_command(results, case):
    told = copy.deepcopy(results["seeds"][0]["cells"])
    told["JAX"]["logits"]["log10_p"] -= 2 * cells.LOG10_P_TOLERANCE
    with pytest.raises(RuntimeError, match=r"log10 p by 0\.002"):
        cells.agreement(case, told)


@pytest.mark.slow
def test_a_second_call_takes_up_every_training_and_cell(results, workdir, monkeypatch):
    monkeypatch.setattr(case_files, "_start", fail)
    monkeypatch.setattr(cells, "table_of", fail)
    again = adapters.run(workdir, (0,), TINY, fail, USED)
    assert again["seeds"] == results["seeds"]


@pytest.mark.slow
def test_another_number_of_label_queries_is_asked_anew(results, case):
    other = cells.rungs_of(dataclasses.replace(TINY, label_queries=2))
    found = cells.row(case, "with", "JAX", {"label": other["label"]})["label"]
    assert found["queries"] == TINY.num_marked * 12 * 2
    before = {"label": cells.rungs_of(TINY)["label"]}
    assert cells.row(case, "with", "JAX", before)["label"]["queries"] == 8 * 12 * 3


@pytest.mark.slow
def test_trainings_of_other_settings_are_refused(results, workdir):
    with pytest.raises(SystemExit, match=r"settings\.json has other settings: give another"):
        adapters.check_settings(workdir, dataclasses.replace(TINY, epochs=5))
    adapters.check_settings(workdir, dataclasses.replace(TINY, label_queries=5))


@pytest.mark.slow
def test_the_learner_gets_what_was_published_and_its_twin_none_of_it(case):
    published = case_files._read_all(case.folder / "marked" / "published")
    slots = keys.assign(case.key, case.published.manifest, case.published.plan).slots
    assert len(set(slots.tolist())) > 3
    with np.load(case.folder / "with" / "photos.npz") as arrays:
        learned = arrays["train_images"]
    np.testing.assert_array_equal(learned[: TINY.num_marked], published)
    assert (published != case.originals).any(axis=(1, 2, 3)).all()
    with np.load(case.folder / "without" / "photos.npz") as arrays:
        others = arrays["train_images"]
    np.testing.assert_array_equal(others, learned[TINY.num_marked :])
    seen = {image.tobytes() for image in others}
    assert not seen & {image.tobytes() for image in (*case.originals, *published)}


@pytest.mark.slow
def test_the_commitment_stands_before_the_training_begins(case):
    committed = (case.folder / "marked" / "commitment.json").stat().st_mtime_ns
    for world in case_files.WORLDS:
        assert committed < (case.folder / world / "log.txt").stat().st_mtime_ns
        assert committed < (case.folder / world / "weights.pt").stat().st_mtime_ns


@pytest.mark.slow
def test_wrong_keys_stay_in_the_band_and_the_right_key_does_not(results, case, monkeypatch):
    (seed,) = results["seeds"]
    assert seed["wrong_keys"]["keys"] == TINY.num_wrong_keys
    assert all(share["within"] for share in seed["wrong_keys"]["shares"].values())
    slots = keys.assign(case.key, case.published.manifest, case.published.plan).slots
    learned = np.ones((TINY.num_marked, 12), np.float32)
    learned[np.arange(TINY.num_marked), slots] = 0.01
    monkeypatch.setattr(keys.MarkKey, "for_experiment", lambda *arguments: case.key)
    told = cells.wrong_keys(case, learned, 300, 5)["shares"]
    assert told["0.05"]["share"] == told["0.01"]["share"] == 1.0
    assert not told["0.05"]["within"]


@pytest.mark.parametrize("name", ["learner_torch.py", "server_torch.py"])
def test_the_learner_and_the_service_know_nothing_of_this_project(name):
    tree = ast.parse((ROOT / "tests" / "suspects" / name).read_text())
    tops = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            tops |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            tops.add(node.module.partition(".")[0])
    assert tops - sys.stdlib_module_names <= {"torch", "numpy"}
    assert "anw" not in (ROOT / "tests" / "suspects" / name).read_text()


@pytest.mark.slow
def test_the_page_shows_every_cell(results):
    (seed,) = results["seeds"]
    told = copy.deepcopy(results)
    told["seeds"][0]["cells"]["JAX"]["label"] = {"missing": "no such library"}
    body = {
        "command": "python -m benchmarks.adapters",
        "commit": "0" * 40,
        "hardware": {"processor": "some", "cores": 2, "load_average_1_min": 0.5},
        "versions": {"python": "3"},
        "results": told,
    }
    text = page(body)
    rows = [line for line in text.splitlines() if line.startswith("| logits | ")]
    made = [cell for row in told["seeds"][0]["cells"].values() for cell in row.values()]
    made = [cell for cell in made if "missing" not in cell]
    asked = [row for row in seed["cells"].values() if "missing" not in row["logits"]]
    assert len(rows) == 2  # what the name means, and the table
    assert rows[1].count(f"· {TINY.num_marked * 12} ·") == len(asked)
    assert "not installed" in text
    shown = sum(cell["outcome"] == "shown" for cell in made)
    assert f"Shown at the committed level in {shown} of {len(made)} cells" in text


def test_the_page_in_docs_is_made_from_the_results():
    body = json.loads(RESULTS.read_text())
    text = PAGE.read_text()
    assert "\n## Services over HTTP\n" in text
    assert text == renewed(text, body), "run: python -m benchmarks.adapters --page"


def test_the_results_are_those_of_the_settings():
    results = json.loads(RESULTS.read_text())["results"]
    assert results["settings"] == dataclasses.asdict(adapters.SETTINGS)
    reported = {seed["seed"] for seed in results["seeds"]}
    assert reported
    assert not reported & {run["seed"] for run in results["label_tuning"]}
    for seed in results["seeds"]:
        for gaps in (seed["agreement"][name] for name in ("logits", "logits, own labels")):
            assert gaps["largest_loss_gap"] <= cells.LOSS_TOLERANCE
        assert all(share["within"] for share in seed["wrong_keys"]["shares"].values())


@pytest.mark.slow
@pytest.mark.enable_socket
def test_http_from_another_process_gives_the_tables_of_the_file(results, workdir):
    pytest.importorskip("urllib3", reason="urllib3 is an optional library")
    (seed,) = adapters.run(workdir, (0,), TINY, fail, ("PyTorch", "HTTP"))["seeds"]
    for name, gaps in seed["agreement"].items():
        assert gaps["makes"] == 2
        assert gaps["share_of_entries_apart"] < 0.01, name
        assert seed["cells"]["HTTP"][name]["queries"] > 0
    assert seed["agreement"]["logits"]["largest_loss_gap"] < 1e-4
