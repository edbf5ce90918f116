"""The second paper's table is set beside our results, cell by cell."""

import json

import pytest

from tools.reproduction import pictures
from tools.reproduction.runs import ResultError


def run(seed: int, success: float) -> dict:
    low = {"nc_mean": 0.7, "success_rate": 0.0, "decided": 0.0}
    high = {"nc_mean": 0.97, "success_rate": success, "decided": 1.0}
    stages = {"stage_1": low, "stage_2": high}
    return {
        "seed": seed,
        "served": {"bits": {"psnr": 37.0 + seed, "ssim": 0.99, **stages}},
        "clean": {"outputs": {"stage_2": low}},
        "copies": {
            "plain": stages,
            "unet": {"stage_1": high, "stage_2": low},
            "innocent": {"stage_1": low, "stage_2": low},
        },
        "settings": {
            "copies": {
                "plain": {"pairs": "stolen"},
                "unet": {"pairs": "stolen"},
                "innocent": {"pairs": "clean"},
            }
        },
        "provenance": {"commit": "0f" * 20},
        "stage_seconds": {"barrier": 600.0},
    }


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "barrier_paper_quick"
    folder.mkdir()
    for seed, success in ((0, 0.9), (1, 0.7)):
        (folder / f"seed{seed}.json").write_text(json.dumps(run(seed, success)))
    return tmp_path


def rows(text: str, copy: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith(f"| {copy} |")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_without_results_every_cell_says_so(tmp_path):
    text = pictures.section(tmp_path)
    for cell in pictures.CELLS:
        for row in rows(text, cell.paper):
            assert row[4:] == ["not yet run"] * 3
    assert text.count("not yet run. `python run.py --config=experiments/barrier.py:") == 3


def test_means_stand_beside_the_papers_figures(results):
    text = pictures.section(results)
    with_stage_2, without = rows(text, "CNet")
    assert with_stage_2[2:] == ["93/100", "100/100", "not yet run", "not yet run", "80/100"]
    assert without[2:] == ["0/0", "0/0", "not yet run", "not yet run", "0/0"]
    assert [row[-1] for row in rows(text, "L2")] == ["0/0", "80/100"]
    assert [row[-1] for row in rows(text, "Res9")] == ["–", "–"]
    assert "served at 37.5 ± 0.7 dB, SSIM 0.990 ± 0.000" in text
    assert "after stage 2 for 80 ± 14 % of served outputs" in text
    assert "for 0 ± 0 % of unmarked ones, for 0 ± 0 % of those of innocent copies" in text


def test_the_section_says_that_there_is_no_error_rate(tmp_path):
    assert "no verdict is made from it" in pictures.section(tmp_path)


def test_a_damaged_file_is_named(results):
    (results / "barrier_paper_quick" / "seed0.json").write_text("{}")
    with pytest.raises(ResultError, match=r"seed0\.json is damaged"):
        pictures.section(results)
