"""CIFAR-10: the paper's setting, and one that two CPU cores can afford.

Command:   python run.py --config=experiments/cifar10.py
Takes:     not yet run (ResNet-50, 90 epochs, 50,000 images; meant for an accelerator).
Expect:    a keyed user and a one-hue user (1 % of the images each) recovered.

Command:   python run.py --config=experiments/cifar10.py:quick
Takes:     about 10 minutes per seed on two CPU cores.
Expect:    keyed p <= 1e-6 with 50 of 4,000 photos; one-hue matched; held-out near 0.
"""

import ml_collections

from anw_jax.lab import config


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Settings only; `anw_jax.lab.Settings` says what each means."""
    quick = {"paper": False, "quick": True}[variant]
    num_images = 50 if quick else 500
    values = {
        "name": "cifar10_quick" if quick else "cifar10",
        "seed": 0,
        "data": {"source": "tfds:cifar10", "num_train": 4000 if quick else None},
        "users": {
            "keyed": {"num_images": num_images},
            "one_hue": {"num_images": num_images, "scheme": "per_user"},
            "control_unmarked": {"num_images": num_images, "kind": "unmarked"},
            "held_out": {"num_images": num_images, "kind": "held_out"},
        },
        "model": {"name": "small" if quick else "resnet50"},
        "train": {"batch_size": 256, "num_epochs": 90, "learning_rate": 0.1},
        "verify": {"alpha": 1e-6, "statistic": "log_losses"},
    }
    if quick:
        values["train"] = {
            "batch_size": 64,
            "num_epochs": 60,
            "schedule": "cosine",
            "warmup_epochs": 2,
            "nesterov": True,
        }
    return config.with_defaults(values)
