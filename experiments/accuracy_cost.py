"""Accuracy cost of marking: the training that most rows share, and its unmarked twin.

Command:   python -m tools.reproduction run --rows accuracy_cost [--variant quick]
Expect:    test accuracy within a point of that without marks.

The twin has the same photos, seed and order; all users publish theirs unmarked.
"""

import ml_collections

from experiments import common
from experiments.shared_claims import accuracy_drop
from tools.reproduction.claims import Claim, at_most
from tools.reproduction.runs import Measured, Runs

CASES = {"paper": "base_cifar10", "quick": "base_cifar10_quick"}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings of the trainings."""
    users = common.BASE_CASE.get(variant, common.BASE_CASE["paper"])["users"]
    marked = [name for name, user in users.items() if user.get("kind", "marked") == "marked"]
    arms = {
        "marked": {"case": CASES.get(variant, CASES["paper"])},
        "unmarked": {f"users.{name}.kind": "unmarked" for name in marked},
    }
    row = {
        "row": "Accuracy cost",
        "title": "What marking costs in accuracy",
        "paper": "marks leave the accuracy as it is",
        "arms": arms,
        "minutes": 6.0,
    }
    return common.study("accuracy_cost", variant, common.BASE_CASE, row)


def accuracy_cost(runs: Runs) -> Measured:
    """Return test accuracy without marks minus with."""
    return runs.per_seed(accuracy_drop)


def claims(runs: Runs) -> list[Claim]:
    """Claim that marks do not reduce the accuracy by more than the tolerance."""
    return [
        Claim(
            "test accuracy without marks minus with, in points",
            paper="no number",
            measured=accuracy_cost(runs),
            confirm=at_most(0.01),
            direction=at_most(0.03),
            unit="points",
        ),
    ]
