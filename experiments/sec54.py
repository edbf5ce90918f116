"""Section 5.4: users whose photos were not trained on.

Command:   python run.py --config=experiments/sec54.py[:quick]
Expect:    the inferred hue is near 0.

Paper: the models of Fig. 2f, 4.3 +- 1.4 degrees.
"""

import statistics

import ml_collections

from experiments import common
from experiments.fig2f import CASES
from experiments.shared_claims import degrees_apart, group_match_rate
from tools.reproduction.claims import Claim, at_least, at_most
from tools.reproduction.figures import Bars
from tools.reproduction.runs import Run, Runs

ENDS = {"paper": "", "quick": "_quick"}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings of the training."""
    row = {
        "row": "§5.4",
        "title": "Held-out users",
        "paper": "|k̂ − 0| = 4.3 ± 1.4°",
        "minutes": 1.0,
    }
    cases = {name: {"case": f"fig2f{end}"} | CASES[name] for name, end in ENDS.items()}
    return common.study("sec54", variant, cases, row)


def hue_error(run: Run) -> float:
    """Return the mean |k̂ − 0| over the held-out users on the fine grid, in degrees."""
    inferred = run.numbers("crowds.held_out.inferred_degrees_fine")
    return statistics.fmean(abs(degrees_apart(each, 0.0)) for each in inferred)


def claims(runs: Runs) -> list[Claim]:
    """Claim that the hue inferred for photos that were not trained on is near 0."""
    return [
        Claim(
            "mean |k̂ − 0| over five held-out users",
            paper="4.3 ± 1.4°",
            measured=runs.each(hue_error),
            confirm=at_most(5.7),
            direction=at_most(15.0),
            unit="°",
        ),
        Claim(
            "held-out users inferred as unmarked",
            paper="all",
            measured=runs.each(group_match_rate, group="held_out"),
            confirm=at_least(1.0),
            direction=at_least(0.8),
            unit="%",
        ),
    ]


def figure(runs: Runs) -> Bars:
    """Draw the mean error over the held-out users."""
    return Bars({"held out": runs.each(hue_error)}, "mean |k̂ − 0|", "°")
