"""Fig. 3h: fine-tuning on clean photos.

Command:   python run.py --config=experiments/fig3h.py[:quick]
Expect:    signatures still matched after fine-tuning the last layer, and all layers.
"""

import ml_collections

from experiments import common

EPOCHS = {"paper": 30, "quick": 10}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings and claims only."""
    suspects = {
        f"tuned_{layers}": {
            "attack": "fine_tune",
            "parameters": {
                "layers": layers,
                "num_epochs": EPOCHS.get(variant, EPOCHS["paper"]),
                "learning_rate": 0.01,
            },
        }
        for layers in ("head", "all")
    }
    row = {
        "row": "Fig. 3h",
        "title": "Fine-tuning on clean photos",
        "paper": "the signatures are still matched",
        "claims": (
            common.matches("matched, last layer fine-tuned", suspect="tuned_head"),
            common.matches("matched, all layers fine-tuned", suspect="tuned_all"),
            common.keyed(suspect="tuned_all"),
        ),
        "figure": {
            "kind": "bars",
            "of": "match_rate",
            "over": "suspects",
            "members": ("none", *suspects),
            "arguments": {"users": common.HUE_USERS},
            "y_label": "signatures matched",
            "unit": "%",
        },
        "minutes": 3.0,
    }
    return common.study("fig3h", variant, common.BASE_CASE, row, suspects=suspects)
