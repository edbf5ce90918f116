"""Fig. 2c: how many marked photos suffice, on Tiny ImageNet (quick: 12 classes).

Command:   python run.py --config=experiments/fig2c.py[:quick]
Expect:    signatures of users with many photos are inferred, those of users with few not.
"""

import functools

import ml_collections

from experiments import common, shared_claims

GROUPS = {
    "paper": ({1: 50, 5: 20, 10: 20, 100: 10, 1000: 3}, 1000),
    "quick": (common.QUICK_GROUPS, 30),
}
CASES = {
    "paper": common.TINY_CASE,
    "quick": common.OWN_CASE["quick"]
    | {"data": common.TINY_12 | {"num_train": 2000}, "model": common.TINY_SMALL},
}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings of the training."""
    title = ("Fig. 2c", "Tiny ImageNet (quick: 12 classes)")
    return common.quantity_study("fig2c", variant, CASES, GROUPS, title)


claims = functools.partial(shared_claims.photo_numbers, groups=GROUPS)
figure = functools.partial(shared_claims.photo_numbers_figure, groups=GROUPS)
