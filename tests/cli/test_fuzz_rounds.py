"""Mutants of the files of a sequential case: one line, a known code, no wrong acceptance."""

import json
import random

import pytest

from anw_jax.cli.exit_codes import MEANINGS
from tests.cli.test_conditions import VALUE, case, made  # noqa: F401
from tests.cli.test_fuzz_case import FEW, MANY, bytewise, structured

CLOSED = ("closed.json", "records/ann.jsonl", "declared.json")
OPEN = ("exchange/ann.request.json", "exchange/ann.opening.json", "openings.jsonl")


@pytest.fixture
def waiting(anw, root, case):  # noqa: F811
    """A sequential case with two leaves opened, that waits for the third."""
    folder = made(anw, root, "rounds", "--mode", "sequential", labels=root / "labels.csv")
    for words in (("probe",), ("declare", "--beacon", VALUE)):
        assert anw(words[0], folder, *words[1:]).code == 0
    for _ in range(2):
        assert anw("audit", folder).code == 5
        assert opened(anw, root, folder).code == 0
    assert anw("audit", folder).code == 5
    return folder


def opened(anw, root, folder):
    exchange = folder / "exchange"
    return anw(
        "open", exchange / "ann.request.json", "--key", root / "ann.key",
        "--from", root / "rounds_marked", "--out", exchange / "ann.opening.json",
    )  # fmt: skip


@pytest.fixture
def closed(anw, root, waiting):
    """The same, carried to its end."""
    for _ in range(13):
        assert opened(anw, root, waiting).code == 0
        if anw("audit", waiting).code == 0:
            break
    assert anw("verdict", waiting).code == 10
    return waiting


def mutant(before: bytes, name: str, rng: random.Random) -> bytes:
    """One entry of a JSON file, or of one line of it, changed; or bytes."""
    if rng.random() < 0.3:
        return bytewise(before, rng)
    if not name.endswith(".jsonl"):
        return structured(before, rng)
    lines = before.splitlines()
    at = rng.randrange(len(lines))
    lines[at] = structured(lines[at], rng)
    return b"\n".join(lines) + b"\n"


def known(ran) -> None:
    assert ran.code in MEANINGS
    assert "Traceback" not in ran.err
    errors = [line for line in ran.err.splitlines() if not line.startswith("anw: warning: ")]
    assert len(errors) <= 1


def check_closed(anw, folder, name, seed) -> None:
    path, rng = folder / name, random.Random(f"{name} {seed}")
    before, verdict = path.read_bytes(), (folder / "verdict.json").read_bytes()
    p_value = json.loads(verdict)["tests"]["ann"]["net"]["p_value"]
    try:
        path.write_bytes(mutant(before, name, rng))
        ran = anw("verdict", folder)
        known(ran)
        if ran.code in (0, 3, 10):
            body = json.loads((folder / "verdict.json").read_text())
            assert body["tests"]["ann"]["net"]["p_value"] >= p_value * (1 - 1e-9)
            assert ran.code != 0
    finally:
        path.write_bytes(before)
        (folder / "verdict.json").write_bytes(verdict)


def check_open(anw, root, folder, name, seed) -> None:
    """What the owner opens, and what the arbitrator takes, stays the one leaf that is due."""
    log = root / "rounds_marked" / "openings.jsonl"
    path = log if name == "openings.jsonl" else folder / name
    if name.endswith("opening.json"):
        assert opened(anw, root, folder).code == 0
    kept = {file: file.read_bytes() for file in (log, path, folder / "records" / "ann.jsonl")}
    rng = random.Random(f"{name} {seed}")
    try:
        path.write_bytes(mutant(kept[path], name, rng))
        known(
            opened(anw, root, folder)
            if not name.endswith("opening.json")
            else anw("audit", folder)
        )
        grown = len(log.read_bytes().splitlines()) - len(kept[log].splitlines())
        assert grown <= 1 or name == "openings.jsonl"
    finally:
        for file, body in kept.items():
            file.write_bytes(body)


@pytest.mark.parametrize("name", CLOSED)
def test_some_of_a_closed_case(anw, closed, name):
    for seed in range(FEW):
        check_closed(anw, closed, name, seed)


@pytest.mark.parametrize("name", OPEN)
def test_some_of_an_exchange(anw, root, waiting, name):
    for seed in range(FEW):
        check_open(anw, root, waiting, name, seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", CLOSED)
def test_many_of_a_closed_case(anw, closed, name):
    for seed in range(MANY):
        check_closed(anw, closed, name, seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPEN)
def test_many_of_an_exchange(anw, root, waiting, name):
    for seed in range(MANY):
        check_open(anw, root, waiting, name, seed)
