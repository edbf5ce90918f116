"""The whole idea on real photographs, in a minute and a half, with no download.

Command:   python run.py --config=experiments/quickstart.py
Takes:     about 80 seconds on two CPU cores (AMD EPYC).
Expect:    the keyed user is shown with p <= 1e-4 (seeds 0-4); the controls are not. The p of
           the user `light` is reported, and no value of it is promised.

Tiles of eight photos that scikit-image includes; the learner classifies from which photo a
tile comes. One user's 40 tiles carry a secret hue each; those of another user carry the
owners' default mark, soft light and shade.
"""

import ml_collections

from anw_jax.lab import config


def get_config() -> ml_collections.ConfigDict:
    """Settings only; `anw_jax.lab.Settings` says what each means."""
    return config.with_defaults(
        {
            "name": "quickstart",
            "seed": 0,
            "data": {"source": "photos"},
            "users": {
                "keyed": {"num_images": 40},
                "light": {"num_images": 40, "mark": "light"},
                "control_unmarked": {"num_images": 40, "kind": "unmarked"},
                "held_out": {"num_images": 40, "kind": "held_out"},
            },
            "model": {"name": "small"},
            "train": {
                "batch_size": 32,
                "num_epochs": 30,
                "schedule": "cosine",
                "warmup_epochs": 2,
                "nesterov": True,
            },
            "verify": {"alpha": 1e-4, "statistic": "log_losses"},
        }
    )
