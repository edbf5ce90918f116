"""Was a model trained on another's outputs? The keyed filter barrier (after Zhang et al. 2021).

Command:   python run.py --config=experiments/barrier.py[:quick]
           ... barrier.py:study for all copies, losses, changes and a fixed pattern (deblur);
           ... barrier.py:derain, derain_quick for the same on the second task;
           ... barrier.py:paper_quick for the paper's own system at its smallest,
           paper, paper_derain for its table on two tasks, paper_absorbed for a model that
           absorbs the mark, paper_pictures for four marks in one barrier, and paper_scale for
           256 pixels ($PASCAL_VOC holds the photos)
Takes:     quick and paper_quick about ten minutes each on two idle cores, by the number of
           their operations, study and paper about an hour; each copy resumes by itself
Expect:    log10 p below -4 for copies trained on stolen outputs, mirrored or not; nothing shown
           on copies of clean pairs, or of another owner's outputs. The paper's system has no
           p; its extractor draws the mark for nearly all outputs of copies.

The data are CIFAR-10, read by TensorFlow Datasets. In quick and paper_quick the owner's model
is a classical filter; in study and paper it is a network.
"""

from typing import Any

import ml_collections

from anw_jax.lab import config

_SMALL = {"name": "residual", "width": 16, "depth": 1}
_HOW = {"num_epochs": 8, "learning_rate": 3e-3}
_L1 = {**_HOW, "distance": "l1"}
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
        found[f"{name}_removal"] = net | {"change": "removal"}
        found[f"{name}_tuned"] = net | {"tune_epochs": 10}
    return found


_COPIES = _copies()
_OWN = {
    "model": {"name": "residual", "width": 24, "depth": 4},
    "pairs": "clean",
    "train": {**_HOW, "num_epochs": 12},
}
_STUDY = {
    "name": "barrier",
    "task": "deblur",
    "own": _OWN,
    "copies": _COPIES,
    "additive": {name: _COPIES[name] for name in ("plain", "residual_1", "unet")},
}


# The paper's own system: its table has four architectures with L2 and five losses with a U-Net.
_IN_TABLE = (
    "innocent_plain",
    "innocent_unet",
    "plain",
    "residual_3",
    "residual_6",
    "unet",
    "unet_l1",
    "unet_l1_adversarial",
    "unet_l2_adversarial",
    "unet_perceptual_adversarial",
)
_BREAKERS = ("unet_flips", "unet_overwrite", "foreign")

# In a few thousand steps the pixel loss leaves small networks near 32 dB, so the power of the
# mark is given. R sees images moved, or H would tie the mark to places, which copies do not
# learn.
_SHIFT = 8
_NETS = {"width": 8, "depth": 3, "psnr": 35.5}
_PAPER = {
    "name": "barrier_paper",
    "task": "deblur",
    "own": _OWN,
    "pictures": ("bits",),
    "copies": {name: _COPIES[name] for name in _IN_TABLE + _BREAKERS},
    "nets": _NETS,
    "weights": {"pixel": 0.0},
    "stage_1": {"num_steps": 4000, "learning_rate": 2e-3, "max_shift": _SHIFT},
    "stage_2": {"num_steps": 2000, "max_shift": _SHIFT},
    "proxies": {"unet": _COPIES["unet"], "plain": _COPIES["plain"] | {"train": _L1}},
}
_PLAIN = {"model": {"name": "plain", "width": 16, "depth": 2}, "train": _HOW}
_UNET = {"model": {"name": "unet", "width": 8, "depth": 2}, "train": _HOW}
_PAPER_QUICK = {
    **_PAPER,
    "name": "barrier_paper_quick",
    "own": None,
    "copies": {
        "innocent_unet": _UNET | {"pairs": "clean"},
        "plain": _PLAIN,
        "unet": _UNET,
        "unet_l1": _UNET | {"train": _L1},
    },
    "stage_1": {"num_steps": 3000, "learning_rate": 2e-3, "max_shift": _SHIFT},
    "proxies": {"unet": _UNET, "plain": _PLAIN | {"train": _L1}},
}


def _paper_scale() -> dict[str, Any]:
    """Sizes and steps of the authors' code, as far as networks without normalisation allow."""
    how = {"num_epochs": 300, "learning_rate": 1e-4, "batch_size": 16}
    copies = {
        name: {**copy, "train": {**copy["train"], **how}}
        for name, copy in _PAPER["copies"].items()
    }
    return {
        **_PAPER,
        "name": "barrier_paper_scale",
        "data": {"source": "folder:$PASCAL_VOC", "image_size": 256},
        "own": {**_OWN, "train": how},
        "task": "derain",
        "copies": copies,
        "nets": {"width": 64, "depth": 7},
        "weights": {},
        "stage_1": {"num_steps": 75_000, "learning_rate": 2e-4},
        "stage_2": {"num_steps": 75_000, "learning_rate": 1e-4},
        "proxies": {"unet": {"model": {"name": "unet", "width": 64, "depth": 7}, "train": how}},
        "num_pairs": 6000,
    }


def get_config(variant: str = "study") -> ml_collections.ConfigDict:
    """Settings only; `anw_jax.lab` says what each means.

    Those of the paper's system are `PictureSettings`, all others `BarrierSettings`.
    """
    copies = _PAPER_QUICK["copies"]
    absorbed = {**_NETS, "psnr": None, "absorbed": _OWN["model"]}
    chosen = config.choose(
        variant,
        study=_STUDY,
        quick=_QUICK,
        derain_quick={**_QUICK, "name": "barrier_derain_quick", "task": "derain"},
        derain={**_STUDY, "name": "barrier_derain", "task": "derain"},
        paper=_PAPER,
        paper_quick=_PAPER_QUICK,
        paper_derain={
            **_PAPER,
            "name": "barrier_paper_derain",
            "task": "derain",
            "copies": {name: _COPIES[name] for name in _IN_TABLE},
        },
        paper_absorbed={
            **_PAPER,
            "name": "barrier_paper_absorbed",
            "copies": copies,
            "nets": absorbed,
            "weights": {},
        },
        paper_pictures={
            **_PAPER,
            "name": "barrier_paper_pictures",
            "copies": copies,
            "pictures": ("bits", "logo", "grey", "colour"),
        },
        paper_scale=_paper_scale(),
    )
    return config.with_defaults({"seed": 0, "data": {"source": "tfds:cifar10"}, **chosen})
