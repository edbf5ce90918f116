import jax
import numpy as np
import pytest

from anw_jax import train
from anw_jax.errors import CheckpointError


def test_a_network_comes_back_from_its_checkpoints_alone(tiny, tmp_path):
    result = train.train(*tiny, checkpoint_dir=tmp_path / "checkpoints")
    model, variables = train.load_model(tmp_path / "checkpoints")
    assert model == tiny[0]
    trained = result.state.variables
    assert jax.tree.structure(variables) == jax.tree.structure(trained)
    jax.tree.map(np.testing.assert_array_equal, variables, trained)
    steps = [int(path.name) for path in (tmp_path / "checkpoints").iterdir() if path.is_dir()]
    assert train.load_model(tmp_path / "checkpoints", max(steps))[0] == model


def test_no_checkpoints_are_named(tmp_path):
    with pytest.raises(
        CheckpointError, match=r"no checkpoints in .*: the folder does not exist"
    ):
        train.load_model(tmp_path / "none")


def test_a_folder_without_checkpoints_is_no_run(tmp_path):
    with pytest.raises(CheckpointError, match=f"no checkpoints in {tmp_path}: name a run's"):
        train.load_model(tmp_path)
