"""`run.py` on a tiny config: the files it leaves, and what stands in its results."""

import json
import math
import pathlib

import pytest

from tests.golden import make_run

GOLDEN = json.loads(pathlib.Path(__file__).with_name("run.json").read_text())
# Numbers of a network that was trained differ in their last digits between machines, and the
# more so in what is computed of many: p of a table, the share of photos it gets right.
LOOSE = {"log10_p": 0.05, "accuracy": 0.02, "p": 0.1, "z": 0.1}


def close(new, old, place=()) -> list[str]:
    """Where results differ; floats may in the third digit or as `LOOSE` says."""
    if isinstance(old, dict) and isinstance(new, dict) and new.keys() == old.keys():
        pairs = [(new[name], old[name], (*place, name)) for name in old]
    elif isinstance(old, list) and isinstance(new, list) and len(new) == len(old):
        pairs = [(*pair, place) for pair in zip(new, old, strict=True)]
    elif isinstance(old, float) and isinstance(new, float):
        slack = max(
            (LOOSE[part] for name in place for part in LOOSE if name.startswith(part)),
            default=0.003,
        )
        same = math.isclose(new, old, rel_tol=slack, abs_tol=slack)
        return [] if same else [f"{'/'.join(place)}: was {old!r}, is {new!r}"]
    else:
        return [] if new == old else [f"{'/'.join(place)}: was {old!r}, is {new!r}"]
    return [line for pair in pairs for line in close(*pair)]


@pytest.mark.slow
def test_a_run_leaves_what_it_left(tmp_path):
    make_run.run(tmp_path / "run", f"--save_results={tmp_path / 'kept' / 'seed3.json'}")
    now = make_run.golden(tmp_path / "run")
    for name in ("files", "settings", "commitments"):
        assert now[name] == GOLDEN[name], name
    assert close(now["results"], GOLDEN["results"]) == []
    kept = json.loads((tmp_path / "kept" / "seed3.json").read_text())
    assert kept == json.loads((tmp_path / "run" / "results.json").read_text())


def test_what_is_secret_or_fixed_is_compared_exactly():
    user = GOLDEN["results"]["users"]["keyed"]
    assert close(user, user) == []
    for name, value in (("true_slots", [1] * 12), ("commitment", "0"), ("outcome", "shown")):
        assert close({**user, name: value}, user) != []
    assert close({**user, "log10_p": user["log10_p"] - 0.2}, user) != []
