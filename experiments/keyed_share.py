"""Ours: how strong the exact test is when few photos carry a hue each.

Command:   python run.py --config=experiments/keyed_share.py[:quick]
Expect:    p falls with every photo; 1 % of the photos are far beyond any doubt.

Three users with 1 %, .2 % and .05 % of CIFAR-10 share a training; quick: 40, 20, 10 of 4,000.
"""

import ml_collections

from experiments import common

SIZES = {"paper": (500, 100, 25), "quick": (40, 20, 10)}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings and claims only."""
    sizes = SIZES.get(variant, SIZES["paper"])
    names = tuple(f"keyed{size}" for size in sizes)
    row = {
        "row": "Keyed share",
        "title": "A hue per photo, few photos",
        "paper": "not in the paper: one hue per person can never be stronger than 1 in 11",
        "claims": tuple(
            {
                "claim": f"log10 of the exact p, {size} photos",
                "paper": "not in the paper",
                "measure": "keyed_log10_p",
                "arguments": {"users": name},
                "confirm": {"at_most": -6.0},
                "direction": {"at_most": -2.0},
                "judged_by": "each seed",
            }
            for name, size in zip(names, sizes, strict=True)
        ),
        "figure": {
            "kind": "lines",
            "of": "keyed_log10_p",
            "over": "users",
            "members": names,
            "x": sizes,
            "x_label": "photos with a hue each",
            "y_label": "log10 p",
            "log_x": True,
        },
        "minutes": 6.0,
    }
    users = {name: {"num_images": size} for name, size in zip(names, sizes, strict=True)}
    case = {"case": f"keyed_share_{variant}", "users": users, "verify": common.COARSE}
    return common.study("keyed_share", variant, common.BASE_CASE, row, **case)
