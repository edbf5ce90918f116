"""One tiny training, shared by the tests of this folder so that it compiles once."""

from typing import Any

import numpy as np
import pytest

from anw_jax import models, train
from tests.quick import quick_compilation

NUM_IMAGES, NUM_CLASSES, BATCH_SIZE = 64, 4, 16


def rows(first_step: int, num_steps: int) -> np.ndarray:
    """A batch plan: each epoch a new permutation."""
    per_epoch = NUM_IMAGES // BATCH_SIZE
    steps = []
    for step in range(first_step, first_step + num_steps):
        epoch, place = divmod(step, per_epoch)
        order = np.random.default_rng([7, epoch]).permutation(NUM_IMAGES)
        steps.append(order[place * BATCH_SIZE : (place + 1) * BATCH_SIZE])
    return np.stack(steps).astype(np.int32)


def tiny_arguments() -> tuple[Any, ...]:
    """Positional arguments of `train.train`: 16 steps on 64 images of noise."""
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (NUM_IMAGES, 8, 8, 3), dtype=np.uint8)
    labels = rng.integers(0, NUM_CLASSES, NUM_IMAGES, dtype=np.int32)
    settings = train.TrainSettings(
        learning_rate=0.05, batch_size=BATCH_SIZE, num_epochs=4, crop_padding=1, seed=3
    )
    return models.create("testing", NUM_CLASSES), settings, images, labels, rows


@pytest.fixture(scope="package", autouse=True)
def quick():
    """All trainings that are compared compile alike."""
    with quick_compilation():
        yield


@pytest.fixture(scope="session")
def tiny() -> tuple[Any, ...]:
    return tiny_arguments()


@pytest.fixture(scope="session")
def model(tiny) -> models.Model:
    return tiny[0]


@pytest.fixture(scope="session")
def settings(tiny) -> train.TrainSettings:
    return tiny[1]


@pytest.fixture(scope="session")
def dataset(tiny) -> tuple[np.ndarray, np.ndarray]:
    return tiny[2:4]
