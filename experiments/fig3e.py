"""Fig. 3e: noise on the answers, which the paper calls differential privacy.

Command:   python run.py --config=experiments/fig3e.py[:quick]
Expect:    all five signatures still matched: noise averages out over photos.

The paper adds N(0, .1) to the logits of each query, so no training is needed. For training with
DP-SGD see `attacks.DpSgd`.
"""

import ml_collections

from experiments import common, shared_claims
from tools.reproduction.claims import Claim
from tools.reproduction.figures import Curves
from tools.reproduction.runs import Runs

SUSPECTS = {"noisy": {"attack": "output_noise", "parameters": {"std": 0.1}}}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings of the training."""
    row = {
        "row": "Fig. 3e",
        "title": "Noise on the answers",
        "note": common.ON_CIFAR10,
        "paper": "the signatures are still matched",
        "minutes": 1.0,
    }
    return common.study("fig3e", variant, common.BASE_CASE, row, suspects=SUSPECTS)


def claims(runs: Runs) -> list[Claim]:
    """Claim that all five signatures are still matched in noisy answers."""
    return [
        shared_claims.all_matched(runs, "all five signatures are matched", suspect="noisy"),
        shared_claims.keyed_p(runs, suspect="noisy"),
    ]


def figure(runs: Runs) -> Curves:
    """Draw the loss around each of the five signatures, in noisy answers."""
    return shared_claims.user_curves(runs, suspect="noisy")
