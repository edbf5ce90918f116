"""Whose model is it? The multi-task watermark on images, both variants (Li and Wang 2021).

Command:   python run.py --config=experiments/multitask.py[:quick]
           ... multitask.py:quick_overwrites, four overwritings of the networks of quick
           ... multitask.py:quick_attacks, fine-pruning, distillation, other re-basings of them
           ... multitask.py:quick_without_drift and :quick_without_tuning, which embed without
           R_func and without R_DA
           ... multitask.py:study for all regularisers and attacks
           ... multitask.py:paper for an accelerator: a ResNet-18 on all of CIFAR-10, with the
           layers, learning rate and length of embedding of the authors' Feb_mnist.py
Takes:     quick, whose images are 16 pixels wide, about 25 minutes a seed on one core; each
           marked network, and each attack on one, resumes by itself. In a workdir of quick the
           other small ones find its networks
Expect:    log10 p far below -12 for the fixed projection without an attack and after re-basing;
           nothing shown on networks that never met the marks; a branch forged on the clean
           network reaches accuracy 1 with all features, and stays below 0.8 with a sixth of N.

The data are CIFAR-10, read by TensorFlow Datasets. The first half of the test set is the
attacker's, accuracies are those on the other half.
"""

from typing import Any

import ml_collections

from anw_jax.lab import config

TAPS = ("BasicBlock_0", "BasicBlock_1")
_TRAIN = {
    "batch_size": 64,
    "num_epochs": 24,
    "learning_rate": 0.1,
    "schedule": "cosine",
    "warmup_epochs": 2,
}
# As the authors' code trains a branch, beside the defaults of `multitask.EmbedSettings`.
_BRANCH = {"learning_rate": 1e-3, "drift": 0.1, "primary": 0.0, "tuning_steps": 1}
# Chosen on seed 100. Weaker steps, or a margin of 1, lose a tenth of the bits to fine-tuning.
_PROJECTION = {"margin": 1.5, "tuning_steps": 5, "tuning_rate": 0.1}
# An attacker who does not spare the task: more bits, larger steps, and no loss of the task.
_HARSH = {"num_steps": 200, "learning_rate": 1e-3, "drift": 0.1, "primary": 0.0}
_QUICK = {
    "name": "multitask_quick",
    "data": {"num_train": 4000, "image_size": 16},
    "train": {"num_epochs": 12},
    "marks": {
        "projection": {"embed": {**_PROJECTION, "num_steps": 200}},
        # A branch needs more steps: each of its inputs has to be learned.
        "branch": {"variant": "branch", "embed": {**_BRANCH, "num_steps": 800, "pairs": 64}},
    },
    "attacks": {
        "fine_tune": {"num_epochs": 40, "learning_rate": 0.005},
        "prune": {"fraction": 0.5},
        "overwrite_1": {"times": 1, "num_steps": 200, "num_bits": 110},
        "overwrite_harsh": _HARSH,
        "rebase": {"kind": "mix"},
    },
    "num_bits": 110,
    "num_keys": 1,
    "num_innocents": 1,
}
_QUICK_OVERWRITES = _QUICK | {
    "name": "multitask_quick_overwrites",
    "attacks": {"overwrite_4": {"times": 4, "num_steps": 200, "num_bits": 110}},
}
_QUICK_ATTACKS = _QUICK | {
    "name": "multitask_quick_attacks",
    "attacks": {
        "fine_prune": {"fraction": 0.5, "num_epochs": 5, "learning_rate": 0.005},
        "distil": {"photos": "clean"},
        "permute": {"kind": "permute"},
        "scale": {"kind": "scale"},
        "dummy": {"kind": "dummy"},
    },
}


def _quick_without(term: str, attacks: tuple[str, ...]) -> dict[str, Any]:
    """Both variants of quick, embedded without one of the regularisers."""
    return _QUICK | {
        "name": f"multitask_quick_without_{term}",
        "marks": {
            f"{name}_without_{term}": {**mark, "embed": {**mark["embed"], term: 0.0}}
            for name, mark in _QUICK["marks"].items()
        },
        "attacks": {name: _QUICK["attacks"][name] for name in attacks},
    }


