"""Fig. 2g: any architecture. The paper uses Tiny ImageNet; quick takes CIFAR-10.

Command:   python -m anw_jax.reproduce run --rows fig2g [--variant quick]
Expect:    the signatures are matched whatever the network.
"""

import ml_collections

from experiments import common

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
    "paper": common.OWN_CASE["paper"]
    | {
        "data": common.TINY,
        "model": common.TINY_RESNET50,
        "train": common.TINY_TRAIN,
        "users": common.usual_users(100, 100),
    },
    "quick": common.OWN_CASE["quick"],
}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings and claims only."""
    arms = ARMS.get(variant, ARMS["paper"])
    row = {
        "row": "Fig. 2g",
        "title": "Architectures",
        "note": "small networks on CIFAR-10" if variant == "quick" else "",
        "paper": "matched with AlexNet, VGG, ResNet, Wide ResNet and DenseNet",
        "arms": arms,
        "claims": (
            common.matches("all five signatures are matched, over all architectures"),
            {
                "claim": "share of signatures matched with the worst architecture",
                "paper": "all",
                "measure": "smallest",
                "arguments": {
                    "of": "match_rate",
                    "over": "arms",
                    "members": tuple(arms),
                    "arguments": {"users": common.HUE_USERS},
                },
                "unit": "%",
                "confirm": {"at_least": 1.0},
                "direction": {"at_least": 0.6},
            },
            common.keyed(arms=tuple(arms)),
        ),
        "figure": common.curves("arms", tuple(arms), arguments={"users": "hue60"}),
        "minutes": 3.0,
    }
    return common.study("fig2g", variant, CASES, row)
