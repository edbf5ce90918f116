"""The table of seeds."""

import json

import pytest

from anw_jax import report
from anw_jax.report import __main__ as command
from anw_jax.report import table


def seeds(tmp_path, *changes):
    """Seed files with one claim and one control; `changes` is what differs, per seed."""
    for seed, change in enumerate(changes):
        claim = {
            "kind": "marked",
            "scheme": "per_image",
            "excluded": False,
            "log10_p": -10.0,
            "num_hits": 20,
            "num_units": 40,
            "one_signature": None,
        }
        shared = {"match": True, "inferred_degrees": 60.0, "true_degrees": 60.0}
        control = claim | {"kind": "held_out", "log10_p": -0.5, "one_signature": shared}
        run = {
            "seed": seed,
            "users": {
                "keyed": claim | change.get("keyed", {}),
                "held_out": control | change.get("held_out", {}),
            },
            "model": {"test_accuracy": 0.9 + 0.02 * seed},
            "stage_seconds": {"train": 100 + 10 * seed},
            "provenance": {
                "commit": "0123456789abcdef",
                "uncommitted_sha256": None,
                "hardware": "a processor",
                "command": f"python run.py --config=experiments/x.py --config.seed={seed} "
                f"--workdir=/somewhere/{seed}",
            },
        }
        (tmp_path / f"seed{seed}.json").write_text(json.dumps(run))
    return tmp_path


def test_table_of_three_seeds(tmp_path):
    folder = seeds(
        tmp_path,
        {"keyed": {"log10_p": -400.0, "num_hits": 21}},
        {"keyed": {"log10_p": -5.0}, "held_out": {"log10_p": -1.5}},
        {
            "held_out": {
                "one_signature": {
                    "match": False,
                    "inferred_degrees": 330.0,
                    "true_degrees": 0.0,
                }
            }
        },
    )
    assert report.results_table(folder) == (
        "| user | kind | seeds | p, median | p, worst | log10 p | hits | matches | "
        "hue error |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
        "| keyed | marked, per image | 3 | 1e-10 | 1e-5 | -138.33 ± 226.62 | 20.3 ± 0.6 of 40 "
        "| – | – |\n"
        "| held_out | held out, per image | 3 | 0.3163 | 0.0317 | -0.83 ± 0.58 | "
        "20.0 ± 0.0 of 40 | 2 of 3 | -10 ± 17 ° |\n"
        "\n"
        "3 seeds; test accuracy 92.0 ± 2.0 %; training 110 ± 10 s; hardware: a processor; "
        "commit: 0123456789; command: `python run.py --config=experiments/x.py "
        "--config.seed=<seed>`\n"
    )


def test_one_seed_has_no_deviation(tmp_path):
    text = report.results_table(seeds(tmp_path, {}))
    assert "| -10.00 | 20.0 of 40 |" in text
    assert text.splitlines()[-1].startswith("1 seed; test accuracy 90.0 %; training 100 s;")


def test_time_and_commit_are_those_of_the_training(tmp_path):
    """The files may come from a later reading of a model that was trained before."""
    file = seeds(tmp_path, {}) / "seed0.json"
    origin = {"commit": "f" * 40, "hardware": "a trainer", "command": "train"}
    training = {"seconds": 600.0, "provenance": origin, "earlier_commits": []}
    file.write_text(json.dumps(json.loads(file.read_text()) | {"training": training}))
    assert report.results_table(tmp_path).endswith(
        "training 600 s; hardware: a trainer; commit: ffffffffff; command: `train`\n"
    )


def test_seeds_are_ordered_as_numbers_and_nulls_are_left_out(tmp_path):
    folder = seeds(tmp_path, *[{}] * 11)
    assert [run["seed"] for run in table.read_seeds(folder)] == list(range(11))
    folder = seeds(tmp_path, {"keyed": {"log10_p": None}})
    assert "| keyed | marked, per image | 11 | 1e-10 |" in report.results_table(folder)


def test_hostile_names_are_escaped(tmp_path):
    run = json.loads((seeds(tmp_path, {}) / "seed0.json").read_text())
    run["users"]["a|b<img src=x>`\n[c](d)"] = run["users"].pop("keyed")
    (tmp_path / "seed0.json").write_text(json.dumps(run))
    assert "| a\\|b&lt;img src=x>\\` \\[c\\](d) |" in report.results_table(tmp_path)


def test_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no seed\*\.json"):
        report.results_table(tmp_path)
    (tmp_path / "seed0.json").write_text("{")
    with pytest.raises(ValueError, match=r"seed0\.json is damaged"):
        report.results_table(tmp_path)


@pytest.mark.slow
def test_command(tmp_path, capsys, make_workdir):
    assert command.main([]) == 2
    assert capsys.readouterr().err.startswith("name a folder")
    assert command.main([str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert command.main([str(seeds(tmp_path, {}))]) == 0
    assert capsys.readouterr().out == report.results_table(tmp_path)
    folder = make_workdir()
    assert command.main([str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder / 'report.html'}\n"
