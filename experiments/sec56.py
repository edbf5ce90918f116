"""Section 5.6: marking raises memorisation.

Command:   python -m anw_jax.reproduce run --rows sec56 [--variant quick]
Expect:    the estimate for marked photos is above that for the same photos unmarked.
"""

import ml_collections

from experiments import common

ENDS = {"paper": "", "quick": "_quick"}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings and claims only."""
    end = ENDS.get(variant, "")
    users = list(common.HUE_USERS)
    arms = {
        "marked": {"case": f"small_cifar10{end}"},
        "unmarked": {f"users.{name}.kind": "unmarked" for name in users},
        "without": {"case": f"without_cifar10{end}", "exclude": common.HUE_USERS},
    }
    row = {
        "row": "§5.6",
        "title": "Memorisation",
        "paper": "26.8 % → 34.8 %",
        "arms": arms,
        "claims": (
            {
                "claim": "memorisation of the unmarked photos",
                "paper": "26.8 %",
                "measure": "memorization",
                "arguments": {
                    "user": users,
                    "with_arm": "unmarked",
                    "without_arm": "without",
                    "photos": "original",
                },
                "unit": "%",
                "confirm": {"at_least": 0.1},
                "direction": {"at_least": 0.01},
            },
            {
                "claim": "what marking adds, in points",
                "paper": "8",
                "measure": "memorization_rise",
                "arguments": {
                    "user": users,
                    "marked_arm": "marked",
                    "unmarked_arm": "unmarked",
                    "without_arm": "without",
                },
                "unit": "points",
                "confirm": {"at_least": 0.04},
                "direction": {"at_least": 0.01},
            },
        ),
        "cost": {
            "measure": "accuracy_drop",
            "arguments": {"before": "unmarked", "after": "marked"},
        },
        "minutes": 3.0,
    }
    return common.study("sec56", variant, common.OWN_CASE, row)
