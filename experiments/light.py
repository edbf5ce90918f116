"""Ours: the owners' default mark, soft light and shade, on CIFAR-10.

Command:   python run.py --config=experiments/light.py[:quick]
           ... light.py:quick_grey, where the learner trains in greyscale
           ... light.py:quick_gallery, the training of quick and a student that was distilled
           from it on CIFAR-100
Takes:     about 8 minutes per seed on two CPU cores.
Expect:    p <= 1e-6 from 100 photos, and <= 1e-3 in greyscale; controls uniform.

Owners of 25, 50, 100 and 200 photos share one training: 375 of 4,000 photos are marked. The
recipe is that of `cifar10.py:quick`. Losses are averaged over 16 views of each image, as
many as a plan of `anw` has for this mark. The strength was chosen by how visible the mark is,
on photos that are in no result of this experiment, and the number of views on seeds >= 100.
"""

import ml_collections

from anw_jax.lab import config
from experiments import common

_SIZES = (25, 50, 100, 200)
_VARIANTS = {
    "full": {
        "name": "light",
        "data": common.CIFAR10,
        "model": common.RESNET50,
        "train": common.PAPER_TRAIN,
    },
    "quick": {
        "name": "light_quick",
        "data": common.CIFAR10 | {"num_train": 4000},
        "model": common.SMALL,
        "train": common.QUICK_TRAIN,
    },
}
_VARIANTS["quick_grey"] = _VARIANTS["quick"] | {
    "name": "light_quick_grey",
    "attacks": {"grey": {"attack": "grayscale"}},
}
_VARIANTS["quick_gallery"] = _VARIANTS["quick"] | {
    "name": "light_quick_gallery",
    "case": "light_quick",
    "suspects": {"gallery": {"attack": "distil_gallery"}},
}


def get_config(variant: str = "full") -> ml_collections.ConfigDict:
    """Settings only; `anw_jax.lab.Settings` says what each means."""
    users = {f"light{size}": {"num_images": size, "mark": "light"} for size in _SIZES}
    for name, kind in (("control_unmarked", "unmarked"), ("held_out", "held_out")):
        users[name] = {"num_images": 100, "kind": kind, "mark": "light"}
    return config.with_defaults(
        {
            "seed": 0,
            "users": users,
            "verify": {"alpha": 1e-6, "views": 16, "grid_refinement": 1},
            **config.choose(variant, **_VARIANTS),
        }
    )
