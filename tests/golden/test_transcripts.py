"""What `anw` does, command by command: exit codes, files, JSON fields and values, every p."""

import json
import math

import pytest

from tests.golden.make_transcripts import FOLDER, SCENARIOS, play

# Seconds each; the others are played by `pytest -m slow`.
FAST = ("sealed_evidence", "sequential_by_hand", "changed_files")


def differences(new, old, place="") -> list[str]:
    """Where two JSON values differ; floats may by 1e-12 of their size."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = sorted(old.keys() | new.keys())
        found = [f"{place}: {sorted(old.keys() ^ new.keys())}"] * (old.keys() != new.keys())
        pairs = [(new.get(name), old.get(name), f"{place}/{name}") for name in names]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        found = []
        pairs = [(*pair, f"{place}/{n}") for n, pair in enumerate(zip(new, old, strict=True))]
    else:
        is_float = isinstance(old, float) and isinstance(new, float)
        same = new == old and type(new) is type(old)
        close = is_float and math.isclose(new, old, rel_tol=1e-12, abs_tol=1e-12)
        return [] if same or close else [f"{place}: was {old!r}, is {new!r}"]
    return found + [line for pair in pairs for line in differences(*pair)]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in FAST else [pytest.mark.slow])
        for name in SCENARIOS
    ],
)
def test_a_transcript(name, tmp_path):
    golden = json.loads((FOLDER / f"{name}.json").read_text())
    assert differences(play(name, tmp_path), golden) == []


def test_all_scenarios_have_a_transcript():
    assert {path.stem for path in FOLDER.glob("*.json")} == set(SCENARIOS)


def test_the_transcripts_hold_every_exit_code():
    steps = [
        step for path in FOLDER.glob("*.json") for step in json.loads(path.read_text())["steps"]
    ]
    assert {step["exit"] for step in steps} == set(range(12))
    commands = {step["command"][1] for step in steps}
    assert commands >= set(
        "key commit mark open plan probe declare audit verdict replay".split()
    )


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"p": 1e-9, "named": [["ann", "net"]]}, "/p: was 1.1e-09, is 1e-09"),
        ({"p": 1.1e-9, "named": []}, "/named: was [['ann', 'net']], is []"),
        ({"p": 1.1e-9}, ": ['named']"),
        ({"p": "1.1e-9", "named": [["ann", "net"]]}, "/p: was 1.1e-09, is '1.1e-9'"),
    ],
)
def test_differences_are_seen(changed, place):
    old = {"p": 1.1e-9, "named": [["ann", "net"]]}
    assert differences(old, old) == []
    assert differences(changed, old)[0] == place
    assert differences({"p": old["p"] * (1 + 1e-14), "named": [["ann", "net"]]}, old) == []
