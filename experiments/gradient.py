"""Gradient search (section 4.2): error, and cost against a grid of 2 degrees.

Command:   python run.py --config=experiments/gradient.py[:quick]
Expect:    within 1.3 degrees for the hues trained on (the notebook of the paper).
"""

import ml_collections

from experiments import common


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings and claims only."""
    row = {
        "row": "Gradient search",
        "title": "Gradient search",
        "paper": "error ≤ 1.3°",
        "claims": (
            *(
                {
                    "claim": f"error at {degrees}°",
                    "paper": "≤ 1.3°",
                    "measure": "analysis_value",
                    "arguments": {"path": f"gradient_search.hue{degrees}.error_degrees"},
                    "unit": "°",
                    "confirm": {"at_most": 1.3},
                    "direction": {"at_most": 15.0},
                }
                for degrees in common.HUES
            ),
            {
                "claim": "pictures through the model: descent over grid of 2°",
                "paper": "not given",
                "measure": "descent_cost",
                "arguments": {"users": common.HUE_USERS},
                "confirm": {"at_most": 0.5},
                "direction": {"at_most": 1.0},
            },
        ),
        "minutes": 2.0,
    }
    analyses = ("gradient_search",)
    return common.study("gradient", variant, common.BASE_CASE, row, analyses=analyses)
