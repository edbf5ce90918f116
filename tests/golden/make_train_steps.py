"""Makes train_steps.json: `python tests/golden/make_train_steps.py` from the repository."""

import json
import pathlib
from typing import Any

import jax
import numpy as np

from anw_jax import models, train

NUM_IMAGES = 16


def three_steps() -> dict[str, Any]:
    """Losses of three steps on 16 images of noise, and the size of the parameters then."""
    settings = train.TrainSettings(batch_size=16, num_epochs=3, crop_padding=2, seed=11)
    rng = np.random.default_rng(13)
    images = rng.integers(0, 256, (NUM_IMAGES, 8, 8, 3), dtype=np.uint8)
    result = train.train(
        models.create("testing", 4),
        settings,
        images,
        rng.integers(0, 4, NUM_IMAGES, dtype=np.int32),
        lambda first_step, num_steps: np.tile(np.arange(NUM_IMAGES), (num_steps, 1)),
        segment_steps=1,
        num_devices=1,
    )
    leaves = jax.device_get(jax.tree.leaves(result.state.params))
    squares = sum(float(np.square(leaf, dtype=np.float64).sum()) for leaf in leaves)
    losses = [report.loss for report in result.reports]
    return {"losses": losses, "parameter_norm": squares**0.5}


if __name__ == "__main__":
    path = pathlib.Path(__file__).with_name("train_steps.json")
    path.write_text(json.dumps(three_steps(), indent=2) + "\n")
