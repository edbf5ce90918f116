"""Fig. 3g: pruning the smallest weights.

Command:   python run.py --config=experiments/fig3g.py[:quick]
Expect:    all five signatures still matched up to heavy pruning.
"""

import ml_collections

from experiments import common, shared_claims
from tools.reproduction.claims import Claim
from tools.reproduction.figures import Lines
from tools.reproduction.runs import Run, Runs

PERCENT = {"paper": (10, 20, 30, 40, 50, 60, 70, 80, 90), "quick": (10, 30, 50, 70, 90)}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings of the training."""
    percent = PERCENT.get(variant, PERCENT["paper"])
    suspects = {
        f"pruned{p}": {"attack": "prune", "parameters": {"fraction": p / 100}} for p in percent
    }
    row = {
        "row": "Fig. 3g",
        "title": "Pruning",
        "paper": "the signatures are still matched",
        "minutes": 4.0,
    }
    return common.study("fig3g", variant, common.BASE_CASE, row, suspects=suspects)


def claims(runs: Runs) -> list[Claim]:
    """Claim that all five signatures are still matched up to heavy pruning."""
    return [
        shared_claims.all_matched(
            runs, "all five signatures are matched at 50 %", suspect="pruned50"
        ),
        shared_claims.all_matched(
            runs, "all five signatures are matched at 90 %", suspect="pruned90"
        ),
        shared_claims.keyed_p(runs, suspect="pruned50"),
    ]


def figure(runs: Runs) -> Lines:
    """Draw matches and test accuracy against the share of weights pruned."""
    suspects = {0: None} | {percent: f"pruned{percent}" for percent in PERCENT[runs.variant]}
    matches, accuracy = {}, {}
    for percent, suspect in suspects.items():
        matches[percent] = runs.each(
            shared_claims.match_rate, suspect=suspect, users=common.HUE_USERS
        )
        accuracy[percent] = runs.each(Run.number, suspect=suspect, path="model.test_accuracy")
    lines = {"signatures matched": matches, "test accuracy": accuracy}
    return Lines(lines, "weights pruned, %", "share", "%")
