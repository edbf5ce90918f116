"""The command as a program sees it: words in; code, output and errors out."""

import dataclasses

import pytest

from anw_jax.cli.main import run


@dataclasses.dataclass
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture
def anw(capsys):
    """Runs `anw` in this process."""

    def call(*words) -> Ran:
        code = run([str(word) for word in words])
        seen = capsys.readouterr()
        return Ran(code, seen.out, seen.err)

    return call


@pytest.fixture(autouse=True)
def the_same_key_in_every_run(monkeypatch):
    """A verdict on an innocent model is a matter of luck; here the luck is fixed."""
    monkeypatch.setattr("secrets.token_bytes", lambda number=32: bytes(range(number)))


@pytest.fixture(autouse=True)
def few_sizes(monkeypatch):
    """A probe of a model without skill tries few sizes, not all up to 384 pixels."""
    monkeypatch.setattr("anw_jax.suspects.probing.checks._SIDES", (28,))


@pytest.fixture
def root(tmp_path):
    """Where owners and the arbitrator have their folders."""
    return tmp_path
