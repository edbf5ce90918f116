"""What is kept of results holds the numbers that rows are read from."""

import json
import math

import pytest

from anw_jax.reproduce.keeping import kept_json

RESULTS = {
    "users": {
        "one": {"one_signature": {"curve": [0.123456789, 2.0]}, "curve": {"mean": [1.0]}},
        "keyed": {"one_signature": None, "curve": {"mean": [1e-9 / 3]}, "p_value": 1 / 3},
    },
    "crowds": {"c": {"true_degrees": [30.0, math.nan]}},
}


def test_only_the_second_copy_of_a_curve_goes():
    kept = json.loads(kept_json(RESULTS))
    assert kept["users"]["one"] == {"one_signature": {"curve": [0.123457, 2.0]}}
    assert kept["users"]["keyed"]["curve"]["mean"] == [pytest.approx(1e-9 / 3, rel=1e-5)]


def test_single_numbers_keep_all_digits():
    assert json.loads(kept_json(RESULTS))["users"]["keyed"]["p_value"] == 1 / 3


def test_what_json_lacks_is_null():
    assert json.loads(kept_json(RESULTS))["crowds"]["c"]["true_degrees"] == [30.0, None]


def test_keeping_twice_changes_nothing():
    once = kept_json(RESULTS)
    assert kept_json(json.loads(once)) == once
