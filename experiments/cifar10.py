"""CIFAR-10: the paper's setting, and one that two CPU cores can afford.

Command:   python run.py --config=experiments/cifar10.py
Takes:     not yet run (ResNet-50, 90 epochs, 50,000 images; meant for an accelerator).
Expect:    a keyed user and a one-hue user (1 % of the images each) recovered.

Command:   python run.py --config=experiments/cifar10.py:quick
Takes:     about 8 minutes per seed on two CPU cores (AMD EPYC).
Expect:    keyed p <= 1e-6 with 50 of 4,000 photos; one-hue matched; held-out near 0 degrees;
           test accuracy about 68 %.

The world without the keyed user, a control: add --config.exclude=keyed and another --workdir.
"""

import ml_collections

from anw_jax.lab import config

_PAPER = {
    "name": "cifar10",
    "num_train": None,
    "num_images": 500,
    "model": "resnet50",
    "train": {"batch_size": 256, "num_epochs": 90, "learning_rate": 0.1},
}
_QUICK = {
    "name": "cifar10_quick",
    "num_train": 4000,
    "num_images": 50,
    "model": "small",
    "train": {
        "batch_size": 64,
        "num_epochs": 60,
        "schedule": "cosine",
        "warmup_epochs": 2,
        "nesterov": True,
    },
}


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings only; `anw_jax.lab.Settings` says what each means."""
    chosen = config.choose(variant, paper=_PAPER, quick=_QUICK)
    num_images = chosen["num_images"]
    return config.with_defaults(
        {
            "name": chosen["name"],
            "seed": 0,
            "data": {"source": "tfds:cifar10", "num_train": chosen["num_train"]},
            "users": {
                "keyed": {"num_images": num_images},
                "one_hue": {"num_images": num_images, "scheme": "per_user"},
                "control_unmarked": {"num_images": num_images, "kind": "unmarked"},
                "held_out": {"num_images": num_images, "kind": "held_out"},
            },
            "model": {"name": chosen["model"]},
            "train": chosen["train"],
            # Chosen on seeds >= 100; see results/score_study.json.
            "verify": {"alpha": 1e-6, "statistic": "log_losses"},
        }
    )
