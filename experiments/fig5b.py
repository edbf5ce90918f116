"""Fig. 5b: shadow models of the users own photos do not help membership inference.

Command:   python run.py --config=experiments/fig5b.py[:quick]
Expect:    our matches 100 %; the shadow threshold calls every held-out photo a member (50 %).
"""

import ml_collections

from experiments import common


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings and claims only."""
    row = {
        "row": "Fig. 5b",
        "title": "Membership inference with own shadow models",
        "note": "5 users, the paper 10",
        "paper": "ours 100 %, MIA-std 50 %: all held-out photos are called members",
        "claims": (
            common.matches("all five signatures are matched"),
            {
                "claim": "accuracy of MIA-std with own shadow models",
                "paper": "50 %",
                "measure": "analysis_value",
                "arguments": {"path": "shadow_models.accuracy"},
                "unit": "%",
                "confirm": {"between": [0.45, 0.55]},
                "direction": {"between": [0.4, 0.6]},
            },
            {
                "claim": "held-out photos called members",
                "paper": "all",
                "measure": "analysis_value",
                "arguments": {"path": "shadow_models.false_positive_rate"},
                "unit": "%",
                "confirm": {"at_least": 0.9},
                "direction": {"at_least": 0.7},
            },
        ),
        "minutes": 3.0,
    }
    analyses = ("shadow_models",)
    return common.study("fig5b", variant, common.BASE_CASE, row, analyses=analyses)
