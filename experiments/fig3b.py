"""Fig. 3b: training with label smoothing.

Command:   python run.py --config=experiments/fig3b.py[:quick]
Expect:    all five signatures still matched.
"""

import ml_collections

from experiments import common, shared_claims
from tools.reproduction.claims import Claim
from tools.reproduction.figures import Curves
from tools.reproduction.runs import Runs


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings of the training."""
    row = common.attack_row("Fig. 3b", "Label smoothing", minutes=3.0)
    attacks = {"label_smoothing": {"attack": "label_smoothing", "parameters": {"epsilon": 0.1}}}
    return common.study("fig3b", variant, common.OWN_CASE, row, attacks=attacks)


def claims(runs: Runs) -> list[Claim]:
    """Claim that all five signatures are still matched."""
    return shared_claims.still_matched(runs)


def figure(runs: Runs) -> Curves:
    """Draw the loss around each of the five signatures."""
    return shared_claims.user_curves(runs)
