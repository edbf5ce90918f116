"""The commands, in process: what they write, and their exit codes."""

import json
import pathlib

import pytest

from tools.reproduction import __main__ as command
from tools.reproduction import queue

FIGURE = """
def figure(runs):
    return Bars({"main": runs.each(Run.number, path="model.test_accuracy")}, "accuracy")
"""


@pytest.fixture
def here(write_study, tmp_path, monkeypatch):
    """A checkout with one study; the current folder."""
    write_study("fig0", study={"seeds": (0, 1)}, functions=FIGURE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fake_run(load, made_up, monkeypatch):
    """Stands in for trainings; the labels of those asked for."""
    asked = []

    def run(settings, folder):
        study = load("quick" if settings.name.endswith("quick") else "paper")[0]
        asked.append((settings.name, settings.seed, pathlib.Path(folder).as_posix()))
        return made_up.result(study, seed=settings.seed)

    monkeypatch.setitem(queue.Queue.__init__.__kwdefaults__, "runner", run)
    return asked


def test_run_figures_document(here, fake_run, capsys):
    assert command.main(["run", "--variant", "quick", "--seeds", "1"]) == 0
    assert fake_run == [("fig0_quick", 1, "workdir/fig0_quick/seed1")]
    assert "[queue]  fig0_quick/seed1: done in 0 s" in capsys.readouterr().out
    assert command.main(["figures"]) == 0
    assert capsys.readouterr().out == "docs/figures/fig0_quick.png\n"
    assert command.main(["document"]) == 0
    text = (here / "docs" / "reproduction.md").read_text()
    assert "direction only (quick), 1 of 2 seeds" in text
    for link in ("figures/fig0_quick.png", "figures/fig0_quick.csv"):
        assert (here / "docs" / link).is_file()


def test_run_does_what_is_missing(here, fake_run):
    assert command.main(["run"]) == command.main(["run"]) == 0
    assert [seed for _, seed, _ in fake_run] == [0, 1]
    (here / "results" / "fig0" / "seed0.json").unlink()
    assert command.main(["run", "--rows", "Fig. 0", "--max_minutes", "100"]) == 0
    assert [seed for _, seed, _ in fake_run] == [0, 1, 0]


def test_plan_prints_a_table(here, capsys):
    assert command.main(["plan", "--variant", "quick"]) == 0
    printed = capsys.readouterr().out
    assert "| fig0_quick | testing | mock:160, all | 2 | 0, 1 | ? | Fig. 0 |" in printed
    assert "2 trainings, 2 result files" in printed


def test_a_failed_run_is_exit_code_1(here, monkeypatch, capsys):
    def run(settings, folder):
        raise ValueError("no data")

    monkeypatch.setitem(queue.Queue.__init__.__kwdefaults__, "runner", run)
    assert command.main(["run"]) == 1
    assert "fig0/seed0: FAILED: ValueError: no data" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "the following arguments are required: command"),
        (["rnu"], 2, "invalid choice: 'rnu'"),
        (["run", "--variant", "fast"], 2, "invalid choice: 'fast'"),
        (
            ["run", "--rows", "fig1"],
            1,
            "tools.reproduction: rows must be one of fig0; got 'fig1'",
        ),
        (["plan", "--experiments", "x"], 1, "tools.reproduction: x/studies.txt is missing"),
    ],
)
def test_a_mistake_is_one_line(here, capsys, arguments, code, message):
    assert command.main(arguments) == code
    error = capsys.readouterr().err
    assert message in error
    assert code == 2 or len(error.splitlines()) == 1


def test_ctrl_c_is_exit_code_130(here, monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "items_of", stop)
    assert command.main(["run"]) == 130
    assert "the same command resumes here" in capsys.readouterr().err


def test_a_damaged_result_is_one_line(here, capsys):
    path = here / "results" / "fig0" / "seed0.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"name": "fig0"}))
    assert command.main(["document"]) == 1
    assert capsys.readouterr().err == (
        "tools.reproduction: results/fig0/seed0.json has no settings; there: name\n"
    )
