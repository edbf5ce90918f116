"""Fig. 2f: any signature works, on Tiny ImageNet (quick: 12 classes).

Command:   python run.py --config=experiments/fig2f.py[:quick]
Expect:    all five signatures matched, within a few degrees.
"""

import ml_collections

from experiments import common, shared_claims

CASES = {
    "paper": common.TINY_CASE | {"verify": common.FINE},
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


claims = shared_claims.five_signatures
figure = shared_claims.user_curves
