"""Fig. 2f: any signature works, on Tiny ImageNet (quick: 12 classes).

Command:   python run.py --config=experiments/fig2f.py[:quick]
Expect:    all five signatures matched, within a few degrees.
"""

import ml_collections

from experiments import common

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
    """Settings and claims only."""
    row = common.signatures_row("Fig. 2f", "Tiny ImageNet (quick: 12 classes)") | {
        "minutes": 8.0
    }
    return common.study("fig2f", variant, CASES, row)
