"""Files of three data owners."""

import pathlib

import numpy as np
import pytest

from tests.partition.parties import made_up
from tests.quick import quick_compilation


@pytest.fixture(scope="module", autouse=True)
def quick():
    """All trainings that are compared compile alike."""
    with quick_compilation():
        yield


@pytest.fixture(scope="session")
def owners_files(tmp_path_factory) -> list[pathlib.Path]:
    folder = tmp_path_factory.mktemp("owners")
    paths = [folder / f"{number}.npz" for number in (1, 2, 3)]
    for seed, path in enumerate(paths):
        images, labels = made_up(24, seed)
        np.savez(path, images=images, labels=labels)
    return paths
