"""Networks in files, and their digests."""

import jax
import numpy as np
import pytest

from anw_jax import models
from anw_jax.errors import CheckpointError
from anw_jax.schemes import check_released, load_network, save_network, weights_digest

MODEL = models.create("testing", 4)


@pytest.fixture(scope="module")
def variables():
    return MODEL.init(jax.random.key(0), (8, 8, 3))


def test_a_network_is_read_back_bit_for_bit(tmp_path, variables):
    digest = save_network(tmp_path / "net.npz", MODEL, variables)
    model, again = load_network(tmp_path / "net.npz")
    assert model == MODEL
    assert digest == weights_digest(variables) == weights_digest(again)
    jax.tree.map(np.testing.assert_array_equal, again, variables)
    with pytest.raises(FileExistsError):
        save_network(tmp_path / "net.npz", MODEL, variables)


def test_digests_of_weights_see_every_change():
    weights = {"params": {"a": np.arange(6, dtype=np.float32).reshape(2, 3)}}
    changed = [
        {"params": {"b": weights["params"]["a"]}},
        {"params": {"a": weights["params"]["a"].reshape(3, 2)}},
        {"params": {"a": weights["params"]["a"].astype(np.float64)}},
        {"params": {"a": weights["params"]["a"] + np.float32(1e-6)}},
    ]
    digests = {weights_digest(each) for each in [weights, *changed]}
    assert len(digests) == 5
    with pytest.raises(TypeError, match="variables must be a dict"):
        weights_digest(np.zeros(3))


def test_a_released_file_that_holds_the_branch_is_refused(tmp_path, variables):
    check_released(variables)
    whole = variables | {"params": variables["params"] | {"c_wm": {}}}
    for refuse in (check_released, lambda v: save_network(tmp_path / "a.npz", MODEL, v)):
        with pytest.raises(ValueError, match="variables must hold no branch"):
            refuse(whole)
    assert not (tmp_path / "a.npz").exists()


def test_other_files_are_refused(tmp_path, variables):
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        load_network(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    np.savez(tmp_path / "objects.npz", a=np.array([{}]))
    save_network(tmp_path / "whole.npz", MODEL, variables)
    with np.load(tmp_path / "whole.npz") as archive:
        arrays = {**archive}
    clash = {**arrays, "params": np.zeros(1), "params/more": np.zeros(1)}
    np.savez(tmp_path / "clash.npz", **clash)
    for name in ("text", "other", "objects", "clash"):
        with pytest.raises(CheckpointError, match="is no network: expected the file"):
            load_network(tmp_path / f"{name}.npz")
    foreign = models.create("testing", 5).init(jax.random.key(0), (8, 8, 3))
    save_network(tmp_path / "foreign.npz", MODEL, foreign)
    deeper = {f"{n}/more" if n == "params/Conv_0/kernel" else n: a for n, a in arrays.items()}
    np.savez(tmp_path / "deeper.npz", **deeper)
    for name in ("foreign", "deeper"):
        with pytest.raises(CheckpointError, match="other weights than the network 'testing'"):
            load_network(tmp_path / f"{name}.npz")
