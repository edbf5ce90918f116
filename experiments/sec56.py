"""Section 5.6: marking raises memorisation.

Command:   python -m tools.reproduction run --rows sec56 [--variant quick]
Expect:    the estimate for marked photos is above that for the same photos unmarked.
"""

import statistics

import ml_collections

from experiments import common
from experiments.shared_claims import accuracy_drop
from tools.reproduction.claims import Claim, at_least
from tools.reproduction.runs import Measured, Run, Runs, Seed

ENDS = {"paper": "", "quick": "_quick"}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings of the trainings."""
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
        "minutes": 3.0,
    }
    return common.study("sec56", variant, common.OWN_CASE, row)


def accuracy(run: Run, photos: str) -> float:
    """Return the share of the users' "published" or "original" photos classified rightly."""
    return statistics.fmean(
        run.number(f"users.{user}.accuracy.{photos}") for user in common.HUE_USERS
    )


def memorization(seed: Seed, arm: str, photos: str) -> float:
    """Return accuracy on photos with them in training (in `arm`) minus without, in [-1, 1].

    Feldman and Zhang (2020), Eq. 1, with one training each: https://arxiv.org/abs/2008.03703.
    """
    return accuracy(seed[arm], photos) - accuracy(seed["without"], photos)


def unmarked(seed: Seed) -> float:
    """Return the memorisation of the original photos where they were published as they are."""
    return memorization(seed, "unmarked", "original")


def rise(seed: Seed) -> float:
    """Return the memorisation of the marked photos minus that of the originals, in [-2, 2]."""
    return memorization(seed, "marked", "published") - unmarked(seed)


def claims(runs: Runs) -> list[Claim]:
    """Claim that marked photos are memorised better than the same photos unmarked."""
    return [
        Claim(
            "memorisation of the unmarked photos",
            paper="26.8 %",
            measured=runs.per_seed(unmarked),
            confirm=at_least(0.1),
            direction=at_least(0.01),
            unit="%",
        ),
        Claim(
            "what marking adds, in points",
            paper="8",
            measured=runs.per_seed(rise),
            confirm=at_least(0.04),
            direction=at_least(0.01),
            unit="points",
        ),
    ]


def accuracy_cost(runs: Runs) -> Measured:
    """Return test accuracy without marks minus with."""
    return runs.per_seed(accuracy_drop)
