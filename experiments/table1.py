"""Table 1: cosine of inferred and embedded signatures; radioactive data as the rival.

Command:   python -m tools.reproduction run --rows table1 [--variant quick]
Expect:    ours near 1 after training, the rival near 0.

"Before training": the same users, read from a model that never saw their photos.
"""

import math
import statistics

import ml_collections

from experiments import common
from experiments.shared_claims import degrees_apart, inferred_degrees
from tools.reproduction.claims import Claim, at_least, at_most, between
from tools.reproduction.runs import Run, Runs, Seed

SIGNATURES = {user: float(hue) for user, hue in zip(common.HUE_USERS, common.HUES, strict=True)}
ENDS = {"paper": "", "quick": "_quick"}
SHARES = {"paper": "1 %", "quick": "2 % (radioactive data: 1 %)"}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings of the trainings."""
    end = ENDS.get(variant, "")
    without = {"exclude": common.HUE_USERS, "analyses": ()}
    arms = {
        "before": {"case": f"without_cifar10{end}"} | without,
        "after": {"case": f"small_cifar10{end}"},
    }
    row = {
        "row": "Table 1",
        "title": "Cosine similarity, radioactive data as the rival",
        "note": f"{SHARES.get(variant, SHARES['paper'])} of the photos marked, the paper .1 %",
        "paper": "ours .045 ± .52 → .999 ± .001; radioactive data −.005 → −.005",
        "arms": arms,
        "cost_row": "§5.6",
        "minutes": 4.0,
    }
    analyses = ("radioactive_data",)
    return common.study("table1", variant, common.OWN_CASE, row, analyses=analyses)


def cosine(run: Run) -> float:
    """Return the mean of cos(k̂ − k*) on the fine grid, in [-1, 1]; 1 is a perfect reading.

    k* is the user's signature, also where the model never saw the photos.
    """
    return statistics.fmean(
        math.cos(math.radians(degrees_apart(inferred_degrees(run, user), signature)))
        for user, signature in SIGNATURES.items()
    )


def gain(seed: Seed) -> float:
    """Return the cosine after training minus before."""
    return cosine(seed["after"]) - cosine(seed["before"])


def claims(runs: Runs) -> list[Claim]:
    """Claim that ours is near 1 after training, and not before; and the rival near 0."""
    return [
        Claim(
            "ours, after training",
            paper=".999",
            measured=runs.each(cosine, arm="after"),
            confirm=at_least(0.99),
            direction=at_least(0.9),
        ),
        Claim(
            "ours, after minus before training",
            paper=".95",
            measured=runs.per_seed(gain),
            confirm=at_least(0.5),
            direction=at_least(0.3),
        ),
        Claim(
            "radioactive data, after training",
            paper="−.005",
            measured=runs.each(
                Run.number, arm="after", path="analyses.radioactive_data.cosine"
            ),
            confirm=between(-0.05, 0.05),
            direction=at_most(0.1),
        ),
    ]
