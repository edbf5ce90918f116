"""Fig. 3f: colour jitter, hue included.

Command:   python -m anw_jax.reproduce run --rows fig3f [--variant quick]
Expect:    signatures still matched, with a clearly smaller margin.

The hue turns by up to 36 degrees either way, in the very family of the mark (.1 of a turn is
the smallest reading of "h .2" in the code of the paper: half a range of .2).
"""

import ml_collections

from experiments import common

JITTER = {"brightness": 0.1, "contrast": 0.2, "saturation": 0.2, "hue": 0.1}
ARMS = {
    "paper": {"none": {}, "jitter": {}},
    "quick": {"none": {"case": "small_cifar10_quick"}, "jitter": {}},
}
ATTACK = {"attacks.jitter": {"attack": "color_jitter", "parameters": JITTER}}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings and claims only."""
    arms = dict(ARMS.get(variant, ARMS["paper"]))
    arms["jitter"] = ATTACK
    row = {
        "row": "Fig. 3f",
        "title": "Colour jitter",
        "note": f"{common.ON_CIFAR10}; hue ± 36°",
        "paper": "matched, but the loss difference between signatures narrows clearly",
        "arms": arms,
        "claims": (
            common.matches("all five signatures are matched with jitter", arms="jitter"),
            {
                "claim": "margin with jitter over margin without",
                "paper": "clearly below 1",
                "measure": "ratio",
                "arguments": {
                    "of": "margin",
                    "first": {"arms": "jitter"},
                    "second": {"arms": "none"},
                    "arguments": {"users": common.HUE_USERS},
                },
                "confirm": {"at_most": 0.7},
                "direction": {"at_most": 0.95},
            },
            common.keyed(arms=("jitter",)),
        ),
        "figure": common.curves("arms", ("none", "jitter"), arguments={"users": "hue60"}),
        "minutes": 3.0,
    }
    return common.study("fig3f", variant, common.OWN_CASE, row)
