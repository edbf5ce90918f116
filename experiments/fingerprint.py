"""Who leaked his copy? Codes of 304 bits for the customers of a model, and collusion.

Command:   python run.py --config=experiments/fingerprint.py[:quick]
           ... fingerprint.py:photos for the copies of quick alone, without a download
           ... fingerprint.py:study for 20 copies and the whole matrix of attacks
           ... fingerprint.py:spread for 10 copies with the baseline carrier
Takes:     quick about a quarter of an hour on two idle cores, by the speed of its network;
           each copy and each suspect resumes by itself
Expect:    304 of 304 bits in each copy; every colluder named in coalitions of up to five; no
           innocent customer named; simulated issues within the band of ε.

The data are CIFAR-10, read by TensorFlow Datasets. The first half of the test set is the
attacker's, accuracies are those on the other half. Customers beyond the copies that are made
exist as codes only.
"""

from typing import Any

import ml_collections

from anw_jax.lab import config

_TRAIN = {
    "batch_size": 64,
    "num_epochs": 12,
    "learning_rate": 0.1,
    "schedule": "cosine",
    "warmup_epochs": 2,
}
_HOWS = ("average", "median", "min_max", "min", "pick")
_TUNED = {"num_epochs": 5, "learning_rate": 0.005}


def _alone(attack: str, **parameters: Any) -> dict[str, Any]:
    return {"colluders": 1, "attack": attack, "parameters": parameters}


# Three data owners and a server; the attacker has the first half of the test set.
_TASK = ("frog", "ship")
_SPLIT = {
    "data": {"source": "tfds:cifar10", "num_train": 3000},
    "classes": _TASK,
    "defence": {
        "clip_norm": 30.0,
        "noise": 0.04,
        "adversary": 5.0,
        "distance_correlation": 0.3,
    },
}
# 304 bits in one image, by a lattice; small networks tell these two classes apart well.
_IMAGES = {
    "data": {"source": "tfds:cifar10"},
    "classes": _TASK,
    "model": {"name": "small"},
    "train": {**_TRAIN, "num_epochs": 8},
    "fingerprint": {"num_steps": 2000},  # of the method "networks"
}
_QUICK = {
    "name": "fingerprint_quick",
    "split": _SPLIT,
    "images": _IMAGES,
    "num_copies": 8,
    "collusions": {
        "average_5": {"how": "average", "colluders": 5},
        "median_3": {"how": "median", "colluders": 3},
        "min_8": {"how": "min", "colluders": 8},
        "quantise_8": _alone("quantise", bits=8),
        "prune_50": _alone("prune", fraction=0.5),
        "permuted": _alone("permute_weights"),
    },
}
_STUDY = {
    "name": "fingerprint",
    "split": {
        **_SPLIT,
        "data": {"source": "tfds:cifar10"},
        "num_rounds": 40,
        "attacker": {"num_steps": 2000},
    },
    "images": _IMAGES,
    "num_copies": 20,
    "more_coalitions": 9,
    "num_trials": 100,
    "collusions": {
        **{f"{h}_{c}": {"how": h, "colluders": c} for h in _HOWS for c in range(2, 11)},
        **{
            f"average_{c}_tuned": {"colluders": c, "attack": "fine_tune", "parameters": _TUNED}
            for c in (2, 3, 5, 8, 10)
        },
        "fine_tune": _alone("fine_tune", num_epochs=20, learning_rate=0.005),
        **{f"prune_{p}": _alone("prune", fraction=p / 100) for p in range(10, 100, 20)},
        "quantise_8": _alone("quantise", bits=8),
        "quantise_4": _alone("quantise", bits=4),
        **{f"noise_{p}": _alone("weight_noise", share=p / 100) for p in (5, 10, 20, 50)},
        "overwritten": _alone("overwrite_code"),
        "permuted": _alone("permute_weights"),
    },
}
_SPREAD = {
    **_STUDY,
    "name": "fingerprint_spread",
    "kind": "spread",
    "num_copies": 10,
    "split": None,
    "images": None,
}
# The copies of quick alone, on the photos that scikit-image brings: nothing is downloaded.
_PHOTOS = {
    **_QUICK,
    "name": "fingerprint_photos",
    "split": None,
    "images": None,
    "data": {"source": "photos", "image_size": 32},
    "train": {**_TRAIN, "num_epochs": 10},
    "num_issues": 10_000,
    "num_trials": 10,
}


def get_config(variant: str = "study") -> ml_collections.ConfigDict:
    """Settings only; `anw_jax.lab.FingerprintSettings` says what each means."""
    chosen = config.choose(variant, study=_STUDY, quick=_QUICK, spread=_SPREAD, photos=_PHOTOS)
    return config.with_defaults(
        {
            "seed": 0,
            "data": {"source": "tfds:cifar10", "num_train": 4000},
            "model": {"name": "small"},
            "train": _TRAIN,
            "repair": {},
            **chosen,
        }
    )
