"""Owners who lie are not believed more often than the level says; honest owners are believed.

Each cheat is tried a thousand times at each level. Accepted means exit code 0; a refusal, or a
result on conditions, does not. The same lies without the rule that stops them must be seen.
`ANW_CHEAT_RESULTS=results/cheating_owners.json pytest -m slow -k cheating_owners tests` writes
the figures.
"""

import collections
import json
import os
import pathlib

import numpy as np
import pytest
import scipy.stats

from anw_jax.cli.output import UNFIT
from tests.cli.fuzzing import Commands
from tests.statistical.cheats import CHEATS, guilty
from tests.statistical.court import heard, heard_by_commands, make_quick

LEVELS = (0.05, 0.01)
FEW, MANY = 12, 1000
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture
def quick(monkeypatch):
    make_quick(monkeypatch)


def most(number: int, level: float) -> float:
    """The upper end of the 99.9 % band of a binomial count."""
    return scipy.stats.binom.interval(0.999, number, level)[1]


def codes_of(make, name, level, number, root, **more) -> collections.Counter:
    """The exit codes of so many tries; of several cases of one try the best for the owner."""
    ends: collections.Counter[int] = collections.Counter()
    for attempt in range(number):
        rng = np.random.default_rng([*name.encode(), attempt, int(1000 * level)])
        model, cases = make(rng, level, **more)
        codes = {heard(model, brought, root)[0] for brought in cases}
        ends[0 if 0 in codes else codes.pop()] += 1
    return ends


def write_figures(name: str, level: float, ends: collections.Counter) -> None:
    place = os.environ.get("ANW_CHEAT_RESULTS")
    if not place:
        return
    path, number = pathlib.Path(place), ends.total()
    body = json.loads(path.read_text()) if path.exists() else {}
    body.setdefault("about", " ".join(__doc__.split("`")[0].split()))
    body.setdefault("cheats", {}).setdefault(name, {})[f"level {level:g}"] = {
        "tries": number,
        "accepted": ends[0],
        "most_accepted": None if name == "honest owner" else int(most(number, level)),
        "exit_codes": {str(code): ends[code] for code in sorted(ends)},
    }
    body["cheats"] = dict(sorted(body["cheats"].items()))
    path.write_text(json.dumps(body, indent=1) + "\n")


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_does_not_pay(quick, tmp_path, name):
    ends = codes_of(CHEATS[name], name, 0.05, FEW, tmp_path)
    assert ends[0] <= most(FEW, 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_does_not_pay_a_thousand_times(quick, tmp_path, name, level):
    ends = codes_of(CHEATS[name], name, level, MANY, tmp_path)
    write_figures(name, level, ends)
    assert ends[0] <= most(MANY, level)


@pytest.mark.parametrize("name", CHEATS)
def test_without_the_rule_that_stops_it_a_cheat_pays(quick, tmp_path, name):
    ends = codes_of(CHEATS[name], name, 0.05, 2 * FEW, tmp_path, is_stopped=False)
    assert ends[0] > most(2 * FEW, 0.05), ends


def test_an_honest_owner_is_believed(quick, tmp_path):
    assert codes_of(guilty, "honest", 0.01, FEW, tmp_path)[0] == FEW


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_an_honest_owner_is_believed_a_hundred_times(quick, tmp_path, level):
    ends = codes_of(guilty, "honest", level, 100, tmp_path)
    write_figures("honest owner", level, ends)
    assert ends[0] >= 99


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CHEATS, "honest"])
def test_the_commands_end_alike(tmp_path, monkeypatch, name):
    anw, make = Commands(monkeypatch), CHEATS.get(name, guilty)
    for attempt in range(4):
        rng = np.random.default_rng([*name.encode(), attempt, 50])
        model, (brought,) = make(rng, 0.05)
        quickly = heard(model, brought, tmp_path)
        code, p = heard_by_commands(anw, model, brought, tmp_path)
        if code == UNFIT:  # the probe, which is not made here, refuses some models
            assert name == "re_marking"
            continue
        assert quickly == (code, p if p is None else pytest.approx(p, rel=1e-9)), attempt
