"""Fig. 3d: adversarial training (FGSM).

Command:   python run.py --config=experiments/fig3d.py[:quick]
Expect:    all five signatures still matched.

The code of the paper has epsilon .1 of [0, 1], and a run named .01; quick takes 4/255, since a
small network learns nothing at .1.
"""

import ml_collections

from experiments import common, shared_claims

EPSILON = {"paper": 0.1, "quick": 4 / 255}
NOTES = {"paper": ".1", "quick": "4/255, not .1"}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings of the training."""
    epsilon = EPSILON.get(variant, EPSILON["paper"])
    note = f"{common.ON_CIFAR10}; ε = {NOTES.get(variant, NOTES['paper'])}"
    row = common.attack_row("Fig. 3d", "Adversarial training", minutes=5.0, note=note)
    attacks = {"fgsm": {"attack": "fgsm", "parameters": {"epsilon": epsilon}}}
    return common.study("fig3d", variant, common.OWN_CASE, row, attacks=attacks)


claims = shared_claims.still_matched
figure = shared_claims.user_curves
