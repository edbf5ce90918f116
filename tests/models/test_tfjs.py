"""Reading weights in the format of TensorFlow.js: shards, archives, and damage."""

import json
import re
import tarfile

import numpy as np
import pytest

from anw_jax.errors import CheckpointError
from anw_jax.models import tfjs


def _pack(package, archive):
    with tarfile.open(archive, "w:gz") as file:
        file.add(package.parent, "package")
    return archive


def test_shards_are_joined(package, arrays):
    read = tfjs.load_tfjs(package)
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        assert read[name].dtype == np.float32
        np.testing.assert_array_equal(read[name], array)


def test_an_archive_reads_as_its_folder(package, tmp_path):
    folder = tfjs.load_tfjs(package)
    for path in (package.parent, _pack(package, tmp_path / "it.tgz")):
        read = tfjs.load_tfjs(path)
        assert list(read) == list(folder)
        assert all(np.array_equal(read[name], folder[name]) for name in folder)


def _edit(package, edit):
    index = json.loads((package / "model.json").read_text())
    edit(index["weightsManifest"][0])
    (package / "model.json").write_text(json.dumps(index))


def _quantise(package):
    def edit(group):
        for weight in group["weights"][1::-1]:
            weight["quantization"] = {"dtype": "uint8", "min": -1.0, "scale": 0.01}

    _edit(package, edit)


def _truncate(package):
    shard = package / "shard2of5.bin"
    shard.write_bytes(shard.read_bytes()[:-6])


def _lose_shards(package):
    (package / "shard3of5.bin").unlink()
    (package / "shard1of5.bin").unlink()


def _add_index(package):
    (package / "old").mkdir()
    (package / "old" / "model.json").write_text("{}")


FORM = (
    "model.json in {package} lists no weights as TensorFlow.js does: weightsManifest must be a "
    "list of groups with paths and weights (name, shape, dtype)"
)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda package: (package / "model.json").unlink(),
            "{package} holds no model.json: that file lists the weights of a TensorFlow.js "
            "model",
        ),
        (
            _add_index,
            "{package} holds 2 models (model.json, old/model.json): give the folder of one",
        ),
        (
            lambda package: (package / "model.json").write_bytes(b"\x89PNG\r\n"),
            "model.json in {package} is not JSON: fetch it again",
        ),
        (lambda package: (package / "model.json").write_text("[1]"), FORM),
        (lambda package: (package / "model.json").write_text("{}"), FORM),
        (lambda package: _edit(package, lambda g: g["weights"][0].pop("dtype")), FORM),
        (lambda package: _edit(package, lambda g: g["weights"][0].update(shape=[0])), FORM),
        (
            lambda package: _edit(package, lambda g: g["weights"].append(g["weights"][0])),
            "{package} lists weights more than once: conv1/kernel",
        ),
        (
            _quantise,
            "{package} holds weights rounded to fewer bits, from which the network that was "
            "published cannot be restored: conv1/bias (uint8), conv1/kernel (uint8); get it "
            "without quantisation",
        ),
        (
            lambda package: _edit(package, lambda g: g["weights"][0].update(dtype="int32")),
            "{package} holds weights that are not float32: conv1/kernel (int32); only float32 "
            "is read",
        ),
        (_lose_shards, "{package} lacks 2 of 5 shards: shard1of5.bin, shard3of5.bin"),
        (
            _truncate,
            "{package}: shard1of5.bin to shard5of5.bin hold 17838 bytes, their weights need "
            "17844: a shard was cut short or belongs to another model",
        ),
    ],
)
def test_damage_is_named(package, spoil, message):
    spoil(package)
    message = message.format(package=package)
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        tfjs.load_tfjs(package)


def test_a_missing_path_is_named(tmp_path):
    path = tmp_path / "weights.tgz"
    message = f"{path} does not exist: give a folder that holds model.json, or a .tgz of one"
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        tfjs.load_tfjs(path)


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
def test_a_damaged_archive_is_named(package, tmp_path, kept):
    path = _pack(package, tmp_path / "half.tgz")
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    message = (
        f"{path} is not a whole .tgz: fetch it again, or give the folder that it unpacks to"
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        tfjs.load_tfjs(path)


# The real weights.
