"""Fig. 2c: how many marked photos suffice, on Tiny ImageNet (quick: 12 classes).

Command:   python run.py --config=experiments/fig2c.py[:quick]
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
        "n10": common.one_hue(10, count=20),
        "n100": common.one_hue(100, count=10),
        "n1000": common.one_hue(1000, count=3),
        "keyed": {"num_images": 1000},
    },
    "quick": {
        "n1": common.one_hue(1, count=20),
        "n5": common.one_hue(5, count=8),
        "n20": common.one_hue(20, count=4),
        "n50": common.one_hue(50, count=2),
        "keyed": {"num_images": 30},
    },
}
SIZES = {"paper": (1, 5, 10, 100, 1000), "quick": (1, 5, 20, 50)}
CASES = {
    "paper": common.OWN_CASE["paper"]
    | {"data": common.TINY, "model": common.TINY_RESNET50, "train": common.TINY_TRAIN},
    "quick": common.OWN_CASE["quick"]
    | {"data": common.TINY_12 | {"num_train": 2000}, "model": common.TINY_SMALL},
}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings and claims only."""
    row = common.quantity_row(
        "Fig. 2c", "Tiny ImageNet (quick: 12 classes)", SIZES.get(variant, SIZES["paper"])
    )
    cases = {name: case | {"users": USERS[name]} for name, case in CASES.items()}
    return common.study("fig2c", variant, cases, row)
