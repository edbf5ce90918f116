"""A key that does not open the owner's own commitment: with its bits no claim could be made."""

import jax
import pytest

from anw_jax import audit, models
from anw_jax.keys import MarkKey
from anw_jax.schemes import save_network
from anw_jax.schemes.log import read_log
from tests.cli.test_outputs import VALUE, barrier, smooth, write

BEACON = ("--beacon", "arbitrator:Jane")
CLEAN = ("--network", "clean.npz")


def save_clean(folder):
    net = models.create("testing", 10)
    save_network(folder / "clean.npz", net, net.init(jax.random.key(0), (16, 16, 3)))


@pytest.fixture
def refuses(anw, tmp_path, monkeypatch):
    """Runs a command that must refuse the key, and write nothing."""
    monkeypatch.chdir(tmp_path)

    def call(*words, out):
        (tmp_path / "mark" / "mark.key").unlink()
        MarkKey(bytes(32)).save(tmp_path / "mark" / "mark.key")
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
    save_clean(tmp_path)
    keygen = ("model", "keygen", "mark", *CLEAN, "--tap", "BasicBlock_0", *BEACON)
    assert anw(*keygen, "--bits", "64", "--image-size", "16").code == 0
    embed = ("model", "embed", "mark", *CLEAN, "--data", "mock:64", "--steps", "1")
    refuses(*embed, out="marked.npz")


def test_no_copy_is_issued_with_its_codes(anw, refuses, tmp_path):
    save_clean(tmp_path)
    keys = [audit.new_signing_key(tmp_path / f"{name}.sign") for name in ("ann", "bob", "eve")]
    public, log = keys[0], ("--log", "log", "--sign", "ann.sign")
    nodes = [word for key in keys for word in ("--node", key)]
    assert anw("model", "log", "log", *nodes, "--sign", "ann.sign").code == 0
    assert anw("model", "setup", "mark", *CLEAN, *BEACON, "--judge", public, *log).code == 0
    customer = ("--customer", keys[1], "--nonce", "0f" * 32)
    refuses("model", "issue", "mark", *CLEAN, *customer, *log, out="copy.npz")
    assert len(read_log(tmp_path / "log")) == 2
