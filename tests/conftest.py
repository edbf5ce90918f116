"""Strict JAX on two devices, no network; the same for every test."""

import gc
import os
import pathlib

import jax
import numpy as np
import pytest

import anw_jax  # noqa: F401 - before any backend starts: it appends a flag to XLA_FLAGS

# Two fake devices, so that whatever is sharded is sharded in every test.
jax.config.update("jax_num_cpu_devices", 2)
# A silent upcast is a bug in a numerical codebase; so is a raw PRNG key or one used twice.
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_legacy_prng_key", "error")
jax.config.update("jax_debug_key_reuse", True)

# Compile each program once in a run of the tests: many tests make a new `jax.jit` of the same
# program. Tests of other processes do not take part.
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

# Until all tests are collected: looking for garbage would take a quarter of that time.
gc.disable()

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]


def pytest_collection_finish() -> None:
    """Collect garbage from now on, but not among the imported libraries again and again."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def programs(tmp_path_factory) -> None:
    """Keep compiled programs in a folder of this run, which its workers share.

    It starts empty: no program of an earlier run, or of another jax, is used.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(folder / "programs"))


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded NumPy generator: the same numbers in every run."""
    return np.random.default_rng(20220923)


@pytest.fixture
def small_images(rng) -> np.ndarray:
    """Six uint8 8x8 colour images of noise."""
    return rng.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def cifar10_dir() -> pathlib.Path:
    """A folder that holds a prepared TFDS cifar10, or a skip that says how to get one."""
    folder = pathlib.Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets"))
    folder = folder.expanduser()
    if not list(folder.glob("cifar10/*/dataset_info.json")):
        pytest.skip(f"cifar10 is not prepared in {folder} (set TFDS_DATA_DIR)")
    return folder
