"""Fig. 3e: noise on the answers, which the paper calls differential privacy.

Command:   python run.py --config=experiments/fig3e.py[:quick]
Expect:    all five signatures still matched: noise averages out over photos.

The paper adds N(0, .1) to the logits when asked, so no training is needed. Training with DP-SGD
proper is `attacks.DpSgd`; see the battery.
"""

import ml_collections

from experiments import common

SUSPECTS = {"noisy": {"attack": "output_noise", "parameters": {"std": 0.1}}}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings and claims only."""
    row = {
        "row": "Fig. 3e",
        "title": "Noise on the answers",
        "note": common.ON_CIFAR10,
        "paper": "the signatures are still matched",
        "claims": (
            common.matches("all five signatures are matched", suspect="noisy"),
            common.keyed(suspect="noisy"),
        ),
        "figure": common.curves("users", common.HUE_USERS, arguments={"suspect": "noisy"}),
        "minutes": 1.0,
    }
    return common.study("fig3e", variant, common.BASE_CASE, row, suspects=SUSPECTS)
