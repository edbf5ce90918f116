"""The table of `benchmarks.adapters`, on made-up photos and a tiny network; and its page."""

import pathlib

import pytest

pytest.importorskip("torch", reason="torch is an optional library")

from anw_jax import data
from benchmarks import _adapters_cells as cells
from benchmarks import adapters

ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY = adapters.Settings(
    source="mock:80",
    num_train=60,
    num_marked=12,
    num_test=20,
    epochs=4,
    batch=16,
    rate=0.05,
    width=4,
    statistic="log_losses",
    alpha=0.01,
    decimals=3,
    label_queries=4,
    noise_levels=32,
    num_wrong_keys=300,
)


@pytest.fixture(scope="module")
def splits():
    return data.load(TINY.source, image_size=16)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tmp_path_factory.mktemp("adapters")


@pytest.fixture(scope="module")
def results(workdir, splits):
    used = ("PyTorch", "JAX", "ONNX", "recorded")
    return adapters.run(workdir, (0,), TINY, splits, used)


def test_every_cell_has_its_numbers(results):
    (seed,) = results["seeds"]
    for make in ("PyTorch", "JAX", "ONNX", "recorded"):
        assert list(seed["cells"][make]) == list(cells.rungs_of(TINY))
        for name, cell in seed["cells"][make].items():
            if "missing" in cell:
                assert make == "ONNX"
                continue
            each = TINY.label_queries if name.startswith("label") else 1
            assert cell["queries"] == 12 * 12 * each
            assert 0 < cell["p"] <= 1
            assert cell["seconds"] > 0
