"""Ours: a diffusion model fine-tuned on marked photos, found through its base.

Command:   python run.py --config=experiments/diffusion.py[:quick]
           ... --config.arms=light,hue for some of the fine-tuned models; another call of the
           same seed adds others, and seeds share their bases
Takes:     about 13 minutes for each base on two busy cores (AMD EPYC), 2 to 3 for each
           fine-tuned model and its tables; seeds 0 to 2 need four bases, each run four twins.
Expect:    p calibrated by the base far below p of the suspect alone, for a faint mark still
           lower with twins; p of the unmarked control and of held-out owners uniform.

A base is trained on 4,000 CIFAR-10 photos, and fine-tuned on photos of one owner among others.
The second base, of the next seed, has none of these photos: it stands for a reference that the
suspect was not fine-tuned from. Two twins of each base are references that an owner can make
before committing: the base fine-tuned on the originals, which carry no mark, and 60 photos of
nobody. They and the number of noises were chosen on seed 100. Owners differ in the mark, on the
same photos. Shares of the fine-tuning set: `light10_*` have 10 marked photos in 25, 100 and 333
(40, 10 and 3 %).
"""

from collections.abc import Mapping
from typing import Any

import ml_collections

from anw_jax.lab import config

_FULL = {
    "name": "diffusion",
    "num_train": 20_000,
    "base": {"num_epochs": 120, "learning_rate": 1e-3, "batch_size": 64},
    "widths": (32, 64, 128, 128),
}
_QUICK = {
    "name": "diffusion_quick",
    "num_train": 4000,
    "base": {"num_epochs": 20, "learning_rate": 2e-3, "batch_size": 64},
    "widths": (8, 32, 64, 64),
}
_TUNING = {"num_epochs": 150, "learning_rate": 1e-3}


def get_config(variant: str = "full") -> ml_collections.ConfigDict:
    """Settings only; `anw_jax.lab.DiffusionSettings` says what each means."""
    chosen = config.choose(variant, full=_FULL, quick=_QUICK)
    return config.with_defaults(
        {
            "name": chosen["name"],
            "seed": 0,
            "data": {"source": "tfds:cifar10", "num_train": chosen["num_train"]},
            "owners": {
                "light": {"num_images": 40, "mark": "light"},
                "faint": {"num_images": 40, "mark": "light", "strength": 0.095},
                "hue": {"num_images": 40, "mark": "hue"},
            },
            "tunings": {
                "light": _tuned("light", with_held_out=True),
                "faint": _tuned("faint"),
                "hue": _tuned("hue"),
                "unmarked": _tuned("light", is_marked=False),
                "light_50_epochs": _tuned("light", {"num_epochs": 50}),
                "light_300_epochs": _tuned("light", {"num_epochs": 300}),
                "light10_of_25": _tuned("light", num_owned=10, num_others=15),
                "light10_of_100": _tuned("light", num_owned=10, num_others=90),
                "light10_of_333": _tuned("light", num_owned=10, num_others=323),
                "light_lora": _tuned("light", {"rank": 8, "learning_rate": 3e-3}),
            },
            "base": chosen["base"],
            "twins": {"train": _TUNING},
            "widths": chosen["widths"],
        }
    )


def _tuned(owner: str, train: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A fine-tuning on photos of an owner, 40 among 60 others if nothing else is said."""
    return {"owner": owner, "train": {**_TUNING, **(train or {})}, **more}
