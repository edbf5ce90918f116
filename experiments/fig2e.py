"""Fig. 2e: any signature works, on CIFAR-100.

Command:   python run.py --config=experiments/fig2e.py[:quick]
Expect:    all five signatures matched, within a few degrees.
"""

import ml_collections

from experiments import common, shared_claims
from tools.reproduction.claims import Claim
from tools.reproduction.figures import Curves
from tools.reproduction.runs import Runs

CASES = {
    "paper": common.OWN_CASE["paper"] | {"verify": common.FINE} | {"data": common.CIFAR100},
    "quick": common.OWN_CASE["quick"]
    | {"verify": common.FINE}
    | {"data": common.CIFAR100 | {"num_train": 4000}, "train": common.QUICK_TRAIN},
}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings of the training."""
    row = common.signatures_row("Fig. 2e", "CIFAR-100")
    return common.study("fig2e", variant, CASES, row)


def claims(runs: Runs) -> list[Claim]:
    """Claim that all five signatures are matched, and read to within 15 degrees."""
    return shared_claims.five_signatures(runs)


def figure(runs: Runs) -> Curves:
    """Draw the loss around each of the five signatures."""
    return shared_claims.user_curves(runs)
