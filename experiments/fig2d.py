"""Fig. 2d: any signature works, on CIFAR-10. The training that most rows are read from.

Command:   python run.py --config=experiments/fig2d.py[:quick]
Expect:    all five signatures matched, within a few degrees; keyed p below 1e-6.
"""

import ml_collections

from experiments import common, shared_claims
from tools.reproduction.claims import Claim
from tools.reproduction.figures import Curves
from tools.reproduction.runs import Runs


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings of the training."""
    row = common.signatures_row("Fig. 2d", "CIFAR-10")
    return common.study("fig2d", variant, common.BASE_CASE, row)


def claims(runs: Runs) -> list[Claim]:
    """Claim that all five signatures are matched, and read to within 15 degrees."""
    return shared_claims.five_signatures(runs)


def figure(runs: Runs) -> Curves:
    """Draw the loss around each of the five signatures."""
    return shared_claims.user_curves(runs)
