"""Fig. 3c: training with gaussian noise.

Command:   python run.py --config=experiments/fig3c.py[:quick]
Expect:    all five signatures still matched.
"""

import ml_collections

from experiments import common, shared_claims


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings of the training."""
    row = common.attack_row("Fig. 3c", "Gaussian noise", minutes=3.0)
    attacks = {"gaussian_noise": {"attack": "gaussian_noise", "parameters": {"std": 0.1}}}
    return common.study("fig3c", variant, common.OWN_CASE, row, attacks=attacks)


claims = shared_claims.still_matched
figure = shared_claims.user_curves
