"""Fig. 3g: pruning the smallest weights.

Command:   python run.py --config=experiments/fig3g.py[:quick]
Expect:    all five signatures still matched up to heavy pruning.
"""

import ml_collections

from experiments import common

PERCENT = {"paper": (10, 20, 30, 40, 50, 60, 70, 80, 90), "quick": (10, 30, 50, 70, 90)}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings and claims only."""
    percent = PERCENT.get(variant, PERCENT["paper"])
    suspects = {
        f"pruned{p}": {"attack": "prune", "parameters": {"fraction": p / 100}} for p in percent
    }
    row = {
        "row": "Fig. 3g",
        "title": "Pruning",
        "paper": "the signatures are still matched",
        "claims": (
            common.matches("all five signatures are matched at 50 %", suspect="pruned50"),
            common.matches("all five signatures are matched at 90 %", suspect="pruned90"),
            common.keyed(suspect="pruned50"),
        ),
        "figure": {
            "kind": "lines",
            "over": "suspects",
            "members": ("none", *suspects),
            "x": (0, *percent),
            "x_label": "weights pruned, %",
            "y_label": "share",
            "unit": "%",
            "series": (
                {
                    "label": "signatures matched",
                    "of": "match_rate",
                    "arguments": {"users": common.HUE_USERS},
                },
                {"label": "test accuracy", "of": "test_accuracy"},
            ),
        },
        "minutes": 4.0,
    }
    return common.study("fig3g", variant, common.BASE_CASE, row, suspects=suspects)
