"""Canonical JSON: what is written, and what is read back."""

import json
import math

import pytest

from anw_jax import _json


def test_a_file_is_written_whole_and_read_back(tmp_path):
    body = {"name": "café", "values": [1, 0.1, None, True], "inner": {"b": 1, "a": 2}}
    _json.write(tmp_path / "folder" / "a.json", body)
    assert _json.read(tmp_path / "folder" / "a.json") == body
    assert (tmp_path / "folder" / "a.json").read_text() == json.dumps(body, indent=1) + "\n"
    with pytest.raises(ValueError, match="JSON"):
        _json.write(tmp_path / "folder" / "a.json", {"p": math.nan})
    assert _json.read(tmp_path / "folder" / "a.json") == body


def test_canonical_bytes_do_not_depend_on_the_order_of_names():
    assert _json.canonical({"b": 1, "a": [0.5]}) == b'{"a":[0.5],"b":1}'
    assert _json.canonical({"a": [0.5], "b": 1}) == b'{"a":[0.5],"b":1}'
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="JSON"):
            _json.canonical(value)


@pytest.mark.parametrize("text", ['{"a": 1, "a": 1}', "NaN", "[1e999]", "-Infinity", "{"])
def test_ambiguous_text_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError):
        _json.read(tmp_path / "a.json")


def test_a_file_too_large_is_not_read(tmp_path):
    _json.write(tmp_path / "a.json", list(range(100)))
    with pytest.raises(OSError, match="more than 10"):
        _json.read(tmp_path / "a.json", most_bytes=10)
