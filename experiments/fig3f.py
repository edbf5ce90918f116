"""Fig. 3f: colour jitter, hue included.

Command:   python -m tools.reproduction run --rows fig3f [--variant quick]
Expect:    signatures still matched, with a clearly smaller margin.

The hue turns by up to 36 degrees either way, in the very family of the mark (.1 of a turn is
the smallest reading of "h .2" in the code of the paper: half a range of .2).
"""

import math
import statistics

import ml_collections

from experiments import common, shared_claims
from tools.reproduction.claims import Claim, at_most
from tools.reproduction.figures import Curves
from tools.reproduction.runs import Run, Runs, Seed

JITTER = {"brightness": 0.1, "contrast": 0.2, "saturation": 0.2, "hue": 0.1}
ARMS = {
    "paper": {"none": {}, "jitter": {}},
    "quick": {"none": {"case": "small_cifar10_quick"}, "jitter": {}},
}
ATTACK = {"attacks.jitter": {"attack": "color_jitter", "parameters": JITTER}}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings of the trainings."""
    arms = dict(ARMS.get(variant, ARMS["paper"]))
    arms["jitter"] = ATTACK
    row = {
        "row": "Fig. 3f",
        "title": "Colour jitter",
        "note": f"{common.ON_CIFAR10}; hue ± 36°",
        "paper": "matched, but the loss difference between signatures narrows clearly",
        "arms": arms,
        "minutes": 3.0,
    }
    return common.study("fig3f", variant, common.OWN_CASE, row)


def margin(run: Run) -> float:
    """Return the loss of the second-lowest slot minus that of the lowest, in nats, ≥ 0.

    The mean over users. Blind: it does not say that the lowest slot is the right one.
    """
    return statistics.fmean(
        run.number(f"users.{user}.one_signature.margin") for user in common.HUE_USERS
    )


def narrowing(seed: Seed) -> float:
    """Return the margin with jitter over the margin without; NaN over 0."""
    without = margin(seed["none"])
    return margin(seed["jitter"]) / without if without else math.nan


def claims(runs: Runs) -> list[Claim]:
    """Claim that signatures are still matched, with a clearly smaller margin."""
    jitter = ("jitter",)
    return [
        shared_claims.all_matched(
            runs, "all five signatures are matched with jitter", arms=jitter
        ),
        Claim(
            "margin with jitter over margin without",
            paper="clearly below 1",
            measured=runs.per_seed(narrowing),
            confirm=at_most(0.7),
            direction=at_most(0.95),
        ),
        shared_claims.keyed_p(runs, arms=jitter),
    ]


def figure(runs: Runs) -> Curves:
    """Draw the loss around one signature, without jitter and with it."""
    return shared_claims.arm_curves(runs)
