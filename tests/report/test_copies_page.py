"""The page of a run with customers' copies."""

import json

import pytest

from anw_jax.report import write_copies_report
from anw_jax.report.__main__ import main


def row(colluders, named, log10_p) -> dict:
    return {
        "test_accuracy": 0.6,
        "colluders": colluders,
        "named": named,
        "innocents_named": [],
        "right_bits": {"non-blind": 304},
        "log10_p": {"non-blind": log10_p, "blind": [0.0] * len(log10_p)},
        "level": 1e-3 / 2,
        "num_tests": 100,
    }


def results() -> dict:
    return {
        "name": "tiny <b>",
        "seed": 3,
        "clean_accuracy": 0.62,
        "suspects": {
            "copy_0": row([0], [0], [-50.0, -0.5, 0.0]),
            "pair": {
                **row([0, 1], [0], [-12.5, -3.0, -0.1]),
                "more": [
                    {"colluders": [0, 2], "named": [2], "innocents_named": []},
                    {"colluders": [1, 2], "named": [0], "innocents_named": [0]},
                    {"colluders": [0, 1], "named": [1], "innocents_named": []},
                ],
            },
        },
        "controls": {"clean": row([], [], [-0.3, -0.2, -0.1])},
        "simulated": {
            "innocents": {"num_issues": 1000, "num_named": 1, "epsilon": 1e-3, "bound": 5},
            "averages": {"2": {"any_named": 1.0, "share_named": 0.5, "tardos_any_named": 0.9}},
        },
        "settings": {"epsilon": 1e-3, "num_bits": 304},
        "provenance": {"commit": "0f" * 20, "command": "python run.py"},
    }


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(results()))
    return tmp_path


def test_the_page_names_who_is_accused(folder, capsys):
    text = write_copies_report(folder).read_text()
    assert "tiny &lt;b&gt;" in text
    assert "1 of 2 colluders and 0 others are named" in text
    assert "it cannot be excluded that the owner himself, or a thief, let it out" in text
    assert "1,000 simulated issues" in text
    cells = [f'<td class="num">{number}</td>' for number in (3, 2, 1)]
    assert '<tr><th scope="row">pair</th>' + "".join(cells) in text
    assert "<script" not in text
    assert (folder / "figures" / "suspect_pair.csv").read_text().splitlines()[0] == (
        "customer,log10_p,colluder"
    )
    assert main([str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder / 'report.html'}\n"


def test_a_damaged_result_is_one_error(folder):
    body = results()
    del body["suspects"]["pair"]["level"]
    (folder / "results.json").write_text(json.dumps(body))
    with pytest.raises(ValueError, match=r"results\.json is damaged: KeyError"):
        write_copies_report(folder)
