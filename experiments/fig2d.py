"""Fig. 2d: any signature works, on CIFAR-10. The training that most rows are read from.

Command:   python run.py --config=experiments/fig2d.py[:quick]
Expect:    all five signatures matched, within a few degrees; keyed p below 1e-6.
"""

import ml_collections

from experiments import common, shared_claims


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings of the training."""
    row = common.signatures_row("Fig. 2d", "CIFAR-10")
    return common.study("fig2d", variant, common.BASE_CASE, row)


claims = shared_claims.five_signatures
figure = shared_claims.user_curves
