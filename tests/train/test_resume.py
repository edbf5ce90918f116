import os
import pathlib
import signal
import subprocess
import sys

import chex
import jax
import numpy as np
import pytest

from anw_jax import train

CHILD = pathlib.Path(__file__).with_name("resume_child.py")


@pytest.fixture(scope="module")
def uninterrupted(tiny):
    return train.train(*tiny, segment_steps=4).state


def _spawn(folder, kill_at=0, fill_at=0):
    root = str(pathlib.Path(__file__).parents[2])
    environment = os.environ | {
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_NUM_CPU_DEVICES": "2",
        "PYTHONPATH": root,
    }
    command = [sys.executable, str(CHILD), str(folder), str(kill_at), str(fill_at)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_killed_and_resumed_in_a_new_process_is_bit_for_bit(tiny, uninterrupted, tmp_path):
    killed = _spawn(tmp_path, kill_at=12)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    # Killed after the segment to 12 but before it was saved.
    assert sorted(os.listdir(tmp_path)) == ["4", "8"]
    resumed = _spawn(tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    variables = train.load_variables(tmp_path, step=16)
    chex.assert_trees_all_equal(variables, uninterrupted.variables)


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_run_resumes(tiny, uninterrupted, tmp_path):
    failed = _spawn(tmp_path, fill_at=12)
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1] == (
        "anw_jax.errors.CheckpointError: the checkpoint of step 12 cannot be written to "
        f"{tmp_path} (File too large); that of step 8 is kept: free space or fix permissions "
        "there, and run again"
    )
    assert "_SignalingThread" not in failed.stderr
    assert sorted(os.listdir(tmp_path)) == ["4", "8"]
    resumed = train.train(*tiny, checkpoint_dir=tmp_path)
    assert [report.step for report in resumed.reports] == [12, 16]
    chex.assert_trees_all_equal(resumed.state, uninterrupted)


def test_stopped_and_resumed_is_bit_for_bit(tiny, uninterrupted, tmp_path):
    first = train.train(
        *tiny, segment_steps=4, checkpoint_dir=tmp_path, should_stop=lambda: True
    )
    assert int(first.state.step) == 4
    # The saved segment length is used again.
    second = train.train(*tiny, checkpoint_dir=tmp_path)
    assert second.completed
    assert [report.step for report in second.reports] == [8, 12, 16]
    chex.assert_trees_all_equal(second.state, uninterrupted)
    assert second.state.step.sharding.is_equivalent_to(uninterrupted.step.sharding, 0)


def test_a_finished_run_is_not_trained_further(tiny, uninterrupted, tmp_path):
    train.train(*tiny, segment_steps=8, checkpoint_dir=tmp_path)
    again = train.train(*tiny, checkpoint_dir=tmp_path)
    assert (again.completed, again.reports) == (True, ())
    chex.assert_trees_all_equal(again.state, uninterrupted)


def test_variables_of_a_checkpoint_predict_on_one_device(model, dataset, tiny, tmp_path):
    result = train.train(*tiny, segment_steps=8, checkpoint_dir=tmp_path)
    variables = train.load_variables(tmp_path)
    assert len(jax.tree.leaves(variables)[0].sharding.device_set) == 1
    apply_fn = jax.jit(model.apply)
    images = dataset[0].astype(np.float32) / 255
    expected = apply_fn(result.state.variables, images)
    np.testing.assert_allclose(apply_fn(variables, images), expected, rtol=1e-4, atol=1e-5)
