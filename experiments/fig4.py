"""Fig. 4: a less visible mark, the blue channel of 128 of 1,024 pixels.

Command:   python run.py --config=experiments/fig4.py[:quick]
Expect:    .1, .3 and .5 inferred to within .1.

512 of 4,096 pixels in the paper, the same share here. A value of .1 is 60 degrees on the dial
of `marks.PixelMark`, and so is tau.
"""

import ml_collections

from experiments import common

USERS = ("pixels10", "pixels30", "pixels50")


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings and claims only."""
    row = {
        "row": "Fig. 4",
        "title": "A less visible mark",
        "paper": ".1, .3, .5 are inferred as .12, .28, .44: all within .1",
        "claims": (
            {
                "claim": "largest error of the three values",
                "paper": ".06",
                "measure": "largest",
                "arguments": {"of": "pixel_value_error", "over": "users", "members": USERS},
                # Below τ = .1: at .1 itself lies a mark of .1 that is read as none at all.
                "confirm": {"at_most": 0.099},
                "direction": {"at_most": 0.099},
            },
        ),
        "figure": {
            "kind": "bars",
            "of": "pixel_value_error",
            "over": "users",
            "members": USERS,
            "labels": {"pixels10": ".1", "pixels30": ".3", "pixels50": ".5"},
            "y_label": "error of the value read",
        },
        "minutes": 1.0,
    }
    return common.study("fig4", variant, common.BASE_CASE, row)
