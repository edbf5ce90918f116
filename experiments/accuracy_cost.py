"""What marking costs in accuracy: the training that most rows are read from, and its twin.

Command:   python -m anw_jax.reproduce run --rows accuracy_cost [--variant quick]
Expect:    test accuracy within a point of that without marks.

The twin has the same photos, seed and order; all users publish theirs unmarked.
"""

import ml_collections

from experiments import common

CASES = {"paper": "base_cifar10", "quick": "base_cifar10_quick"}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings and claims only."""
    users = common.BASE_CASE.get(variant, common.BASE_CASE["paper"])["users"]
    marked = [name for name, user in users.items() if user.get("kind", "marked") == "marked"]
    arms = {
        "marked": {"case": CASES.get(variant, CASES["paper"])},
        "unmarked": {f"users.{name}.kind": "unmarked" for name in marked},
    }
    drop = {"before": "unmarked", "after": "marked"}
    row = {
        "row": "Accuracy cost",
        "title": "What marking costs in accuracy",
        "paper": "marks leave the accuracy as it is",
        "arms": arms,
        "claims": (
            {
                "claim": "test accuracy without marks minus with, in points",
                "paper": "no number",
                "measure": "accuracy_drop",
                "arguments": drop,
                "unit": "points",
                "confirm": {"at_most": 0.01},
                "direction": {"at_most": 0.03},
            },
        ),
        "cost": {"measure": "accuracy_drop", "arguments": drop},
        "minutes": 6.0,
    }
    return common.study("accuracy_cost", variant, common.BASE_CASE, row)
