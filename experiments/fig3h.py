"""Fig. 3h: fine-tuning on clean photos.

Command:   python run.py --config=experiments/fig3h.py[:quick]
Expect:    signatures still matched after fine-tuning the last layer, and all layers.
"""

import ml_collections

from experiments import common, shared_claims
from tools.reproduction.claims import Claim
from tools.reproduction.figures import Bars
from tools.reproduction.runs import Runs

EPOCHS = {"paper": 30, "quick": 10}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings of the training."""
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
        "minutes": 3.0,
    }
    return common.study("fig3h", variant, common.BASE_CASE, row, suspects=suspects)


def claims(runs: Runs) -> list[Claim]:
    """Claim that signatures are still matched after fine-tuning."""
    return [
        shared_claims.all_matched(runs, "matched, last layer fine-tuned", suspect="tuned_head"),
        shared_claims.all_matched(runs, "matched, all layers fine-tuned", suspect="tuned_all"),
        shared_claims.keyed_p(runs, suspect="tuned_all"),
    ]


def figure(runs: Runs) -> Bars:
    """Draw the share of signatures matched before and after fine-tuning."""
    suspects = {"none": None, "tuned head": "tuned_head", "tuned all": "tuned_all"}
    shown = {
        label: runs.each(shared_claims.match_rate, suspect=suspect, users=common.HUE_USERS)
        for label, suspect in suspects.items()
    }
    return Bars(shown, "signatures matched", "%")
