"""The page of a run with pictures hidden in outputs."""

import json

import numpy as np
import pytest

from anw_jax.report import write_pictures_report
from anw_jax.report.__main__ import main

READ = {"nc_mean": 0.98, "success_rate": 0.93, "decided": 1.0}
LOW = {"nc_mean": 0.71, "success_rate": 0.0, "decided": 0.02}


def copy(pairs: str) -> dict:
    how = {"distance": "l1", "adversarial": 0.0, "flips": False}
    return {"pairs": pairs, "change": "none", "train": how, "tune_epochs": 0}


def results() -> dict:
    stages = {"stage_1": LOW, "stage_2": READ}
    seen = {"psnr": 38.1, "ssim": 0.991, "ciede2000_median": 0.8, "task_psnr": 24.0}
    return {
        "name": "tiny <b>",
        "seed": 3,
        "own_psnr": 25.0,
        "served": {"bits": {**seen, **stages}},
        "clean": {"inputs": {"stage_1": LOW, "stage_2": LOW}, "outputs": {"stage_2": LOW}},
        "copies": {
            "unet": {"psnr": 24.5, **stages},
            "innocent": {"psnr": 25.5, "stage_1": LOW, "stage_2": LOW},
        },
        "settings": {"copies": {"unet": copy("stolen"), "innocent": copy("clean")}},
        "provenance": {"commit": "0f" * 20, "command": "python run.py"},
    }


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(results()))
    image = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    names = ("outputs", "marked_bits", "drawn_bits", "drawn_clean")
    np.savez(tmp_path / "examples.npz", **dict.fromkeys(names, image))
    (tmp_path / "cells").mkdir()
    np.savez(tmp_path / "cells" / "unet.npz", answers=image, drawn=image)
    return tmp_path


def test_the_page_shows_pictures_and_says_that_there_is_no_verdict(folder, capsys):
    text = write_pictures_report(folder).read_text()
    assert "tiny &lt;b&gt;" in text
    assert "a baseline, not evidence" in text
    assert "no error rate, no p, and no verdict" in text
    assert '0.980</td><td class="num">93' in text
    assert text.count('alt="extracted mark') == 2
    assert text.count('alt="picture drawn for unet"') == 2
    assert "picture drawn for innocent" not in text
    assert text.index("served outputs, with the L1 loss") < text.index("clean pairs of its")
    assert "<script" not in text
    assert main([str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder / 'report.html'}\n"


def test_the_same_files_give_the_same_page_with_or_without_pictures(folder):
    first = write_pictures_report(folder).read_bytes()
    assert write_pictures_report(folder).read_bytes() == first
    (folder / "examples.npz").unlink()
    assert b'alt="extracted mark' not in write_pictures_report(folder).read_bytes()


@pytest.mark.parametrize("name", ["results.json", "examples.npz", "cells/unet.npz"])
def test_damaged_files_are_named(folder, name):
    (folder / name).write_bytes(b'{"copies": {}}')
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        write_pictures_report(folder)
