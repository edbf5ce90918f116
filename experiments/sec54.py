"""Section 5.4: users whose photos were not trained on.

Command:   python run.py --config=experiments/sec54.py[:quick]
Expect:    the inferred hue is near 0.

Paper: the models of Fig. 2f, 4.3 +- 1.4 degrees.
"""

import ml_collections

from experiments import common
from experiments.fig2f import CASES

ENDS = {"paper": "", "quick": "_quick"}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings and claims only."""
    row = {
        "row": "§5.4",
        "title": "Held-out users",
        "paper": "|k̂ − 0| = 4.3 ± 1.4°",
        "claims": (
            {
                "claim": "mean |k̂ − 0| over five held-out users",
                "paper": "4.3 ± 1.4°",
                "measure": "crowd_hue_error",
                "arguments": {"crowd": "held_out"},
                "unit": "°",
                "confirm": {"at_most": 5.7},
                "direction": {"at_most": 15.0},
            },
            {
                "claim": "held-out users inferred as unmarked",
                "paper": "all",
                "measure": "crowd_match_rate",
                "arguments": {"crowd": "held_out"},
                "unit": "%",
                "confirm": {"at_least": 1.0},
                "direction": {"at_least": 0.8},
            },
        ),
        "figure": {
            "kind": "bars",
            "of": "crowd_hue_error",
            "over": "crowds",
            "members": ("held_out",),
            "y_label": "mean |k̂ − 0|",
            "unit": "°",
        },
        "minutes": 1.0,
    }
    cases = {name: {"case": f"fig2f{end}"} | CASES[name] for name, end in ENDS.items()}
    return common.study("sec54", variant, cases, row)
