"""Was a model trained on another's outputs? The keyed filter barrier (after Zhang et al. 2021).

Command:   python run.py --config=experiments/barrier.py[:quick]
           ... barrier.py:study for both tasks' copies, losses and changes (deblur);
           ... barrier.py:derain for the same on the second task
Takes:     quick about ten minutes on two idle cores, by the number of its operations; each
           copy resumes by itself
Expect:    log10 p below -4 for copies trained on stolen outputs, mirrored or not; nothing shown
           on copies of clean pairs, or of another owner's outputs.

The data are CIFAR-10, read by TensorFlow Datasets. In quick the owner's model is a classical
filter; in study it is a network.
"""

from typing import Any

import ml_collections

from anw_jax.lab import config

_SMALL = {"name": "residual", "width": 16, "depth": 1}
_HOW = {"num_epochs": 8, "learning_rate": 3e-3}
_ADVERSARIAL = 1e-3
_QUICK = {
    "name": "barrier_quick",
    "task": "deblur",
    "copies": {
        "residual_1": {"model": _SMALL, "train": _HOW},
        "innocent_residual_1": {"model": _SMALL, "train": _HOW, "pairs": "clean"},
        "residual_1_flips": {"model": _SMALL, "train": {**_HOW, "flips": True}},
        "residual_1_jpeg": {"model": _SMALL, "train": _HOW, "change": "jpeg"},
    },
    "num_fresh_keys": 2000,
}


def _copies() -> dict[str, dict[str, Any]]:
    """Architectures with L2, losses and changes with the U-Net, and innocent twins."""
    nets = {
        "plain": {"name": "plain", "width": 24, "depth": 2},
        "residual_1": {"name": "residual", "width": 24, "depth": 1},
        "residual_3": {"name": "residual", "width": 24, "depth": 3},
        "residual_6": {"name": "residual", "width": 24, "depth": 6},
        "unet": {"name": "unet", "width": 16, "depth": 2},
    }
    nets = {name: {"model": net, "train": _HOW} for name, net in nets.items()}
    found = {f"innocent_{name}": net | {"pairs": "clean"} for name, net in nets.items()}
    found |= nets
    unet = nets["unet"]
    for distance in ("l1", "perceptual"):
        found[f"unet_{distance}"] = unet | {"train": {**_HOW, "distance": distance}}
        more = {**_HOW, "distance": distance, "adversarial": _ADVERSARIAL}
        found[f"unet_{distance}_adversarial"] = unet | {"train": more}
    found["unet_l2_adversarial"] = unet | {"train": {**_HOW, "adversarial": _ADVERSARIAL}}
    found["foreign"] = unet | {"pairs": "foreign"}
    for name in ("plain", "unet"):
        net = nets[name]
        found[f"{name}_flips"] = net | {"train": {**_HOW, "flips": True}}
        found[f"{name}_jpeg"] = net | {"change": "jpeg"}
        found[f"{name}_resize"] = net | {"change": "resize"}
        found[f"{name}_overwrite"] = net | {"change": "overwrite"}
        found[f"{name}_tuned"] = net | {"tune_epochs": 10}
    return found


_OWN = {
    "model": {"name": "residual", "width": 24, "depth": 4},
    "pairs": "clean",
    "train": {**_HOW, "num_epochs": 12},
}
_STUDY = {"name": "barrier", "task": "deblur", "own": _OWN, "copies": _copies()}


def get_config(variant: str = "study") -> ml_collections.ConfigDict:
    """Settings only; `anw_jax.lab.BarrierSettings` says what each means."""
    chosen = config.choose(
        variant,
        study=_STUDY,
        quick=_QUICK,
        derain={**_STUDY, "name": "barrier_derain", "task": "derain"},
    )
    return config.with_defaults({**chosen, "seed": 0, "data": {"source": "tfds:cifar10"}})
