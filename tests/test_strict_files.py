"""What two readers could take differently is refused: a field twice, NaN, an array twice."""

import io
import json
import warnings
import zipfile

import numpy as np
import pytest

from anw_jax import _files, _json
from anw_jax.errors import KeyFileError
from anw_jax.keys import MarkKey


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('{"a": 1, "a": 1}', "field 'a' stands twice"),
        ('[{"b": {"c": 1, "d": 2, "c": 3}}]', "field 'c' stands twice"),
        ('{"\\u0061": 1, "a": 2}', "field 'a' stands twice"),
        ('{"a": NaN}', "NaN is no finite number"),
        ("[-Infinity]", "-Infinity is no finite number"),
        ("[1e999]", "1e999 is no finite number"),
    ],
)
def test_what_readers_take_differently(text, names):
    with pytest.raises(ValueError, match=names):
        _json.loads(text)


def test_what_every_reader_takes_alike():
    text = '{"a": {"b": 1}, "b": [{"b": 2}, {"b": 3}], "": 1e308}'
    assert _json.loads(text) == json.loads(text)
    assert np.isnan(_json.loads("NaN", allow_nan=True))
    with pytest.raises(_json.FieldTwiceError):
        _json.loads('{"a": NaN, "a": 1}', allow_nan=True)


def test_a_key_file_with_two_keys(tmp_path):
    MarkKey.for_experiment(1).save(tmp_path / "one.key")
    text = (tmp_path / "one.key").read_text()
    (tmp_path / "one.key").write_text(text.replace("{", '{"key": "' + "0f" * 32 + '",', 1))
    with pytest.raises(KeyFileError, match="is not a mark-key file"):
        MarkKey.load(tmp_path / "one.key")


@pytest.mark.parametrize("names", [("a.npy", "a.npy"), ("a.npy", "a")])
def test_an_array_that_stands_twice(names):
    array, archive = io.BytesIO(), io.BytesIO()
    np.save(array, np.arange(3))
    with zipfile.ZipFile(archive, "w") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for name in names:
            file.writestr(name, array.getvalue())
    with pytest.raises(ValueError, match="one array is stored twice"):
        _files.read_npz(archive.getvalue())
