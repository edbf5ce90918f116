"""Ours: what every mark pays in visibility for its evidence, on three sets of photos.

Command:   python run.py --config=experiments/frontier.py
           ... frontier.py:cifar10 (the same), frontier.py:cifar100, frontier.py:tiny12
Takes:     on two idle CPU cores about 10 minutes per seed; tiny12 about 25.
Expect:    the paper's hue rotation far ahead in evidence and in visibility; of the gentle
           marks, light the most evidence for how little it shows; controls uniform.

Nine owners of 50 photos each, one for each mark and strength, share one training: 450 of 4,000
photos are marked. Losses are averaged over 16 views of each image. `python -m
benchmarks.frontier` makes the table and the figure of docs/visibility.md from the results.
"""

import ml_collections

from anw_jax.lab import config
from anw_jax.marks import LightField
from experiments import common

NUM_IMAGES = 50
_DEFAULT = LightField.strength

# By the owner's name: the mark and its strength, None for its default.
MARKS = {
    "light_half": ("light", _DEFAULT / 2),
    "light": ("light", _DEFAULT),
    "light_double": ("light", _DEFAULT * 2),
    "light_and_tint": ("light+tint", None),
    "tone": ("tone", None),
    "tint": ("tint", None),
    "hue_limited": ("hue_limited", None),
    "hue": ("hue", None),
    "private_basis": ("private_basis", None),
}

_CIFAR = {"model": common.SMALL, "train": common.QUICK_TRAIN}
VARIANTS = {
    "cifar10": _CIFAR | {"data": common.CIFAR10 | {"num_train": 4000}},
    "cifar100": _CIFAR | {"data": common.CIFAR100 | {"num_train": 4000}},
    "tiny12": {
        "data": common.TINY_12 | {"num_train": 4000},
        "model": common.TINY_SMALL,
        "train": common.QUICK_TRAIN,
    },
}


def get_config(variant: str = "cifar10") -> ml_collections.ConfigDict:
    """Settings only; `anw_jax.lab.Settings` says what each means."""
    users = {
        name: {"num_images": NUM_IMAGES, "mark": mark, "strength": strength}
        for name, (mark, strength) in MARKS.items()
    }
    for name, kind in (("control_unmarked", "unmarked"), ("held_out", "held_out")):
        users[name] = {"num_images": NUM_IMAGES, "kind": kind, "mark": "light"}
    return config.with_defaults(
        {
            "name": f"frontier_{variant}",
            "seed": 0,
            "users": users,
            "verify": {"alpha": 1e-6, "views": 16, "grid_refinement": 1},
            **config.choose(variant, **VARIANTS),
        }
    )
