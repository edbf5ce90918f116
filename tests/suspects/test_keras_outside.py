"""A Keras file that takes weights or words from other files is refused."""

import io
import json
import zipfile

import numpy as np
import pytest

from anw_jax.errors import SuspectError
from anw_jax.suspects import KerasSuspect
from tests.suspects import twins

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
WEIGHTS = "model.weights.h5"


@pytest.fixture
def keras(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "numpy")
    return pytest.importorskip("keras", reason="keras is an optional library")


def rewritten(path, change):
    """The file with one of its parts changed: `change` takes and gives a dict of them."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts = change(parts)
    with zipfile.ZipFile(path, "w") as archive:
        for name, body in parts.items():
            archive.writestr(name, body)


def outside_weights(kind, folder):
    h5py = pytest.importorskip("h5py")

    def change(parts):
        body = io.BytesIO(parts[WEIGHTS])
        with h5py.File(body, "r+") as file:
            found = []
            file.visititems(
                lambda name, item: (
                    found.append(name) if isinstance(item, h5py.Dataset) else None
                )
            )
            place = found[0]
            values = np.zeros_like(file[place][:])
            del file[place]
            outside = folder / "outside.bin"
            if kind == "link":
                with h5py.File(outside, "w") as other:
                    other["w"] = values
                file[place] = h5py.ExternalLink(str(outside), "/w")
            elif kind == "external":
                values.tofile(outside)
                file.create_dataset(
                    place,
                    values.shape,
                    values.dtype,
                    external=[(str(outside), 0, values.nbytes)],
                )
            else:
                with h5py.File(outside, "w") as other:
                    other["w"] = values
                layout = h5py.VirtualLayout(values.shape, values.dtype)
                layout[...] = h5py.VirtualSource(str(outside), "w", values.shape)
                file.create_virtual_dataset(place, layout)
        return {**parts, WEIGHTS: body.getvalue()}

    return change


@pytest.mark.parametrize("kind", ["link", "external", "virtual"])
def test_weights_in_a_second_file(keras, tmp_path, kind):
    path = tmp_path / "m.keras"
    twins.keras_model().save(path)
    assert KerasSuspect.from_file(path, twins.NHWC).answers(np.zeros((1, 8, 8, 3), "f4"))
    rewritten(path, outside_weights(kind, tmp_path))
    with pytest.raises(SuspectError, match="cannot be opened by Keras in safe mode"):
        KerasSuspect.from_file(path, twins.NHWC)


def test_words_in_a_second_file(keras, tmp_path):
    (tmp_path / "words.txt").write_text("a\nb\n")
    layer = {
        "module": "keras.layers",
        "class_name": "StringLookup",
        "config": {"name": "words", "vocabulary": str(tmp_path / "words.txt")},
        "registered_name": None,
    }

    def change(parts):
        config = json.loads(parts["config.json"])
        config["config"]["layers"].append(layer)
        return {**parts, "config.json": json.dumps(config).encode()}

    path = tmp_path / "m.keras"
    twins.keras_model().save(path)
    rewritten(path, change)
    with pytest.raises(SuspectError, match="cannot be opened by Keras in safe mode"):
        KerasSuspect.from_file(path, twins.NHWC)


def test_damage_is_told_before_keras_sees_it(keras, tmp_path):
    path = tmp_path / "m.keras"
    twins.keras_model().save(path)
    body = bytearray(path.read_bytes())
    body[body.index(b"\x89HDF") + 600] ^= 1
    path.write_bytes(body)
    with pytest.raises(
        SuspectError, match=r"is a damaged \.keras file \(model\.weights\.h5 is"
    ):
        KerasSuspect.from_file(path, twins.NHWC)
    path.write_bytes(body[: len(body) // 2])
    with pytest.raises(SuspectError, match=r"is not a \.keras file"):
        KerasSuspect.from_file(path, twins.NHWC)