_REGULARISERS = {
    "plain": {"drift": 0.0, "tuning": 0.0},
    "drift": {"tuning": 0.0},
    "tuning": {"drift": 0.0},
    "both": {},
}
_ATTACKS = {
    "fine_tune": {"num_epochs": 40, "learning_rate": 0.005},
    "prune_20": {"fraction": 0.2},
    "prune": {"fraction": 0.5},
    "fine_prune": {"fraction": 0.5, "num_epochs": 5, "learning_rate": 0.005},
    "overwrite_1": {"times": 1},
    "overwrite_2": {"times": 2},
    "overwrite_4": {"times": 4},
    "overwrite_harsh": _HARSH,
    "distil": {"photos": "clean"},
    "permute": {"kind": "permute"},
    "scale": {"kind": "scale"},
    "mix": {"kind": "mix"},
    "dummy": {"kind": "dummy"},
}
_STUDY = {
    "name": "multitask",
    "data": {"num_train": 4000},
    "train": {},
    "marks": {
        f"{variant}_{name}": {"variant": variant, "embed": {**own, **changes}}
        for variant, own in (
            ("projection", {**_PROJECTION, "num_steps": 300}),
            ("branch", {**_BRANCH, "num_steps": 2000}),
        )
        for name, changes in _REGULARISERS.items()
    },
    "attacks": _ATTACKS,
    "num_keys": 2,
    "num_innocents": 5,
}

_PAPER = {
    "name": "multitask_paper",
    "data": {},
    "model": "resnet18",
    "taps": ("BasicBlock_3", "BasicBlock_5"),
    "train": {"num_epochs": 80, "batch_size": 128},
    "marks": {
        "projection": {"embed": {**_PROJECTION, "num_steps": 2000, "learning_rate": 3e-4}},
        "branch": {
            "variant": "branch",
            "embed": {**_BRANCH, "num_steps": 15_000, "pairs": 16, "learning_rate": 3e-4},
        },
    },
    "attacks": _ATTACKS,
    "num_keys": 2,
    "num_innocents": 5,
}


def get_config(variant: str = "study") -> ml_collections.ConfigDict:
    """Settings only; `anw_jax.lab.MultitaskSettings` says what each means."""
    chosen = config.choose(
        variant,
        study=_STUDY,
        quick=_QUICK,
        quick_overwrites=_QUICK_OVERWRITES,
        quick_attacks=_QUICK_ATTACKS,
        quick_without_drift=_quick_without("drift", ()),
        quick_without_tuning=_quick_without("tuning", ("fine_tune",)),
        paper=_PAPER,
    )
    taps = chosen.get("taps", TAPS)
    own_embed = {"pairs": 32, "probes": 128, "batch_size": 32}
    marks = {
        name: {**mark, "embed": {**own_embed, **mark.get("embed", {})}}
        for name, mark in chosen["marks"].items()
    }
    return config.with_defaults(
        {
            **chosen,
            "seed": 0,
            "data": {"source": "tfds:cifar10", **chosen["data"]},
            "model": {"name": chosen.get("model", "small")},
            "train": {**_TRAIN, **chosen["train"]},
            "taps": taps,
            "marks": marks,
            "attacks": {n: _attack(n, how, taps) for n, how in chosen["attacks"].items()},
        }
    )


def _attack(name: str, parameters: dict[str, Any], taps: tuple[str, ...]) -> dict[str, Any]:
    """The attack that a row is named after; re-basings are named after their kind."""
    first = name.partition("_")[0]
    attack = "rebase" if "kind" in parameters else name if first == "fine" else first
    if attack in ("rebase", "overwrite"):
        parameters = {**parameters, "layers": taps}
    return {"attack": attack, "parameters": parameters}
