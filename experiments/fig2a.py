"""Fig. 2a: how many marked photos suffice, on CIFAR-10.

Command:   python run.py --config=experiments/fig2a.py[:quick]
Expect:    signatures of users with many photos are inferred, those of users with few not.
"""

import ml_collections

from experiments import common


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings and claims only."""
    title = ("Fig. 2a", "CIFAR-10")
    cases, crowds = common.OWN_CASE, common.CIFAR_CROWDS
    return common.quantity_study("fig2a", variant, cases, crowds, title)
