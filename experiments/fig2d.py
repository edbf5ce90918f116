"""Fig. 2d: any signature works, on CIFAR-10. The training that most rows are read from.

Command:   python run.py --config=experiments/fig2d.py[:quick]
Expect:    all five signatures matched, within a few degrees; keyed p below 1e-6.
"""

import ml_collections

from experiments import common


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings and claims only."""
    row = common.signatures_row("Fig. 2d", "CIFAR-10") | {"minutes": 8.0}
    return common.study("fig2d", variant, common.BASE_CASE, row)
