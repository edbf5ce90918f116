"""A run that is over in seconds."""

import copy
import fcntl
import os
import pickle
import shutil

import pytest

from anw_jax.lab import run, settings_from_config
from tests.quick import quick_compilation

TINY = {
    "name": "tiny",
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
    "verify": {"alpha": 0.05, "num_fresh_keys": 40, "grid_refinement": 2},
}


@pytest.fixture(autouse=True)
def quick():
    """All runs that are compared compile alike."""
    with quick_compilation():
        yield


@pytest.fixture
def tiny_config() -> dict:
    """Plain values, free to be spoilt."""
    return copy.deepcopy(TINY)


@pytest.fixture
def tiny_settings(tiny_config):
    """Checked settings of the tiny run."""
    return settings_from_config(tiny_config)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """One finished tiny run, shared by the tests that only look, of all workers."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, kept = shared / "finished_run", shared / "finished_run.pickle"
    settings = settings_from_config(TINY)
    with open(shared / "finished_run.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another worker may be making it
        if not kept.exists():
            with quick_compilation():
                kept.write_bytes(pickle.dumps(run(settings, folder)))
    return settings, folder, pickle.loads(kept.read_bytes())


@pytest.fixture
def reopened(finished, tmp_path):
    """A copy of the finished run that has lost its DONE."""
    settings, folder, _ = finished
    copied = tmp_path / "copy"
    shutil.copytree(folder, copied)
    (copied / "DONE").unlink()
    return settings, copied
