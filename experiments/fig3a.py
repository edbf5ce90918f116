"""Fig. 3a: training with cutout.

Command:   python run.py --config=experiments/fig3a.py[:quick]
Expect:    all five signatures still matched.
"""

import ml_collections

from experiments import common, shared_claims


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings of the training."""
    row = common.attack_row("Fig. 3a", "Cutout", minutes=3.0)
    attacks = {"cutout": {"attack": "cutout", "parameters": {"size": 8}}}
    return common.study("fig3a", variant, common.OWN_CASE, row, attacks=attacks)


claims = shared_claims.still_matched
figure = shared_claims.user_curves
