"""A run that is over in seconds, on made-up data, with every kind of user.

Command: python run.py --config=tests/golden/tiny.py --workdir=FOLDER
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    """Its settings."""
    return ml_collections.ConfigDict(
        {
            "name": "golden_tiny",
            "seed": 3,
            "data": {"source": "mock:160", "image_size": 16},
            "users": {
                "keyed": {"num_images": 12},
                "one_hue": {"num_images": 12, "scheme": "per_user"},
                "albums": {"num_images": 12, "scheme": "per_group", "num_groups": 3},
                "control_unmarked": {"num_images": 6, "kind": "unmarked"},
                "held_out": {"num_images": 6, "kind": "held_out"},
            },
            "model": {"name": "testing"},
            "train": {"batch_size": 32, "num_epochs": 2, "schedule": "cosine"},
            "verify": {"alpha": 0.05, "num_fresh_keys": 40, "grid_refinement": 3},
        }
    )
