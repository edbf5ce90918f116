"""Fig. 2a: how many marked photos suffice, on CIFAR-10.

Command:   python run.py --config=experiments/fig2a.py[:quick]
Expect:    signatures of users with many photos are inferred, those of users with few not.
"""

import functools

import ml_collections

from experiments import common, shared_claims


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings of the training."""
    title = ("Fig. 2a", "CIFAR-10")
    cases, groups = common.OWN_CASE, common.CIFAR_GROUPS
    return common.quantity_study("fig2a", variant, cases, groups, title)


claims = functools.partial(shared_claims.photo_numbers, groups=common.CIFAR_GROUPS)
figure = functools.partial(shared_claims.photo_numbers_figure, groups=common.CIFAR_GROUPS)
