"""Fig. 2f: any signature works, on Tiny ImageNet (quick: 12 classes).

Command:   python run.py --config=experiments/fig2f.py[:quick]
Expect:    all five signatures matched, within a few degrees.
"""

import ml_collections

from experiments import common, shared_claims
from tools.reproduction.claims import Claim
from tools.reproduction.figures import Curves
from tools.reproduction.runs import Runs

CASES = {
    "paper": common.OWN_CASE["paper"]
    | {"verify": common.FINE}
    | {
        "data": common.TINY,
        "model": common.TINY_RESNET50,
        "train": common.TINY_TRAIN,
        "users": common.usual_users(100, 100),
    },
    "quick": common.OWN_CASE["quick"]
    | {"verify": common.FINE}
    | {
        "data": common.TINY_12 | {"num_train": 4000},
        "model": common.TINY_SMALL,
        "train": common.QUICK_TRAIN,
    },
}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings of the training."""
    row = common.signatures_row("Fig. 2f", "Tiny ImageNet (quick: 12 classes)")
    return common.study("fig2f", variant, CASES, row)


def claims(runs: Runs) -> list[Claim]:
    """Claim that all five signatures are matched, and read to within 15 degrees."""
    return shared_claims.five_signatures(runs)


def figure(runs: Runs) -> Curves:
    """Draw the loss around each of the five signatures."""
    return shared_claims.user_curves(runs)
