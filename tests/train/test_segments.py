import types

import chex
import jax
import numpy as np
import pytest

from anw_jax import train
from anw_jax.errors import SettingsError
from anw_jax.train.batches import data_mesh, shares_threads
from anw_jax.train.classifier import first_state, step_key


@pytest.fixture(scope="module")
def whole(tiny):
    return train.train(*tiny, segment_steps=6)


def _assert_same(result, expected):
    chex.assert_trees_all_close(
        result.state.variables, expected.state.variables, rtol=1e-3, atol=1e-4
    )
    losses = [[report.loss for report in run.reports] for run in (result, expected)]
    np.testing.assert_allclose(*losses, rtol=1e-3)


@pytest.mark.slow
def test_a_segment_is_the_step_called_from_python(tiny, whole):
    model, settings, images, labels, rows = tiny
    step = train.classification_step(model, settings, 4)
    state = first_state(step, model, settings, (8, 8, 3))
    take, losses = jax.jit(step), []
    for row in rows(0, 16):
        batch = train.Batch(images[row], labels[row])
        state, metrics = take(state, batch, step_key(settings))
        losses.append(float(metrics["loss"]))
    chex.assert_trees_all_close(state, jax.device_get(whole.state), rtol=1e-3, atol=1e-4)
    means = [np.mean(losses[first : first + 6]) for first in (0, 6, 12)]
    np.testing.assert_allclose([report.loss for report in whole.reports], means, rtol=1e-3)


@pytest.mark.slow
def test_one_device_is_two_devices(tiny, whole):
    assert len(jax.devices()) == 2
    one = train.train(*tiny, num_devices=1, segment_steps=6)
    assert len(one.state.step.sharding.device_set) == 1
    assert len(whole.state.step.sharding.device_set) == 2
    _assert_same(one, whole)


def test_segment_length_changes_nothing(tiny, whole):
    other = train.train(*tiny, segment_steps=16)
    chex.assert_trees_all_equal(other.state, whole.state)


@pytest.mark.parametrize(("batch_size", "size"), [(16, 2), (15, 1), (1, 1)])
def test_mesh_is_the_largest_that_divides_the_batch(batch_size, size):
    assert data_mesh(batch_size).size == size


@pytest.mark.parametrize(
    ("platform", "size", "expected"), [("cpu", 2, True), ("cpu", 1, False), ("gpu", 2, False)]
)
def test_only_several_cpu_devices_take_steps_one_by_one(platform, size, expected):
    devices = np.array([types.SimpleNamespace(platform=platform)] * size)
    assert shares_threads(types.SimpleNamespace(size=size, devices=devices)) is expected


def test_several_processes_are_refused(tiny, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(SettingsError, match=r"^training over 2 processes is not supported yet"):
        train.train(*tiny)
    with pytest.raises(
        SettingsError, match=r"run it in one process, on the devices of one host$"
    ):
        train.train(*tiny, max_seconds=-np.inf)


def test_no_more_devices_than_there_are():
    with pytest.raises(ValueError, match="num_devices must be at most the 2 there are"):
        data_mesh(16, num_devices=3)
