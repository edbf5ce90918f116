"""Table 1: cosine of what is read and what was written; radioactive data as the rival.

Command:   python -m anw_jax.reproduce run --rows table1 [--variant quick]
Expect:    ours near 1 after training, the rival near 0.

"Before training": the same users, read from a model that never saw their photos.
"""

import ml_collections

from experiments import common

SIGNATURES = {user: float(hue) for user, hue in zip(common.HUE_USERS, common.HUES, strict=True)}
ENDS = {"paper": "", "quick": "_quick"}
SHARES = {"paper": "1 %", "quick": "2 % (radioactive data: 1 %)"}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings and claims only."""
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
        "claims": (
            {
                "claim": "ours, after training",
                "paper": ".999",
                "measure": "cosine",
                "arguments": {"users": common.HUE_USERS, "arms": "after"},
                "confirm": {"at_least": 0.99},
                "direction": {"at_least": 0.9},
            },
            {
                "claim": "ours, after minus before training",
                "paper": ".95",
                "measure": "difference",
                "arguments": {
                    "of": "cosine",
                    "first": {"arms": "after"},
                    "second": {"arms": "before"},
                    "arguments": {"users": common.HUE_USERS, "signatures": SIGNATURES},
                },
                "confirm": {"at_least": 0.5},
                "direction": {"at_least": 0.3},
            },
            {
                "claim": "radioactive data, after training",
                "paper": "−.005",
                "measure": "analysis_value",
                "arguments": {"path": "radioactive_data.cosine", "arms": "after"},
                "confirm": {"between": [-0.05, 0.05]},
                "direction": {"at_most": 0.1},
            },
        ),
        "cost": {"see": "§5.6"},
        "minutes": 4.0,
    }
    analyses = ("radioactive_data",)
    return common.study("table1", variant, common.OWN_CASE, row, analyses=analyses)
