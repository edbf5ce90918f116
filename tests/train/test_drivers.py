import types

import chex
import jax
import numpy as np
import pytest

from anw_jax import train
from anw_jax.errors import SettingsError
from anw_jax.train.devices import data_mesh
from anw_jax.train.drivers import resolve_driver, shares_threads


@pytest.fixture(scope="module")
def by_loop(tiny):
    return train.train(*tiny, driver="loop", segment_steps=6)


def _assert_same(result, expected):
    chex.assert_trees_all_close(
        result.state.variables, expected.state.variables, rtol=1e-3, atol=1e-4
    )
    losses = [[report.loss for report in run.reports] for run in (result, expected)]
    np.testing.assert_allclose(*losses, rtol=1e-3)


def test_scan_is_loop(tiny, by_loop):
    _assert_same(train.train(*tiny, driver="scan", segment_steps=6), by_loop)


@pytest.mark.slow
def test_one_device_is_two_devices(tiny, by_loop):
    assert len(jax.devices()) == 2
    one = train.train(*tiny, num_devices=1, segment_steps=6)
    assert len(one.state.step.sharding.device_set) == 1
    assert len(by_loop.state.step.sharding.device_set) == 2
    _assert_same(one, by_loop)


def test_segment_length_changes_nothing(tiny, by_loop):
    other = train.train(*tiny, segment_steps=16)
    chex.assert_trees_all_equal(other.state, by_loop.state)


def test_auto_is_the_loop_on_cpu():
    assert resolve_driver("auto") == "loop"
    with pytest.raises(ValueError, match="driver must be one of auto, loop, scan"):
        resolve_driver("scam")


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
        train.estimate(*tiny)


def test_no_more_devices_than_there_are():
    with pytest.raises(ValueError, match="num_devices must be at most the 2 there are"):
        data_mesh(16, num_devices=3)
