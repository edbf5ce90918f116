"""Fig. 5a: many users at once, with one colour basis for all or one of their own.

Command:   python -m tools.reproduction run --rows fig5a [--variant quick]
Expect:    nearly all matched where few mark; with own bases still most where all do; a wrong
           basis reads nothing.

Paper: 1,000 users of 100 photos of Tiny ImageNet. Quick: 100 users of 19 photos of CIFAR-10.
"""

import ml_collections

from experiments import common
from experiments.shared_claims import group_match_rate
from tools.reproduction.claims import Claim, at_least, at_most
from tools.reproduction.figures import Bars
from tools.reproduction.runs import Run, Runs, Seed

USERS = {"paper": (1000, 100), "quick": (100, 19)}
PERCENT = {"paper": (20, 40, 60, 80, 100), "quick": (20, 100)}
CASES = {
    "paper": common.TINY_CASE | {"verify": {"grid_refinement": 1}},
    "quick": common.OWN_CASE["quick"] | {"verify": {"grid_refinement": 1}},
}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings of the trainings."""
    count, num_images = USERS.get(variant, USERS["paper"])
    arms = {
        f"{basis}{percent}": {
            "users.crowd.mark": mark,
            "users.crowd.count": count * percent // 100,
        }
        for basis, mark in (("same", "hue"), ("own", "private_basis"))
        for percent in PERCENT.get(variant, PERCENT["paper"])
    }

    row = {
        "row": "Fig. 5a",
        "title": "Many users",
        "note": "100 users of 19 photos of CIFAR-10" if variant == "quick" else "",
        "paper": "≈ 100 % at 20 %; > 80 % at 100 % with own bases; 10 % with wrong ones",
        "arms": arms,
        "minutes": 3.0,
    }
    users = {"crowd": common.one_hue(num_images, count=count)}
    if variant == "quick":  # at paper scale the group owns every photo
        users["keyed"] = {"num_images": 50}
    return common.study("fig5a", variant, CASES, row, users=users)


def claims(runs: Runs) -> list[Claim]:
    """Claim that users are matched where few mark, and with bases of their own where all do."""

    def fall(seed: Seed) -> float:
        few, all_users = (group_match_rate(seed[arm], "crowd") for arm in ("same20", "same100"))
        return few - all_users

    return [
        Claim(
            "one basis, 20 %",
            paper="≈ 100 %",
            measured=runs.each(group_match_rate, arm="same20", group="crowd"),
            confirm=at_least(0.9),
            direction=at_least(0.6),
            unit="%",
        ),
        Claim(
            "own bases, 100 %",
            paper="> 80 %",
            measured=runs.each(group_match_rate, arm="own100", group="crowd"),
            confirm=at_least(0.8),
            direction=at_least(0.5),
            unit="%",
        ),
        Claim(
            "one basis: matched at 20 % minus at 100 %",
            paper="falls significantly",
            measured=runs.per_seed(fall),
            confirm=at_least(0.2),
            direction=at_least(0.05),
            unit="points",
        ),
        Claim(
            "a wrong basis, 100 %",
            paper="10 %",
            measured=runs.each(
                Run.number, arm="own100", path="crowds.crowd.wrong_basis_match_rate"
            ),
            confirm=at_most(0.15),
            direction=at_most(0.2),
            unit="%",
        ),
    ]


def figure(runs: Runs) -> Bars:
    """Draw the share of users matched, for each basis and share of marking users."""
    shown = {arm: runs.each(group_match_rate, arm=arm, group="crowd") for arm in runs.arms}
    return Bars(shown, "users matched", "%")
