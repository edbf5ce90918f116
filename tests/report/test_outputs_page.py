"""The page of a run with marked outputs."""

import json

import numpy as np
import pytest

from anw_jax.report import write_outputs_report
from anw_jax.report.__main__ import main


def row(num_right: int, log10_p: float, outcome: str) -> dict:
    kept = [0.7] * num_right + [-0.2] * (72 - num_right)
    read = {"num_right": num_right, "log10_p": log10_p, "outcome": outcome, "kept": kept}
    return {"psnr": 24.5, "all_queries": read, "few_queries": read | {"log10_p": -0.5}}


def settings(**changes) -> dict:
    train = {"distance": "l2", "adversarial": 0.0, "flips": False}
    return {"pairs": "stolen", "change": "none", "train": train, "tune_epochs": 0, **changes}


def results() -> dict:
    mirrored = {"distance": "l1", "adversarial": 0.001, "flips": True}
    return {
        "name": "tiny <b>",
        "seed": 3,
        "own_psnr": 25.0,
        "marked": {"psnr": 38.1, "ssim": 0.991, "ciede2000_median": 0.8},
        "copies": {
            "plain": row(70, -18.5, "shown"),
            "mirrored": row(50, -3.1, "not shown"),
            "innocent": row(35, -0.2, "not shown"),
        },
        "settings": {
            "bits": {"mixing": 36, "odd": 36},
            "num_queries": 500,
            "few_queries": 50,
            "alpha": 1e-6,
            "copies": {
                "plain": settings(),
                "mirrored": settings(change="jpeg", train=mirrored, tune_epochs=10),
                "innocent": settings(pairs="clean"),
            },
        },
        "provenance": {"commit": "0f" * 20, "command": "python run.py"},
    }


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(results()))
    outputs = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    np.savez(tmp_path / "examples.npz", outputs=outputs, marked=outputs + np.uint8(1))
    return tmp_path


def test_the_page_says_what_is_shown_and_what_is_not(folder, capsys):
    text = write_outputs_report(folder).read_text()
    assert "tiny &lt;b&gt;" in text
    assert text.count("Use of the outputs shown at level 1e-06") == 1
    assert text.count("Use of the outputs not shown at level 1e-06") == 1
    assert "70 of 72" in text
    assert (
        "served outputs, as JPEG of quality 75, with the L1 loss, with a discriminator, half "
        "of the pairs mirrored, then 10 epochs on clean pairs"
    ) in text
    assert "clean pairs of its own, with the L2 loss" in text
    assert "by whatever path they would have come into its data" in text
    assert text.count('alt="difference times ten"') == 2
    assert "<script" not in text
    assert (
        "bits read from plain: 70 of 72 point as the key says, the median at 70 % of what is "
        "served"
    ) in text
    lines = (folder / "figures" / "bits_plain.csv").read_text().splitlines()
    assert lines[:2] == ["bit,family,kept", "0,mixing,0.7"]
    assert lines[-1] == "71,odd,-0.2"
    assert main([str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder / 'report.html'}\n"


def test_the_same_files_give_the_same_page(folder):
    first = write_outputs_report(folder).read_bytes()
    assert write_outputs_report(folder).read_bytes() == first
    (folder / "examples.npz").unlink()
    assert b'alt="difference times ten' not in write_outputs_report(folder).read_bytes()


@pytest.mark.parametrize(
    ("name", "content"),
    [("results.json", b'{"copies": {}}'), ("examples.npz", b"no archive")],
)
def test_damaged_files_are_named(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        write_outputs_report(folder)


def test_copies_of_the_fixed_pattern_stand_in_a_table_of_their_own(folder):
    assert "fixed pattern" not in write_outputs_report(folder).read_text()
    body = results()
    body["additive"] = {"served": row(72, -21.7, "shown"), "copies": {"net": row(36, -0.3, "")}}
    body["settings"]["additive"] = {"net": settings()}
    (folder / "results.json").write_text(json.dumps(body))
    text = write_outputs_report(folder).read_text()
    assert "Of what is served 72 of 72 bits are right" in text
    assert text.count("Copies of outputs with the fixed pattern") == 1
    assert text.count("Use of the outputs") == 2
