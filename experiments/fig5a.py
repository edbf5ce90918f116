"""Fig. 5a: many users at once, with one colour basis for all or one of their own.

Command:   python -m anw_jax.reproduce run --rows fig5a [--variant quick]
Expect:    nearly all matched where few mark; with own bases still most where all do; a wrong
           basis reads nothing.

Paper: 1,000 users of 100 photos of Tiny ImageNet. Quick: 100 users of 19 photos of CIFAR-10.
"""

import ml_collections

from experiments import common

USERS = {"paper": (1000, 100), "quick": (100, 19)}
PERCENT = {"paper": (20, 40, 60, 80, 100), "quick": (20, 100)}
CASES = {
    "paper": common.OWN_CASE["paper"]
    | {"data": common.TINY, "model": common.TINY_RESNET50, "train": common.TINY_TRAIN}
    | {"verify": {"grid_refinement": 1}},
    "quick": common.OWN_CASE["quick"] | {"verify": {"grid_refinement": 1}},
}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings and claims only."""
    count, num_images = USERS.get(variant, USERS["paper"])
    arms = {
        f"{basis}{percent}": {
            "users.crowd.mark": mark,
            "users.crowd.count": count * percent // 100,
        }
        for basis, mark in (("same", "hue"), ("own", "private_basis"))
        for percent in PERCENT.get(variant, PERCENT["paper"])
    }

    def rate(text: str, paper: str, arm: str, confirm: dict, direction: dict, **more) -> dict:
        return {
            "claim": text,
            "paper": paper,
            "measure": "crowd_match_rate",
            "arguments": {"crowd": "crowd", "arms": arm, **more},
            "unit": "%",
            "confirm": confirm,
            "direction": direction,
        }

    row = {
        "row": "Fig. 5a",
        "title": "Many users",
        "note": "100 users of 19 photos of CIFAR-10" if variant == "quick" else "",
        "paper": "≈ 100 % at 20 %; > 80 % at 100 % with own bases; 10 % with wrong ones",
        "arms": arms,
        "claims": (
            rate("one basis, 20 %", "≈ 100 %", "same20", {"at_least": 0.9}, {"at_least": 0.6}),
            rate("own bases, 100 %", "> 80 %", "own100", {"at_least": 0.8}, {"at_least": 0.5}),
            {
                "claim": "one basis: matched at 20 % minus at 100 %",
                "paper": "falls significantly",
                "measure": "difference",
                "arguments": {
                    "of": "crowd_match_rate",
                    "first": {"arms": "same20"},
                    "second": {"arms": "same100"},
                    "arguments": {"crowd": "crowd"},
                },
                "unit": "points",
                "confirm": {"at_least": 0.2},
                "direction": {"at_least": 0.05},
            },
            rate(
                "a wrong basis, 100 %",
                "10 %",
                "own100",
                {"at_most": 0.15},
                {"at_most": 0.2},
                key="wrong_basis_match_rate",
            ),
        ),
        "figure": {
            "kind": "bars",
            "of": "crowd_match_rate",
            "over": "arms",
            "members": tuple(arms),
            "arguments": {"crowd": "crowd"},
            "y_label": "users matched",
            "unit": "%",
        },
        "minutes": 3.0,
    }
    users = {"crowd": common.one_hue(num_images, count=count)}
    if variant == "quick":  # at paper scale the crowd has every photo that there is
        users["keyed"] = {"num_images": 50}
    return common.study("fig5a", variant, CASES, row, users=users)
