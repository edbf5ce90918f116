"""Fig. 2g: any architecture. The paper uses Tiny ImageNet; quick takes CIFAR-10.

Command:   python -m tools.reproduction run --rows fig2g [--variant quick]
Expect:    the signatures are matched whatever the network.
"""

import ml_collections

from experiments import common, shared_claims
from tools.reproduction.claims import Claim, at_least
from tools.reproduction.figures import Curves
from tools.reproduction.runs import Runs, Seed

ARMS = {
    "paper": {
        "alexnet": {"model.name": "alexnet", "train.learning_rate": 0.01},
        "vgg": {"model.name": "vgg19"},
        "resnet": {},
        "wide_resnet": {"model.name": "wide_resnet50_2"},
        "densenet": {"model.name": "densenet161"},
    },
    "quick": {
        "alexnet": {"model.name": "alexnet_small", "train.learning_rate": 0.02},
        "vgg": {"model.name": "vgg_small"},
        "resnet": {"case": "small_cifar10_quick"},
        "wide_resnet": {"model.name": "wide_resnet_small"},
        "densenet": {"model.name": "densenet_small"},
    },
}
CASES = {
    "paper": common.TINY_CASE,
    "quick": common.OWN_CASE["quick"],
}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings of the trainings."""
    arms = ARMS.get(variant, ARMS["paper"])
    row = {
        "row": "Fig. 2g",
        "title": "Architectures",
        "note": "small networks on CIFAR-10" if variant == "quick" else "",
        "paper": "matched with AlexNet, VGG, ResNet, Wide ResNet and DenseNet",
        "arms": arms,
        "minutes": 3.0,
    }
    return common.study("fig2g", variant, CASES, row)


def claims(runs: Runs) -> list[Claim]:
    """Claim that the signatures are matched whatever the network."""

    def worst(seed: Seed) -> float:
        return min(shared_claims.match_rate(run, common.HUE_USERS) for run in seed.all())

    return [
        shared_claims.all_matched(
            runs, "all five signatures are matched, over all architectures"
        ),
        Claim(
            "share of signatures matched with the worst architecture",
            paper="all",
            measured=runs.per_seed(worst),
            confirm=at_least(1.0),
            direction=at_least(0.6),
            unit="%",
        ),
        shared_claims.keyed_p(runs),
    ]


def figure(runs: Runs) -> Curves:
    """Draw the loss around one signature in each architecture."""
    return shared_claims.arm_curves(runs)
