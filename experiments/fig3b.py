"""Fig. 3b: training with label smoothing.

Command:   python run.py --config=experiments/fig3b.py[:quick]
Expect:    all five signatures still matched.
"""

import ml_collections

from experiments import common, shared_claims


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings of the training."""
    row = common.attack_row("Fig. 3b", "Label smoothing", minutes=3.0)
    attacks = {"label_smoothing": {"attack": "label_smoothing", "parameters": {"epsilon": 0.1}}}
    return common.study("fig3b", variant, common.OWN_CASE, row, attacks=attacks)


claims = shared_claims.still_matched
figure = shared_claims.user_curves
