"""Fig. 2e: any signature works, on CIFAR-100.

Command:   python run.py --config=experiments/fig2e.py[:quick]
Expect:    all five signatures matched, within a few degrees.
"""

import ml_collections

from experiments import common, shared_claims

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


claims = shared_claims.five_signatures
figure = shared_claims.user_curves
