"""`anw model trace` as the judge uses it: what he takes from the log, and what it prints."""

import dataclasses
import datetime
import json

import pytest

from anw_jax.cli import model_copies
from anw_jax.cli.main import run
from anw_jax.keys import MarkKey, beacons
from anw_jax.schemes import copies
from anw_jax.schemes.log import read_log
from tests.schemes.fingerprint.conftest import VALUE
from tests.schemes.fingerprint.world import World, leaked, load, save

ROUND = beacons.drand_after(datetime.datetime.now(datetime.UTC))
EARLIER = f"drand:{beacons.QUICKNET}:1000"


@pytest.fixture
def world(tmp_path, monkeypatch, owner_class) -> World:
    """A dispute that the judge has read; its SETUP names a round that appears later."""
    monkeypatch.setattr(model_copies, "network_at", load)
    monkeypatch.setattr(copies, "load_network", load)
    own = owner_class(key=MarkKey.generate())
    own.plan = dataclasses.replace(own.plan, beacon=ROUND)
    world = World(tmp_path, own)
    world.deliver("ann", "bob")
    suspect = leaked(world, "ann")
    world.number = world.dispute(suspect)
    world.read(world.number, suspect)
    (tmp_path / "copies").mkdir()
    for name, weights in {"base": own.base, "found": suspect}.items():
        save(tmp_path / f"{name}.npz", weights)
    for name, weights in world.copies.items():
        save(tmp_path / "copies" / f"{name}.npz", weights)
    own.key.save(tmp_path / "mark.key")
    return world


def judged(world: World, beacon: str, capsys) -> tuple[int, str]:
    """Judge with the JSON of a round, which the owner's carrier.json names."""
    path, own = world.path, world.own
    plan = dataclasses.replace(own.plan, beacon=beacon)
    body = {"format": model_copies._FORMAT, "carrier": own.carrier.as_json()}
    body |= {"plan": plan.as_json(), "setup": world.setup}
    (path / "carrier.json").write_text(json.dumps(body))
    number = int(beacon.rpartition(":")[2])
    (path / "round.json").write_text(json.dumps({"round": number, "randomness": VALUE.hex()}))
    words = ["model", "trace", str(world.log), "--dispute", str(world.number)]
    files = {"carrier": "carrier.json", "base": "base.npz", "suspect": "found.npz"}
    files |= {"key": "mark.key", "copies": "copies", "sign": "judge"}
    for option, file in files.items():
        words += [f"--{option}", str(path / file)]
    code = run([*words, "--beacon-value", str(path / "round.json")])
    output = capsys.readouterr()
    return code, output.out + output.err


def test_the_judge_takes_the_round_that_setup_names(world, capsys):
    code, text = judged(world, ROUND, capsys)
    assert code == 10, text
    assert "derives from copy" in text


def test_printed_logarithms_are_rounded_up(world, capsys):
    judged(world, ROUND, capsys)
    body = read_log(world.log)[-1].body
    (printed,) = (line for line in judged(world, ROUND, capsys)[1].splitlines()
                  if line.startswith(f"issue {body['issues'][0]}:"))  # fmt: skip
    assert 0.0 <= float(printed.rpartition(" = ")[2]) - body["log10_p"][0] < 0.01


def test_the_value_of_another_round_is_refused(world, capsys):
    """The owner could know its value, and the codes, before he fixes the carrier."""
    code, text = judged(world, EARLIER, capsys)
    assert code == 1
    assert "the JSON is that of 1000, and the plan names" in text
