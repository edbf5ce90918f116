"""What may be stated, in which form."""

import pytest

from anw_jax.verify import Statements
from anw_jax.verify.statements import parse_utc


class Odd(str):
    """A text that may show itself in two ways."""


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"found": 0}, ValueError, "found must be at least 1, got 0"),
        ({"found": -1}, ValueError, "found must be at least 1, got -1"),
        ({"found": 1.0}, TypeError, "found must be an integer, got 1.0"),
        ({"found": True}, TypeError, "found must be an integer, got True"),
        ({"found": "1"}, TypeError, "found must be an integer, got '1'"),
        ({"found": 10**400}, ValueError, "found must be at most 1000000000000"),
        ({"found": 2, "in_case": 3}, ValueError, "found must count the 3 commitments"),
        ({"in_case": 0}, ValueError, "in_case must be at least 1, got 0"),
        ({"models_tried": 0}, ValueError, "models_tried must be at least 1, got 0"),
        ({"models_tried": 10**13}, ValueError, "models_tried must be at most"),
        ({"nothing_else": 1}, TypeError, "nothing_else must be a bool"),
        ({"nothing_else": "yes"}, TypeError, "nothing_else must be a bool"),
        ({"opened_before": None}, TypeError, "opened_before must be a bool"),
        ({"commitment": None}, TypeError, "commitment must be a plain str"),
        ({"held_from": Odd("him")}, TypeError, "held_from must be a plain str, got Odd"),
        ({"found_at": "a\udcff"}, ValueError, "found_at must be text that UTF-8 can hold"),
        ({"held_since": "yesterday"}, ValueError, "held_since must be a date such as"),
        ({"held_since": "2026-13-01"}, ValueError, "held_since must be a date such as"),
        ({"held_since": "03.11.2026"}, ValueError, "held_since must be a date such as"),
        ({"value_appeared": "now"}, ValueError, "value_appeared must be a date such as"),
        ({"value_appeared": 5}, TypeError, "value_appeared must be a plain str"),
    ],
)
def test_bad_statements(fields, error, message):
    with pytest.raises(error, match=message):
        Statements(**fields)


@pytest.mark.parametrize(
    ("text", "latest", "first"),
    [
        ("2026-11-03", "2026-11-03T23:59:59+00:00", "2026-11-03T00:00:00+00:00"),
        ("2026-11-03T10:00:00Z", "2026-11-03T10:00:00+00:00", "2026-11-03T10:00:00+00:00"),
        ("2026-11-03T10:00", "2026-11-03T10:00:00+00:00", "2026-11-03T10:00:00+00:00"),
        ("2026-11-03 10:00:00", "2026-11-03T10:00:00+00:00", "2026-11-03T10:00:00+00:00"),
        ("2026-11-03T10+02:00", "2026-11-03T10:00:00+02:00", "2026-11-03T10:00:00+02:00"),
        ("20261103", "2026-11-03T23:59:59+00:00", "2026-11-03T00:00:00+00:00"),
        (
            "2022-01-01T00:00:00.000Z",
            "2022-01-01T00:00:00+00:00",
            "2022-01-01T00:00:00+00:00",
        ),
    ],
)
def test_moments(text, latest, first):
    assert parse_utc(held_since=text).isoformat() == latest
    assert parse_utc(latest=False, held_since=text).isoformat() == first


def test_what_is_not_stated_counts_as_one():
    assert Statements().factor == 1.0
    assert Statements(found=7, in_case=2, models_tried=3).factor == pytest.approx(10.5)
    assert Statements(found=10**12, models_tried=10**12).factor == pytest.approx(1e24)
