"""The two restoration tasks, and the filters that solve them."""

import numpy as np
import pytest

from anw_jax.lab import restoration


@pytest.fixture(scope="module")
def images():
    """Smooth colour images, 16 px."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (12, 4, 4, 3)).astype(np.float64)
    fine = coarse.repeat(4, axis=1).repeat(4, axis=2)
    padded = np.pad(fine, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    shifts = [padded[:, i : i + 16, j : j + 16] for i in range(5) for j in range(5)]
    return np.mean(shifts, axis=0).astype(np.uint8)


@pytest.mark.parametrize("task", restoration.TASKS)
def test_a_task_spoils_images_and_its_filter_repairs_them(task, images):
    inputs = restoration.spoiled(task, images, seed=1)
    outputs = restoration.classical(task, inputs)
    assert inputs.dtype == outputs.dtype == np.uint8
    spoiled, repaired = (restoration.psnr(x, images) for x in (inputs, outputs))
    assert spoiled < 32
    assert repaired > spoiled + 1


@pytest.mark.parametrize("task", restoration.TASKS)
def test_inputs_depend_on_the_seed_alone(task, images):
    one, same, other = (restoration.spoiled(task, images, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_rain_only_adds_light(images):
    assert (restoration.spoiled("derain", images, 0) >= images).all()


def test_psnr_of_one_level():
    zeros = np.zeros((1, 2, 2, 3), np.uint8)
    assert restoration.psnr(zeros, zeros + np.uint8(1)) == pytest.approx(20 * np.log10(255))


def test_unknown_tasks_are_refused():
    for function in (restoration.classical, lambda *a: restoration.spoiled(*a, seed=0)):
        with pytest.raises(ValueError, match="task must be one of deblur, derain"):
            function("colour", np.zeros((1, 4, 4, 3), np.uint8))
