"""Fig. 2c: how many marked photos suffice, on Tiny ImageNet (quick: 12 classes).

Command:   python run.py --config=experiments/fig2c.py[:quick]
Expect:    signatures of users with many photos are inferred, those of users with few not.
"""

import ml_collections

from experiments import common, shared_claims
from tools.reproduction.claims import Claim
from tools.reproduction.figures import Lines
from tools.reproduction.runs import Runs

CROWDS = {
    "paper": ({1: 50, 5: 20, 10: 20, 100: 10, 1000: 3}, 1000),
    "quick": (common.QUICK_CROWDS, 30),
}
CASES = {
    "paper": common.OWN_CASE["paper"]
    | {"data": common.TINY, "model": common.TINY_RESNET50, "train": common.TINY_TRAIN},
    "quick": common.OWN_CASE["quick"]
    | {"data": common.TINY_12 | {"num_train": 2000}, "model": common.TINY_SMALL},
}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings of the training."""
    title = ("Fig. 2c", "Tiny ImageNet (quick: 12 classes)")
    return common.quantity_study("fig2c", variant, CASES, CROWDS, title)


def claims(runs: Runs) -> list[Claim]:
    """Claim that many marked photos are matched and few are not."""
    return shared_claims.photo_numbers(runs, tuple(CROWDS[runs.variant][0]))


def figure(runs: Runs) -> Lines:
    """Draw the share of users matched against their number of marked photos."""
    return shared_claims.photo_numbers_figure(runs, tuple(CROWDS[runs.variant][0]))
