"""Fig. 2b: how many marked photos suffice, on CIFAR-100.

Command:   python run.py --config=experiments/fig2b.py[:quick]
Expect:    signatures of users with many photos are inferred, those of users with few not.

The paper trains a model per number; here users with different numbers of photos, and with
signatures of their own, share a training, so that each number is tried by several users.
"""

import ml_collections

from experiments import common

USERS = {
    "paper": {
        "n1": common.one_hue(1, count=50),
        "n5": common.one_hue(5, count=20),
        "n50": common.one_hue(50, count=10),
        "n500": common.one_hue(500, count=3),
        "n5000": common.one_hue(5000, count=1),
        "keyed": {"num_images": 500},
    },
    "quick": {
        "n1": common.one_hue(1, count=20),
        "n5": common.one_hue(5, count=8),
        "n20": common.one_hue(20, count=4),
        "n50": common.one_hue(50, count=2),
        "keyed": {"num_images": 30},
    },
}
SIZES = {"paper": (1, 5, 50, 500, 5000), "quick": (1, 5, 20, 50)}
CASES = {
    "paper": common.OWN_CASE["paper"] | {"data": common.CIFAR100},
    "quick": common.OWN_CASE["quick"] | {"data": common.CIFAR100 | {"num_train": 2000}},
}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings and claims only."""
    row = common.quantity_row("Fig. 2b", "CIFAR-100", SIZES.get(variant, SIZES["paper"]))
    cases = {name: case | {"users": USERS[name]} for name, case in CASES.items()}
    return common.study("fig2b", variant, cases, row)
