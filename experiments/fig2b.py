"""Fig. 2b: how many marked photos suffice, on CIFAR-100.

Command:   python run.py --config=experiments/fig2b.py[:quick]
Expect:    signatures of users with many photos are inferred, those of users with few not.
"""

import functools

import ml_collections

from experiments import common, shared_claims

CASES = {
    "paper": common.OWN_CASE["paper"] | {"data": common.CIFAR100},
    "quick": common.OWN_CASE["quick"] | {"data": common.CIFAR100 | {"num_train": 2000}},
}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings of the training."""
    title = ("Fig. 2b", "CIFAR-100")
    return common.quantity_study("fig2b", variant, CASES, common.CIFAR_GROUPS, title)


claims = functools.partial(shared_claims.photo_numbers, groups=common.CIFAR_GROUPS)
figure = functools.partial(shared_claims.photo_numbers_figure, groups=common.CIFAR_GROUPS)
