"""Fig. 2h: more capacity, a lower and sharper minimum. Quick: ResNets of a quarter width.

Command:   python -m tools.reproduction run --rows fig2h [--variant quick]
Expect:    with depth the lowest loss falls and the minimum grows sharper.

Quick takes networks of a quarter of the width on CIFAR-10, with the stem for large images. A
ResNet-101 was planned and removed before any of its results was seen: its training takes 25
minutes on a core, and the limit was 15. Quick trainings ran side by side on two cores, and some
exceed it: Fig. 2f, which §5.4 shares (28 to 49 minutes, 4,000 photos of 64 pixels); Fig. 2e (15
to 24), the training without marks of Accuracy cost (11 to 25), ResNet-34 and ResNet-50 here and
VGG of Fig. 2g (up to 16) when they shared the cores.
"""

import statistics
from collections.abc import Callable

import ml_collections
import numpy as np
from scipy import stats

from experiments import common, shared_claims
from tools.reproduction.claims import Claim, at_least, at_most
from tools.reproduction.figures import Curves
from tools.reproduction.runs import Run, Runs, Seed

DEPTHS = {"paper": (18, 34, 50, 101, 152), "quick": (18, 34, 50)}
CASES = {
    "paper": common.TINY_CASE,
    "quick": common.OWN_CASE["quick"]
    | {"model": {"name": "resnet18", "stem": "tiny", "widths": (16, 32, 64, 128)}},
}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings of the trainings."""
    depths = DEPTHS.get(variant, DEPTHS["paper"])
    arms = {f"resnet{depth}": {"model.name": f"resnet{depth}"} for depth in depths}

    row = {
        "row": "Fig. 2h",
        "title": "Capacity",
        "note": "a quarter of the width, depths 18 to 50, on CIFAR-10"
        if variant == "quick"
        else "",
        "paper": "deeper ResNets: a lower loss, and a sharper minimum around the signature",
        "arms": arms,
        "minutes": 5.0,
    }
    return common.study("fig2h", variant, CASES, row)


def curve_of(run: Run, user: str) -> list[float]:
    """Return a user's mean loss at each angle of the fine grid."""
    return run.numbers(f"users.{user}.one_signature.curve")


def lowest_loss(run: Run, user: str) -> float:
    """Return the lowest mean loss, in nats; lower means better remembered."""
    return float(np.min(curve_of(run, user)))


def sharpness(run: Run, user: str) -> float:
    """Return how far the loss rises within 30 degrees of its minimum, in nats, ≥ 0.

    The mean of the losses 30 degrees to either side of the lowest point, minus the lowest loss.
    """
    curve = np.array(curve_of(run, user))
    step = round(30.0 * len(curve) / 360.0)
    lowest = int(np.argmin(curve))  # the place of the first NaN, if there is one
    sides = curve[(lowest + np.array([-step, step])) % len(curve)]
    return float(sides.mean() - curve[lowest])


def trend(seed: Seed, measure: Callable[[Run, str], float]) -> float:
    """Return Spearman's rank correlation of depth and the mean of a measure over users.

    1: rises at every step of depth; -1: falls at every step; 0: all values equal.
    """
    values = [
        statistics.fmean(measure(run, user) for user in common.HUE_USERS) for run in seed.all()
    ]
    if len(set(values)) == 1:
        return 0.0
    return float(stats.spearmanr(range(len(values)), values).statistic)


def claims(runs: Runs) -> list[Claim]:
    """Claim that with depth the lowest loss falls and the minimum grows sharper."""
    return [
        Claim(
            "rank correlation of depth and lowest loss",
            paper="monotone, falling",
            measured=runs.per_seed(lambda seed: trend(seed, lowest_loss)),
            confirm=at_most(-0.8),
            direction=at_most(-0.2),
        ),
        Claim(
            "rank correlation of depth and sharpness",
            paper="monotone",
            measured=runs.per_seed(lambda seed: trend(seed, sharpness)),
            confirm=at_least(0.8),
            direction=at_least(0.2),
        ),
        shared_claims.keyed_p(runs),
    ]


def figure(runs: Runs) -> Curves:
    """Draw the loss around one signature at each depth."""
    return shared_claims.arm_curves(runs, ordered=True)
