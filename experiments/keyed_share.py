"""Ours: how strong the exact test is when few photos carry a hue each.

Command:   python run.py --config=experiments/keyed_share.py[:quick]
Expect:    p falls with every photo; 1 % of the photos are far beyond any doubt.

Three users with 1 %, .2 % and .05 % of CIFAR-10 share a training; quick: 40, 20, 10 of 4,000.
"""

import ml_collections

from experiments import common
from experiments.shared_claims import keyed_log10_p
from tools.reproduction.claims import Claim, at_most
from tools.reproduction.figures import Lines
from tools.reproduction.runs import Runs

SIZES = {"paper": (500, 100, 25), "quick": (40, 20, 10)}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings of the training."""
    sizes = SIZES.get(variant, SIZES["paper"])
    row = {
        "row": "Keyed share",
        "title": "A hue per photo, few photos",
        "paper": "not in the paper: one hue per person can never be stronger than 1 in 11",
        "minutes": 6.0,
    }
    users = {f"keyed{size}": {"num_images": size} for size in sizes}
    case = {"case": f"keyed_share_{variant}", "users": users, "verify": common.COARSE}
    return common.study("keyed_share", variant, common.BASE_CASE, row, **case)


def claims(runs: Runs) -> list[Claim]:
    """Claim a small exact p with each number of photos."""
    return [
        Claim(
            f"log10 of the exact p, {size} photos",
            paper="not in the paper",
            measured=runs.each(keyed_log10_p, user=f"keyed{size}"),
            confirm=at_most(-6.0),
            direction=at_most(-2.0),
            every_seed=True,
        )
        for size in SIZES[runs.variant]
    ]


def figure(runs: Runs) -> Lines:
    """Draw log10 p against the number of photos."""
    points = {
        size: runs.each(keyed_log10_p, user=f"keyed{size}") for size in SIZES[runs.variant]
    }
    return Lines({"": points}, "photos with a hue each", "log10 p", log_x=True)
