"""What is written down of where numbers come from."""

import sys

import pytest

from anw_jax.lab.provenance import command_line


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (
            ["/opt/bin/python3", "run.py", "--config=a.py:quick"],
            "python3 run.py --config=a.py:quick",
        ),
        (["python", "-m", "tools.reproduction", "run"], "python -m tools.reproduction run"),
        (
            ["python", "run.py", "--config.name=two words"],
            "python run.py '--config.name=two words'",
        ),
    ],
)
def test_the_command_is_what_was_typed(monkeypatch, typed, expected):
    monkeypatch.setattr(sys, "orig_argv", typed)
    assert command_line() == expected


def test_without_a_command_the_interpreter_is_named(monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", [])
    assert command_line().startswith("python")
