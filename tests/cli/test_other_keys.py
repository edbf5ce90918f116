"""A key that does not open the owner's own commitment: with its bits no claim could be made."""

import jax
import pytest

from anw_jax import models
from anw_jax.keys import MarkKey
from anw_jax.schemes import save_network
from tests.cli.test_outputs import VALUE, barrier, smooth, write


def replace_key(folder):
    (folder / "mark.key").unlink()
    MarkKey(bytes(32)).save(folder / "mark.key")


@pytest.fixture
def refuses(anw, tmp_path, monkeypatch):
    """Runs a command that must refuse the key, and write nothing."""
    monkeypatch.chdir(tmp_path)

    def call(*words, out):
        replace_key(tmp_path / "mark")
        ran = anw(*words, "--beacon-value", VALUE, "--out", out)
        assert ran.code == 8
        assert "does not open" in ran.err
        assert "most often the key is that of another commitment" in ran.err
        assert not (tmp_path / out).exists()

    return call


def test_its_bits_are_not_put_into_outputs(refuses, tmp_path):
    for name, seed in (("queries", 1), ("outputs", 2), ("public", 3), ("restored", 4)):
        write(tmp_path / name, smooth(seed, 12))
    (tmp_path / "model.onnx").write_bytes(b"a model")
    assert barrier(tmp_path) == 0
    refuses("model", "protect", "mark", "--outputs", "restored", out="served")


def test_its_bits_are_not_embedded(anw, refuses, tmp_path):
    net = models.create("testing", 10)
    save_network(tmp_path / "clean.npz", net, net.init(jax.random.key(0), (16, 16, 3)))
    keygen = ("model", "keygen", "mark", "--network", "clean.npz", "--tap", "BasicBlock_0")
    beacon = ("--beacon", "arbitrator:Jane", "--bits", "64", "--image-size", "16")
    assert anw(*keygen, *beacon).code == 0
    embed = ("model", "embed", "mark", "--network", "clean.npz", "--data", "mock:64")
    refuses(*embed, "--steps", "1", out="marked.npz")
