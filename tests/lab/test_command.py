"""`run.py` as a person meets it: exit codes, one-line errors, Ctrl-C."""

import pathlib
import signal
import subprocess
import sys

import pytest

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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name a settings file: python run.py --config=experiments/quickstart.py"),
        (("--config", "experiments/nope.py"), "'experiments/nope.py' does not exist"),
        (("--config=experiments/nope.py",), "'experiments/nope.py' does not exist"),
        (
            ("--config=experiments/quickstart.py", "--config.sead=3"),
            "config.sead is not a setting; did you mean 'seed'?",
        ),
        (("--config=experiments/quickstart.py", "--config.seed=many"), "many"),
        (("--config=experiments/quickstart.py", "--confg.seed=3"), "Unknown command line flag"),
        (("--config=experiments/quickstart.py", "--config.seed=-1"), "seed must be at least 0"),
    ],
)
def test_a_mistake_is_one_line(arguments, message):
    answer = run(*arguments)
    assert answer.returncode in (1, 2)
    assert answer.stderr.startswith("run.py: ")
    assert message in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1
    assert "Traceback" not in answer.stderr


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


def test_ctrl_c_keeps_what_was_computed_and_the_same_command_resumes(tmp_path):
    command = [*TINY, "--config.train.num_epochs=100000", f"--workdir={tmp_path}"]
    code, output = interrupt_after("[train]   starts at step 0 ", command)
    assert code == 130, output
    assert "the same command goes on from here" in output
    assert "Traceback" not in output
    code, output = interrupt_after("[train]   resumed at step ", command)
    assert code == 130, output
    assert not (tmp_path / "DONE").exists()
