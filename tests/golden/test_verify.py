"""Loss tables and searches: the same numbers as ever, to a few roundings of float32."""

import json
import pathlib

import numpy as np
import pytest

from tests.golden import make_verify

GOLDEN = json.loads(pathlib.Path(__file__).with_name("verify.json").read_text())


def _assert_close(found):
    for name, stored in GOLDEN.items():
        for field, values in stored.items():
            np.testing.assert_allclose(
                found[name][field], values, rtol=1e-5, atol=1e-5, err_msg=f"{name}: {field}"
            )


def test_tables_and_searches_are_those_stored():
    _assert_close(make_verify.golden())


def test_a_hundredth_of_a_percent_in_the_weights_is_seen():
    with pytest.raises(AssertionError, match="loss_table"):
        _assert_close(make_verify.golden(scale=1.0001))
