"""`run.py` as a person meets it: exit codes, one-line errors, Ctrl-C."""

import importlib.util
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import pytest
from absl import flags

from anw_jax.lab import config
from tools.reproduction.study import study_names

ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY = (
    "--config=experiments/quickstart.py",
    "--config.data.source=mock:200",
    "--config.model.name=testing",
    "--config.verify.num_fresh_keys=20",
    "--config.users.keyed.num_images=12",
    "--config.users.held_out.num_images=12",
    "--config.users.control_unmarked.num_images=12",
)


def run(*arguments: str) -> subprocess.CompletedProcess:
    """Runs the command to its end."""
    return subprocess.run(
        [sys.executable, "run.py", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def module():
    """`run.py`, loaded once: starting it takes seconds."""
    spec = importlib.util.spec_from_file_location("run_py", ROOT / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    for name in ("config", "workdir", "save_results"):
        delattr(flags.FLAGS, name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name a settings file: python run.py --config=experiments/quickstart.py"),
        (("--config=experiments/nope.py",), "'experiments/nope.py' does not exist"),
        (
            ("--config=experiments/quickstart.py", "--config.sead=3"),
            "config.sead is not a setting; did you mean 'seed'?",
        ),
    ],
)
def test_a_mistake_is_one_line(module, arguments, message, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as ended:
        module._parse_flags(["run.py", *arguments])
    assert ended.value.code in (1, 2)
    _is_one_line(capsys.readouterr().err, message)


@pytest.mark.filterwarnings("ignore:the load_module")  # by ml_collections
def test_a_wrong_value_is_one_line(module, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    words = ["run.py", "--config=experiments/quickstart.py", "--config.seed=-1"]
    monkeypatch.setattr(sys, "argv", words)
    rest = module._parse_flags(words)
    with pytest.raises(SystemExit) as ended:
        module.main(rest)
    delattr(flags.FLAGS, "config.seed")
    assert ended.value.code == 1
    _is_one_line(capsys.readouterr().err, "seed must be at least 0, got -1")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--config.seed=-1", "seed must be at least 0, got -1"),
        ("--config.seed=many", "many"),
        ("--confg.seed=3", "Unknown command line flag"),
    ],
)
def test_a_mistake_is_one_line_of_the_process(argument, message):
    answer = run("--config=experiments/quickstart.py", argument)
    assert answer.returncode in (1, 2)
    _is_one_line(answer.stderr, message)


def _is_one_line(errors: str, message: str) -> None:
    assert errors.startswith("run.py: ")
    assert message in errors
    assert len(errors.strip().splitlines()) == 1
    assert "Traceback" not in errors


@pytest.mark.slow
def test_a_config_of_several_trainings_is_sent_to_its_row_at_the_same_scale():
    answer = run("--config", "experiments/fig2g.py:quick")
    assert answer.returncode == 2
    row = "python -m tools.reproduction run --rows fig2g --variant quick"
    assert f"{row} takes them all" in answer.stderr


@pytest.mark.slow
def test_a_config_may_lie_in_a_folder_with_a_space(tmp_path):
    folder = tmp_path / "my  experiments"
    folder.mkdir()
    shutil.copy(ROOT / "experiments" / "quickstart.py", folder)
    answer = run("--config", str(folder / "quickstart.py"), "--config.seed=-1")
    assert "seed must be at least 0" in answer.stderr


def test_every_config_states_a_command_that_takes_it():
    """run.py refuses what has arms; a row's command needs a study that is listed."""
    for file in sorted((ROOT / "experiments").glob("*.py")):
        if "def get_config(" not in file.read_text():
            continue  # what configs share
        found = re.search(r"^Command: +python (.+)$", file.read_text(), re.MULTILINE)
        _, study = config.split_study(config.load_config(str(file)))
        accepted = f"run.py --config=experiments/{file.name}"
        if (study or {}).get("arms"):
            assert file.stem in study_names(file.parent)
            accepted = f"-m tools.reproduction run --rows {file.stem} [--variant quick]"
        assert found is not None, file.name
        assert found[1] in (accepted, f"{accepted}[:quick]"), file.name


def interrupt_after(line_start: str, command: list[str]) -> tuple[int, str]:
    """Presses Ctrl-C when a line appears; returns the exit code and all output."""
    process = subprocess.Popen(
        [sys.executable, "-u", "run.py", *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        seen = []
        for line in process.stdout:
            seen.append(line)
            if line.startswith(line_start):
                process.send_signal(signal.SIGINT)
        return process.wait(timeout=120), "".join(seen)


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_computed_and_the_same_command_resumes(tmp_path):
    command = [*TINY, "--config.train.num_epochs=100000", f"--workdir={tmp_path}"]
    code, output = interrupt_after("[train]   starts at step 0 ", command)
    assert code == 130, output
    assert "the same command resumes here" in output
    assert "Traceback" not in output
    code, output = interrupt_after("[train]   resumed at step ", command)
    assert code == 130, output
    assert not (tmp_path / "DONE").exists()
