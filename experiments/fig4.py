"""Fig. 4: a less visible mark, the blue channel of 128 of 1,024 pixels.

Command:   python run.py --config=experiments/fig4.py[:quick]
Expect:    .1, .3 and .5 inferred to within .1.

512 of 4,096 pixels in the paper, the same share here. A value of .1 is 60 degrees on the dial
of `marks.PixelMark`, and so is tau.
"""

import ml_collections
import numpy as np

from experiments import common, shared_claims
from tools.reproduction.claims import Claim, at_most
from tools.reproduction.figures import Bars
from tools.reproduction.runs import Run, Runs

USERS = ("pixels10", "pixels30", "pixels50")


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings of the training."""
    row = {
        "row": "Fig. 4",
        "title": "A less visible mark",
        "paper": ".1, .3, .5 are inferred as .12, .28, .44: all within .1",
        "minutes": 1.0,
    }
    return common.study("fig4", variant, common.BASE_CASE, row)


def value_error(run: Run, user: str) -> float:
    """Return the error of the value that was added to blue pixels, in [0, .6).

    The mark "pixels" puts its value on the dial of hues, .6 of full scale being the whole
    circle (see `marks.PixelMark`); values, unlike hues, do not go round.
    """
    inferred = shared_claims.inferred_degrees(run, user)
    return 0.6 * abs(inferred - shared_claims.true_degrees(run, user)) / 360.0


def claims(runs: Runs) -> list[Claim]:
    """Claim that all three values are read to within .1."""

    def largest(run: Run) -> float:
        return float(np.max([value_error(run, user) for user in USERS]))

    return [
        Claim(
            "largest error of the three values",
            paper=".06",
            measured=runs.each(largest),
            # Below τ = .1: an error of .1 is a mark of .1 that is inferred as no mark.
            confirm=at_most(0.099),
            direction=at_most(0.099),
        ),
    ]


def figure(runs: Runs) -> Bars:
    """Draw the error of each value."""
    labels = {".1": "pixels10", ".3": "pixels30", ".5": "pixels50"}
    shown = {label: runs.each(value_error, user=user) for label, user in labels.items()}
    return Bars(shown, "error of the value read")
