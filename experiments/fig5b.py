"""Fig. 5b: shadow models of the users' own photos do not help membership inference.

Command:   python run.py --config=experiments/fig5b.py[:quick]
Expect:    our matches 100 %; the shadow threshold calls every held-out photo a member (50 %).
"""

import ml_collections

from experiments import common, shared_claims
from tools.reproduction.claims import Claim, at_least, between
from tools.reproduction.runs import Run, Runs


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings of the training."""
    row = {
        "row": "Fig. 5b",
        "title": "Membership inference with own shadow models",
        "note": "5 users, the paper 10",
        "paper": "ours 100 %, MIA-std 50 %: all held-out photos are called members",
        "minutes": 3.0,
    }
    analyses = ("shadow_models",)
    return common.study("fig5b", variant, common.BASE_CASE, row, analyses=analyses)


def claims(runs: Runs) -> list[Claim]:
    """Claim that ours matches, while the shadow threshold calls held-out photos members."""
    return [
        shared_claims.all_matched(runs, "all five signatures are matched"),
        Claim(
            "accuracy of MIA-std with own shadow models",
            paper="50 %",
            measured=runs.each(Run.number, path="analyses.shadow_models.accuracy"),
            confirm=between(0.45, 0.55),
            direction=between(0.4, 0.6),
            unit="%",
        ),
        Claim(
            "held-out photos called members",
            paper="all",
            measured=runs.each(Run.number, path="analyses.shadow_models.false_positive_rate"),
            confirm=at_least(0.9),
            direction=at_least(0.7),
            unit="%",
        ),
    ]
