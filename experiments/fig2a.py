"""Fig. 2a: how many marked photos suffice, on CIFAR-10.

Command:   python run.py --config=experiments/fig2a.py[:quick]
Expect:    signatures of users with many photos are inferred, those of users with few not.
"""

import ml_collections

from experiments import common, shared_claims
from tools.reproduction.claims import Claim
from tools.reproduction.figures import Lines
from tools.reproduction.runs import Runs


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings of the training."""
    title = ("Fig. 2a", "CIFAR-10")
    cases, crowds = common.OWN_CASE, common.CIFAR_CROWDS
    return common.quantity_study("fig2a", variant, cases, crowds, title)


def claims(runs: Runs) -> list[Claim]:
    """Claim that many marked photos are matched and few are not."""
    return shared_claims.photo_numbers(runs, tuple(common.CIFAR_CROWDS[runs.variant][0]))


def figure(runs: Runs) -> Lines:
    """Draw the share of users matched against their number of marked photos."""
    return shared_claims.photo_numbers_figure(runs, tuple(common.CIFAR_CROWDS[runs.variant][0]))
