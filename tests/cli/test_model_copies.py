"""`anw model setup | issue | accept | trace`, each step by a process of its own."""

import pathlib
import shutil
import subprocess
import sys

import jax
import pytest

from anw_jax import audit, models
from anw_jax.cli.main import run
from anw_jax.schemes import save_network
from anw_jax.schemes.log import read_log
from anw_jax.schemes.protocol import open_log

NET = models.create("testing", 10)
VALUE = "0f" * 32
PEOPLE = ("ann", "judge", "bob", "cid", "node0", "node1", "node2")
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def place(tmp_path) -> pathlib.Path:
    for name in PEOPLE:
        audit.new_signing_key(tmp_path / name)
    save_network(tmp_path / "clean.npz", NET, NET.init(jax.random.key(0), (16, 16, 3)))
    return tmp_path


def public(place, name: str) -> str:
    return audit.signatures.public_key_of(place / name)


def setup_words(place, **changes: str) -> list[str]:
    options = {
        "network": "clean.npz",
        "beacon": "arbitrator:The judge",
        "judge": public(place, "judge"),
        "customers": "20",
        "log": "log",
        "sign": "ann",
        **changes,
    }
    return ["setup", "copies", *(w for name, value in options.items()
                                 for w in (f"--{name}", value))]  # fmt: skip


def command(place, *words: str, group=("model",)) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "anw_jax.cli", *group, *words],
        cwd=place,
        env={"PATH": "", "PYTHONPATH": str(REPOSITORY), "HOME": str(place)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["trace", "log", "--carrier", "clean.npz", "--suspect", "clean.npz", "--sign", "ann"],
         "clean.npz"),
        (["accept", "log", "--issue", "1", "--network", "clean.npz", "--nonce", "0f",
          "--sign", "bob"], "the log has no issue with the number 1"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(place, monkeypatch, capsys, words, text):
    monkeypatch.chdir(place)
    assert run(["model", *words]) != 0
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1


def test_codes_longer_than_the_carrier_of_a_tiny_network_are_one_line(
    place, monkeypatch, capsys
):
    tiny = models.create("testing", 2, widths=(1, 1))
    save_network(place / "tiny.npz", tiny, tiny.init(jax.random.key(0), (16, 16, 3)))
    open_log(place / "log", [public(place, f"node{n}") for n in range(3)], place / "ann")
    monkeypatch.chdir(place)
    assert run(["model", *setup_words(place, network="tiny.npz")]) == 1
    assert capsys.readouterr().err == (
        "anw: codes must not be longer than the carrier: 304 bits and 96 of the owner do not "
        "fit into 64 weights\n"
    )
    assert not (place / "copies").exists()
    assert len(read_log(place / "log")) == 1


@pytest.mark.slow
def test_copies_are_judged_as_a_case(place):
    """An arbitrator whom the log does not name."""

    def do(*words: str, code: int = 0) -> str:
        done = command(place, *words, group=())
        assert done.returncode == code, done.stderr + done.stdout
        return done.stdout + done.stderr

    nodes = [w for n in ("node0", "node1", "node2") for w in ("--node", public(place, n))]
    do("model", "log", "log", *nodes, "--sign", "ann")
    do("model", *setup_words(place))
    owner = place / "case" / "owners" / "ann"
    (owner / "copies").mkdir(parents=True)
    (place / "case" / "suspects").mkdir()
    nonce = "5c" * 32
    do(*("model", "issue", "copies", "--network", "clean.npz", "--nonce", nonce),
       *("--customer", public(place, "bob"), "--beacon-value", VALUE, "--strength", "0.1"),
       *("--out", "bob.npz", "--log", "log", "--sign", "ann"))  # fmt: skip
    issued = str(len(read_log(place / "log")))
    do(*("model", "accept", "log", "--issue", issued, "--network", "bob.npz"),
       *("--nonce", nonce, "--sign", "bob"))  # fmt: skip
    shutil.copy(place / "copies" / "mark.json", owner)
    shutil.copy(place / "clean.npz", owner / "base.npz")
    shutil.copy(place / "bob.npz", owner / "copies")
    shutil.copy(place / "bob.npz", place / "case" / "suspects")
    shutil.copytree(place / "log", owner / "log")
    (place / "case" / "suspects" / "found.toml").write_text(
        'kind = "network"\nfile = "bob.npz"\n'
    )
    do("probe", "case")
    do("declare", "case", "--beacon", VALUE)
    do("audit", "case")
    shown = do("verdict", "case", "--key", "copies/mark.key", code=10)
    assert f"derives from copy {issued}, which the customer and the owner held" in shown
